// Runs the requests of one loaded model that need no sequence: texts to tokens, tokens to vectors. TenantTurns decides.
internal import Platform
internal import SwiftletABI
internal import SwiftletWire

/// Sends the worker one operation at a time, so that a request of many texts delays another tenant's by one of them.
final class EmbeddingRunner: ModelWork {
    /// One request under way. Its texts all become tokens first, so that one too long is found before work is spent.
    private final class Job {
        var inputs: [EmbeddingInput]
        let tenant: String
        let names: InputNames
        let embeds: Bool
        let addSpecial: Bool
        let sink: GenerationSink
        let arrived = MonotonicTime.now
        var tokens: [[Int32]] = []
        var embedded = 0
        var startedAt: MonotonicTime?
        var usage = TokenUsage()
        var timings = GenerationTimings()

        init(
            _ inputs: [EmbeddingInput], _ names: InputNames, tenant: String, embeds: Bool, addSpecial: Bool,
            sink: @escaping GenerationSink
        ) {
            self.inputs = inputs
            self.tenant = tenant
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
        let number: UInt32
        let id: GenerationID
        let tokenizes: Bool
        let sentAt: MonotonicTime
    }

    private let spec: ModelSpec
    private let info: ModelInfo
    private let connection: any BackendConnection
    private let counters: ModelCounters
    private let quotas: QuotaKeeper
    private let started: (GenerationID) -> Void
    private let ended: (GenerationID) -> Void

    private var jobs: [GenerationID: Job] = [:]
    private var turns = TenantTurns()
    private var out: Operation?
    private var nextNumber: UInt32 = 1

    /// - Parameters:
    ///   - started: a request left the queue.
    ///   - ended: a request is over; not called by `failAll`.
    init(
        _ spec: ModelSpec, info: ModelInfo, connection: any BackendConnection, counters: ModelCounters, quotas: QuotaKeeper,
        started: @escaping (GenerationID) -> Void, ended: @escaping (GenerationID) -> Void
    ) {
        self.spec = spec
        self.info = info
        self.connection = connection
        self.counters = counters
        self.quotas = quotas
        self.started = started
        self.ended = ended
    }

    // MARK: requests

    func submit(
        _ id: GenerationID, _ request: ModelRequest, loadNanoseconds: UInt64, sink: @escaping GenerationSink
    ) {
        let job: Job
        switch request {
        case .embedding(let request):
            job = Job(request.inputs, request.names, tenant: request.tenant, embeds: true, addSpecial: true, sink: sink)
        case .tokens(let request):
            job = Job(
                [.text(request.text)], InputNames(one: "content"), tenant: request.tenant, embeds: false, addSpecial: request.addSpecial,
                sink: sink)
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
        out = nil
        counters.update { $0.failed += UInt64(lost.count) }
        for job in lost.values { job.sink(.failed(error)) }
        return Array(lost.keys)
    }

    // MARK: operations

    /// Sends the next operation, unless one is out.
    private func pump() {
        while out == nil, let id = turns.next() {
            guard let job = jobs[id] else { preconditionFailure("a turn for a request that is over") }
            if job.startedAt == nil {
                job.startedAt = .now
                job.timings.queue = MonotonicTime.now.since(job.arrived)
                started(id)
            }
            send(id, job)
        }
    }

    /// Sends one operation of a request; inputs that are tokens already need none to become them.
    private func send(_ id: GenerationID, _ job: Job) {
        while job.tokens.count < job.inputs.count {
            switch job.inputs[job.tokens.count] {
            case .tokens(let tokens): job.add(tokens)
            case .text(let text):
                turns.charge(id, tokens: text.utf8.count / Self.bytesPerCharge)
                return send(WIRE_OP_TOKENIZE, OperationPayload.tokenize(text, start: job.addSpecial), id)
            }
        }
        let tokens = job.tokens[job.embedded]
        do throws(OpenAIError) {
            try quotas.use(job.tenant, tokens: tokens.count)
        } catch {
            return fail(id, error)
        }
        turns.charge(id, tokens: tokens.count)
        send(WIRE_OP_EMBED, OperationPayload.embed(tokens), id)
    }

    /// Bytes whose reading costs about what computing one token does.
    private static let bytesPerCharge = 1024

    private func send(_ code: Int, _ payload: [UInt8], _ id: GenerationID) {
        out = Operation(number: nextNumber, id: id, tokenizes: code == WIRE_OP_TOKENIZE, sentAt: .now)
        connection.send(operation: code, request: nextNumber, payload: payload)
        nextNumber = nextNumber == .max ? 1 : nextNumber + 1
    }

    func received(_ number: UInt32, status: Int32, payload: [UInt8]) {
        guard let operation = out, operation.number == number else { return connection.kill() }
        out = nil
        // Its caller may have left while it ran.
        if let job = jobs[operation.id] {
            if operation.tokenizes {
                tokenized(operation.id, job, status, payload)
            } else {
                embedded(operation, job, status, payload)
            }
        }
        pump()
    }

    private func tokenized(_ id: GenerationID, _ job: Job, _ status: Int32, _ payload: [UInt8]) {
        let name = job.names.name(job.tokens.count)
        guard status == 0 else { return fail(id, failure("tokenize", name, status, payload)) }
        guard let tokens = PromptTokens.parse(payload, isChat: false) else { return connection.kill() }
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
        guard let vector = Vector.parse(payload, count: info.embeddingSize) else { return connection.kill() }
        guard vector.allSatisfy(\.isFinite) else {
            return fail(
                operation.id, .modelFailed(spec.name, "embed: the vector of \(name) holds a number that is not finite"))
        }
        let took = MonotonicTime.now.since(operation.sentAt)
        counters.update {
            $0.embeddings += 1
            $0.embeddingNanoseconds += took
            $0.tenants.add(job.tenant) {
                $0.deviceNanoseconds += took
                $0.promptTokens += UInt64(job.tokens[job.embedded].count)
            }
        }
        // Of a request that uses the rest up, the vectors that are there are given.
        _ = quotas.useDevice(took, job.tenant)
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
        let usage = job.usage
        if job.embeds {
            counters.update { $0.promptTokens += UInt64(usage.promptTokens) }
        } else {
            job.sink(.tokens(job.tokens[0], limit: info.sequenceTokens))
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
        return jobs.removeValue(forKey: id)
    }
}
