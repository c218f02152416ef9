// Runs the requests of one loaded model that need no sequence: texts to tokens, tokens to vectors. TenantTurns decides.
internal import Core
internal import Ledger
internal import Platform
internal import SwiftletABI
internal import SwiftletWire

/// Sends the worker one operation at a time, so that a request of many texts delays another tenant's by one of them.
final class EmbeddingRunner: ModelWork {
    /// One request under way. Its texts all become tokens first, so that one too long is found before work is spent.
    private final class Job {
        let payer: QuotaPayer
        var inputs: [EmbeddingInput]
        let names: InputNames
        let embeds: Bool
        let addSpecial: Bool
        let sink: GenerationSink
        let meter: CallMeter?
        let arrived = MonotonicTime.now
        var tokens: [[Int32]] = []
        var embedded = 0
        var startedAt: MonotonicTime?
        var usage = TokenUsage()
        var timings = GenerationTimings()
        /// The quota's reservation of all its tokens.
        var grant: TokenGrant?
        var tokensRead = 0

        init(
            _ payer: QuotaPayer, _ inputs: [EmbeddingInput], _ names: InputNames, embeds: Bool, addSpecial: Bool,
            meter: CallMeter?, sink: @escaping GenerationSink
        ) {
            self.meter = meter
            self.payer = payer
            self.inputs = inputs
            self.names = names
            self.embeds = embeds
            self.addSpecial = addSpecial
            self.sink = sink
        }

        var isOver: Bool { tokens.count == inputs.count && (!embeds || embedded == inputs.count) }

        /// The next input that isn't tokens yet has these.
        func add(_ more: [Int32]) {
            inputs[tokens.count] = .tokens([])
            tokens.append(more)
            usage.promptTokens += more.count
        }
    }

    private struct Operation {
        let id: GenerationID
        let kind: Int
        let payer: QuotaPayer
        let meter: CallMeter?
        let sentAt: MonotonicTime
    }

    let model: LoadedModel
    private var jobs: [GenerationID: Job] = [:]
    private var turns = TenantTurns()
    private var isOut = false
    private var isComputing = false
    /// Whose turn it is, while its operation waits for the device.
    private var chosen: GenerationID?

    init(_ model: LoadedModel) { self.model = model }

    // MARK: requests

    func submit(
        _ id: GenerationID, _ request: ModelRequest, loadNanoseconds: UInt64, sink: @escaping GenerationSink
    ) {
        let job: Job
        let payer = request.payer
        switch request {
        case .embedding(let request):
            job = Job(
                payer, request.inputs, request.names, embeds: true, addSpecial: true, meter: request.meter, sink: sink)
        case .tokens(let request):
            job = Job(
                payer, [request.input], InputNames(one: request.isChat ? "messages" : "content"),
                embeds: false, addSpecial: request.addSpecial, meter: request.meter, sink: sink)
        default: preconditionFailure("a request of another runner")
        }
        job.timings.load = loadNanoseconds
        jobs[id] = job
        if let error = refusal(request) { return fail(id, error) }
        turns.add(id, tenant: request.tenant)
        pump()
    }

    /// What is wrong with a request before any of it is tokens.
    private func refusal(_ request: ModelRequest) -> OpenAIError? {
        if case .tokens(let request) = request, request.isChat, info.capabilities & UInt32(SWIFTLET_CAN_CHAT) == 0 {
            return .modelCannot(spec.name, "chat")
        }
        guard case .embedding(let request) = request else { return nil }
        guard info.capabilities & UInt32(SWIFTLET_CAN_EMBED) != 0, info.embeddingSize > 0 else {
            return .modelCannot(spec.name, "make embeddings")
        }
        if let dimensions = request.dimensions, dimensions != info.embeddingSize {
            return .invalid(
                "dimensions",
                "dimensions: the vectors of this model have \(info.embeddingSize) numbers, not \(dimensions); "
                    + "leave it out", code: "invalid_value")
        }
        for (index, input) in request.inputs.enumerated() {
            if let error = refusal(input, request.names.name(index)) { return error }
        }
        return nil
    }

    private func refusal(_ input: EmbeddingInput, _ name: String) -> OpenAIError? {
        switch input {
        case .text(let text):
            // Long before this many bytes a text has too many tokens; it must not hold the worker up to find that out.
            let most = max(4096, 64 * info.sequenceTokens)
            guard text.utf8.count > most else { return nil }
            return .invalid(
                name,
                "\(name): \(text.utf8.count) bytes, and \(most) are read for a model of \(info.sequenceTokens) tokens; "
                    + "send less text", code: "context_length_exceeded")
        case .tokens(let tokens):
            if let wrong = tokens.first(where: { $0 < 0 || $0 >= info.vocabulary }) {
                return .invalid(
                    name, "\(name): the token \(wrong) is not one of the model's \(info.vocabulary)",
                    code: "invalid_value")
            }
            return tooLong(tokens.count, name)
        case .turns: return .modelCannot(spec.name, "make embeddings of chats")
        }
    }

    private func tooLong(_ tokens: Int, _ name: String) -> OpenAIError? {
        guard tokens > info.sequenceTokens else { return nil }
        return .invalid(
            name,
            "\(name): \(tokens) tokens, and this model reads at most \(info.sequenceTokens) of a text; send less text",
            code: "context_length_exceeded")
    }

    func cancel(_ id: GenerationID) {
        guard let job = take(id) else { return }
        counters.update { $0.cancelled += 1 }
        job.sink(.finished(.cancelled, job.usage, job.timings))
        ended(id)
    }

    func failAll(_ error: OpenAIError) -> [GenerationID] {
        let lost = jobs
        jobs = [:]
        turns = TenantTurns()
        counters.update { $0.failed += UInt64(lost.count) }
        for job in lost.values {
            settle(job)
            job.sink(.failed(error))
        }
        return Array(lost.keys)
    }

    // MARK: operations

    /// Sends the next operation, unless one is out.
    private func pump() {
        while model.fault == nil, !isOut, let id = chosen ?? turns.next() {
            guard let job = jobs[id] else { preconditionFailure("a turn for a request that is over") }
            chosen = nil
            if job.startedAt == nil {
                job.startedAt = .now
                job.timings.queue = MonotonicTime.now.since(job.arrived)
                started(id)
            }
            do throws(OpenAIError) {
                guard try send(id, job) else { return chosen = id }
            } catch {
                fail(id, error)
            }
        }
    }

    /// The device is this model's, after a wait.
    private func granted() {
        pump()
        if !isComputing { model.leaveDevice(self) }
    }

    /// Sends one operation of a request; inputs that are tokens already need none to become them.
    /// Returns false when it has to wait for the device.
    private func send(_ id: GenerationID, _ job: Job) throws(OpenAIError) -> Bool {
        let weight = quotas.weight(of: job.payer.tenant)
        while job.tokens.count < job.inputs.count {
            switch job.inputs[job.tokens.count] {
            case .tokens(let tokens): job.add(tokens)
            case .text(let text):
                turns.charge(id, tokens: text.utf8.count / Self.bytesPerCharge, weight: weight)
                return send(WIRE_OP_TOKENIZE, OperationPayload.tokenize(text, start: job.addSpecial), id, job)
            case .turns(let turns):
                let bytes = turns.reduce(0) { $0 + $1.content.utf8.count }
                self.turns.charge(id, tokens: bytes / Self.bytesPerCharge, weight: weight)
                return send(WIRE_OP_CHAT, OperationPayload.chat(turns), id, job)
            }
        }
        if job.grant == nil {
            job.grant = try quotas.begin(job.payer, textTokens: job.usage.promptTokens)
            job.sink(.started(promptTokens: job.usage.promptTokens, standing: quotas.standing(of: job.payer)))
        }
        guard model.takeDevice(self, granted: { [unowned self] in granted() }) else { return false }
        let tokens = job.tokens[job.embedded]
        turns.charge(id, tokens: tokens.count, weight: weight)
        job.tokensRead += tokens.count
        let operation = Operation(id: id, kind: WIRE_OP_EMBED, payer: job.payer, meter: job.meter, sentAt: .now)
        (isOut, isComputing) = (true, true)
        model.compute(WIRE_OP_EMBED, OperationPayload.embed(tokens)) { [self] in answered(operation, $0, $1) }
        return true
    }

    /// Bytes whose reading costs about what computing one token does.
    private static let bytesPerCharge = 1024

    /// Sends what makes tokens.
    private func send(_ code: Int, _ payload: [UInt8], _ id: GenerationID, _ job: Job) -> Bool {
        let operation = Operation(id: id, kind: code, payer: job.payer, meter: job.meter, sentAt: .now)
        isOut = true
        model.send(code, payload) { [self] in answered(operation, $0, $1) }
        return true
    }

    private func answered(_ operation: Operation, _ status: Int32, _ payload: [UInt8]) {
        (isOut, isComputing) = (false, false)
        let embeds = operation.kind == WIRE_OP_EMBED
        let isSpent = embeds && bill(operation)
        // Its caller may have left while it ran.
        if let job = jobs[operation.id] {
            if embeds {
                embedded(operation, job, status, payload)
            } else {
                tokenized(operation, job, status, payload)
            }
        }
        if isSpent {
            for (id, job) in jobs where job.embeds && quotas.spentDevice(of: job.payer) != nil {
                if let refusal = quotas.refusal(of: job.payer) { fail(id, refusal) }
            }
        }
        pump()
    }

    /// Books the time of an embedding. Returns true when somebody's device time is used up.
    private func bill(_ operation: Operation) -> Bool {
        let took = MonotonicTime.now.since(operation.sentAt)
        counters.update {
            $0.embeddingNanoseconds += took
            $0.histograms.step.observe(took)
        }
        book(TenantTotals.Totals(device: took), operation.payer.tenant, operation.meter)
        return quotas.useDevice(took, operation.payer)
    }

    private func tokenized(_ operation: Operation, _ job: Job, _ status: Int32, _ payload: [UInt8]) {
        let id = operation.id
        let name = job.names.name(job.tokens.count)
        guard status == 0 else { return fail(id, failure("tokenize", name, status, payload)) }
        guard let tokens = PromptTokens.parse(payload, isChat: operation.kind == WIRE_OP_CHAT) else {
            return model.giveUp("tokenize: its answer holds no tokens")
        }
        if job.embeds {
            if tokens.isEmpty { return fail(id, .invalid(name, "\(name): it has no tokens", code: "invalid_value")) }
            if let error = tooLong(tokens.count, name) { return fail(id, error) }
        }
        job.add(tokens)
        if job.isOver { finish(id) }
    }

    private func embedded(_ operation: Operation, _ job: Job, _ status: Int32, _ payload: [UInt8]) {
        let name = job.names.name(job.embedded)
        guard status == 0 else { return fail(operation.id, failure("embed", name, status, payload)) }
        guard let vector = Vector.parse(payload, count: info.embeddingSize) else {
            return model.giveUp("embed: its answer is no vector of \(info.embeddingSize) numbers")
        }
        guard vector.allSatisfy(\.isFinite) else {
            return fail(
                operation.id, .modelFailed(spec.name, "embed: the vector of \(name) holds a number that is not finite"))
        }
        counters.update { $0.embeddings += 1 }
        job.sink(.embedding(index: job.embedded, vector: vector))
        job.embedded += 1
        if job.isOver { finish(operation.id) }
    }

    private func failure(_ step: String, _ name: String, _ status: Int32, _ payload: [UInt8]) -> OpenAIError {
        let text = String(decoding: payload, as: UTF8.self)
        switch status {
        case Int32(SWIFTLET_INVALID), Int32(SWIFTLET_LIMIT):
            return .invalid(name, "\(name): \(text)", code: "invalid_value")
        case Int32(SWIFTLET_UNSUPPORTED): return .modelCannot(spec.name, step)
        default: return .modelFailed(spec.name, "\(step): \(text)")
        }
    }

    // MARK: ends

    private func finish(_ id: GenerationID) {
        guard let job = take(id) else { return }
        job.timings.prefill = job.startedAt.map { MonotonicTime.now.since($0) } ?? 0
        job.meter?.add { $0.add(job.timings) }
        let usage = job.usage
        if !job.embeds { job.sink(.tokens(job.tokens[0], limit: info.sequenceTokens)) }
        counters.update {
            $0.answered(.stop, usage, job.timings, took: MonotonicTime.now.since(job.arrived))
        }
        job.sink(.finished(.stop, usage, job.timings))
        ended(id)
    }

    private func fail(_ id: GenerationID, _ error: OpenAIError) {
        guard let job = take(id) else { return }
        counters.update { if error.status < 500 { $0.refused += 1 } else { $0.failed += 1 } }
        job.sink(.failed(error))
        ended(id)
    }

    private func take(_ id: GenerationID) -> Job? {
        turns.remove(id)
        if chosen == id { chosen = nil }
        let job = jobs.removeValue(forKey: id)
        if let job { settle(job) }
        return job
    }

    /// Counts what was read, and gives back what wasn't.
    private func settle(_ job: Job) {
        guard let grant = job.grant else { return }
        quotas.settle(grant, promptTokens: job.usage.promptTokens - job.tokensRead, wasRead: false)
        counters.update { $0.promptTokens += UInt64(job.tokensRead) }
        var read = TokenUsage()
        read.promptTokens = job.tokensRead
        book(TenantTotals.Totals(read), job.payer.tenant, job.meter)
    }
}
