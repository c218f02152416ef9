// Runs the requests of one loaded model: prompts to tokens, plans to steps, results to text. BatchPlanner decides.
internal import Core
internal import Platform
internal import SwiftletABI
internal import SwiftletWire

/// The work of a model that generates text.
final class ModelRunner: ModelWork {
    /// Prompts that may be turned into tokens between two steps: a flood of arrivals must not hold running answers up.
    private static let promptsPerStep = 4
    /// Bytes of states that wait outside the engine; beyond that a sequence is read again.
    private static let savedBytes = 512 << 20

    enum Operation {
        case prompt(GenerationID)
        case start(SequenceStart)
        /// The slot's sequence gets a prefix, or the state it had.
        case fill(SequenceStart)
        case save(GenerationID)
        /// A kept prefix goes to the host.
        case keep(KeptPrefix, since: MonotonicTime)
    }

    /// One answer in the making.
    struct Answer {
        let id: GenerationID
        let request: GenerationRequest
        let sink: GenerationSink
        let arrived: MonotonicTime
        var assembler: TextAssembler
        /// Prompt and answer.
        var tokens: [Int32] = []
        var grant: TokenGrant?
        /// What the engine held of it when it had to make way.
        var state: [UInt8] = []
        /// The same after it made way, so that the answer goes on as it would have.
        let seed = UInt64.random(in: .min ... .max)
        var usage = TokenUsage()
        var timings = GenerationTimings()
        var startedAt: MonotonicTime?
        var firstTokenAt: MonotonicTime?
        var lastTokenAt: MonotonicTime?
    }

    let model: LoadedModel
    var planner: BatchPlanner
    var tiers: RunnerPrefixes
    var answers: [GenerationID: Answer] = [:]
    var prompts: [GenerationID] = []
    private var promptsSinceStep = 0
    /// Operations that the worker has not answered, and how many of them make tokens of a prompt.
    private(set) var operations = 0
    private var promptOperations = 0
    /// At most two: one that runs and one that follows it.
    private(set) var stepsOut = 0
    private var lastStep: StepPlan?
    /// When the worker could begin the oldest of them.
    private var stepBegan = MonotonicTime.now
    /// When the last step's result came, while it is taken in and the worker has nothing else. What is told meanwhile waits until the
    /// next step is on its way.
    private var resultAt: MonotonicTime?
    private var untold: [(sink: GenerationSink, event: GenerationEvent)] = []
    /// What it added to gauges that it shares with other replicas.
    private var countedRunning = 0
    private var countedUse = CacheUse()
    /// Tenants of requests that ended while a step with them was out.
    private var departed: [GenerationID: String] = [:]

    init(_ model: LoadedModel, prefixes: PrefixStore?) {
        self.model = model
        let info = model.info
        var limits = BatchPlanner.Limits(
            maxSequences: info.maxSequences, maxStepTokens: info.maxStepTokens, contextTokens: info.contextTokens,
            sequenceTokens: info.sequenceTokens)
        limits.copiesPrefixes = info.can(SWIFTLET_CAN_COPY_PREFIX)
        limits.savesState = info.can(SWIFTLET_CAN_SAVE)
        planner = BatchPlanner(limits: limits)
        tiers = RunnerPrefixes(info.can(SWIFTLET_CAN_SAVE | SWIFTLET_CAN_RESTORE_PREFIX) ? prefixes : nil, model.spec)
        beginPrefixes()
    }

    // MARK: requests

    func submit(
        _ id: GenerationID, _ request: ModelRequest, loadNanoseconds: UInt64, sink: @escaping GenerationSink
    ) {
        guard case .generation(let request) = request else {
            sink(.failed(.modelCannot(spec.name, "do that")))
            return ended(id)
        }
        var answer = Answer(
            id: id, request: request, sink: sink, arrived: .now, assembler: TextAssembler(stops: request.options.stop))
        answer.timings.load = loadNanoseconds
        answers[id] = answer
        guard canRun(request) else {
            return fail(id, .modelCannot(spec.name, request.isChat ? "chat" : "continue text"))
        }
        // Never an answer without the shape that was asked for.
        guard request.options.grammar == nil || info.capabilities & UInt32(SWIFTLET_CAN_GRAMMAR) != 0 else {
            return fail(id, .modelCannot(spec.name, "hold an answer to a shape (response_format, tools)"))
        }
        if let error = PromptBytes.refusal(
            request.prompt, contextTokens: planner.roomForOne, most: spec.maxPromptBytes)
        {
            return fail(id, error)
        }
        prompts.append(id)
        pump()
    }

    private func canRun(_ request: GenerationRequest) -> Bool {
        let needed = SWIFTLET_CAN_GENERATE | (request.isChat ? SWIFTLET_CAN_CHAT : 0)
        return Int(info.capabilities) & Int(needed) == Int(needed) && info.maxSequences > 0 && info.maxStepTokens > 0
    }

    func cancel(_ id: GenerationID) {
        guard answers[id] != nil else { return }
        counters.update { $0.cancelled += 1 }
        finish(id, .cancelled)
        pump()
    }

    /// The worker is gone: all its requests fail. Returns whose they were.
    func failAll(_ error: OpenAIError) -> [GenerationID] {
        endPrefixes()
        let lost = answers
        answers = [:]
        counters.update {
            $0.failed += UInt64(lost.count)
            $0.running -= countedRunning
            $0.cacheUse.change(by: CacheUse(), from: countedUse)
        }
        (countedRunning, countedUse) = (0, CacheUse())
        for answer in lost.values {
            settle(answer)
            answer.sink(.failed(error))
        }
        return Array(lost.keys)
    }

    // MARK: operations

    /// Sends everything that can be sent now.
    func pump() {
        guard model.fault == nil else { return }
        sendPrompts()
        // Never while a step is out: it may be that of a sequence that must make way.
        if stepsOut == 0 { for placement in place() { perform(placement) } }
        // A start that the worker has not confirmed holds the next step back for one round trip, so that it can join.
        if stepsOut == 0, operations == 0, planner.canStep,
            model.takeDevice(self, granted: { [unowned self] in granted() })
        {
            if let plan = planner.plan(now: .now) { sendStep(plan) } else { model.leaveDevice(self) }
        }
        if stepsOut == 1, operations == 0, prompts.isEmpty, model.mayComputeAhead,
            let plan = lastStep.flatMap({ planner.planAhead(of: $0) })
        {
            sendStep(plan)
        }
        let running = planner.running
        let use = planner.cacheUse
        counters.update {
            $0.running += running - countedRunning
            $0.cacheUse.change(by: use, from: countedUse)
        }
        (countedRunning, countedUse) = (running, use)
        rest()
    }

    /// The device is this model's, after a wait. Nobody else may have to wait until the worker can take a step.
    private func granted() {
        pump()
        if stepsOut == 0 { model.leaveDevice(self) }
    }

    /// Whose prompt becomes tokens next: the tenant's that got least, so that a flood of prompts is nobody else's wait.
    private func nextPrompt() -> Int {
        func rank(_ index: Int) -> (Priority, Double, Int) {
            guard let request = answers[prompts[index]]?.request else { return (.interactive, 0, index) }
            return (request.options.priority, planner.fair.counter(of: request.tenant), index)
        }
        return prompts.indices.min { rank($0) < rank($1) } ?? 0
    }

    private func sendPrompts() {
        if planner.running == 0, promptOperations == 0 { promptsSinceStep = 0 }
        while promptsSinceStep < Self.promptsPerStep, !prompts.isEmpty {
            let id = prompts.remove(at: nextPrompt())
            guard let request = answers[id]?.request else { continue }
            promptsSinceStep += 1
            switch request.prompt {
            case .chat(let messages): send(WIRE_OP_CHAT, OperationPayload.chat(messages), .prompt(id))
            case .text(let text): send(WIRE_OP_TOKENIZE, OperationPayload.tokenize(text), .prompt(id))
            }
        }
    }

    /// The worker takes operations in order, so that a slot is empty before it is given again.
    private func perform(_ placement: Placement) {
        switch placement {
        case .swapOut(let id, let slot):
            counters.update { $0.preemptions += 1 }
            if planner.isSaving(id) {
                send(WIRE_OP_SEQ_SAVE, OperationPayload.drop(slot: slot), .save(id))
            }
            drop(slot)
        case .evict(let kept): evict(kept)
        case .start(let start): sendStart(start)
        }
    }

    func drop(_ slot: UInt32) {
        model.send(WIRE_OP_SEQ_DROP, OperationPayload.drop(slot: slot))
    }

    private func sendStart(_ start: SequenceStart) {
        guard let answer = answers[start.id] else { return }
        let seed = answer.seed
        send(
            WIRE_OP_SEQ_START, OperationPayload.start(slot: start.slot, answer.request.options, seed: seed),
            .start(start))
        switch start.source {
        case .nothing: break
        case .prefix(let from, let tokens):
            hit(start.id, tokens: tokens, planner.isPublished(from) ? \.published : \.device)
            send(WIRE_OP_SEQ_COPY, OperationPayload.copy(from: from, to: start.slot, tokens: tokens), .fill(start))
        case .stored(let stored, let tokens): sendStored(stored, tokens: tokens, start)
        case .savedState:
            send(WIRE_OP_SEQ_RESTORE, OperationPayload.restore(slot: start.slot, answer.state), .fill(start))
            answers[start.id]?.state = []
        }
    }

    private func sendStep(_ plan: StepPlan) {
        let payload = OperationPayload.step(plan) { item in
            guard let answer = answers[item.id] else { preconditionFailure("a step for a request that is over") }
            return answer.tokens[item.position..<item.position + item.count]
        }
        if stepsOut == 0 { stepBegan = .now }
        stepsOut += 1
        lastStep = plan
        promptsSinceStep = 0
        model.compute(WIRE_OP_STEP, payload) { [self] in answered(plan, $0, $1) }
        if let resultAt {
            counters.update {
                $0.nextSteps += 1
                $0.betweenStepsNanoseconds += MonotonicTime.now.since(resultAt)
            }
        }
    }

    private func answered(_ plan: StepPlan, _ status: Int32, _ payload: [UInt8]) {
        let (now, began) = (MonotonicTime.now, stepBegan)
        stepsOut -= 1
        stepBegan = now
        if stepsOut == 0 { resultAt = now }
        stepped(plan, took: now.since(began), status, payload)
        pump()
        resultAt = nil
        let events = untold
        untold = []
        for (sink, event) in events { sink(event) }
    }

    func send(_ code: Int, _ payload: [UInt8], _ operation: Operation) {
        operations += 1
        if case .prompt = operation { promptOperations += 1 }
        model.send(code, payload) { [self] in answered(operation, $0, $1) }
    }

    private func answered(_ operation: Operation, _ status: Int32, _ payload: [UInt8]) {
        operations -= 1
        switch operation {
        case .prompt(let id):
            promptOperations -= 1
            prompted(id, status, payload)
        case .start(let start): confirmed(start, status, payload)
        case .fill(let start): filled(start, status)
        case .keep(let prefix, let since): kept(prefix, since: since, status, payload)
        case .save(let id): saved(id, status, payload)
        }
        pump()
    }

    // MARK: prompts and starts

    private func prompted(_ id: GenerationID, _ status: Int32, _ payload: [UInt8]) {
        guard let answer = answers[id] else { return }
        guard status == 0 else { return fail(id, promptError(status, payload)) }
        guard let tokens = PromptTokens.parse(payload, isChat: answer.request.isChat) else {
            return model.giveUp("prompt: its answer holds no tokens")
        }
        if let wrong = tokens.first(where: { !isToken($0) }) { return model.giveUp("prompt: \(notOne(wrong))") }
        let room = planner.roomForOne - tokens.count
        let maxTokens = answer.request.options.maxTokens ?? min(spec.defaultMaxTokens, max(1, room))
        guard !tokens.isEmpty else { return fail(id, .invalid("messages", "messages: the prompt has no tokens")) }
        guard planner.fits(promptTokens: tokens.count, maxTokens: maxTokens) else {
            return fail(id, .contextLength(prompt: tokens.count, answer: maxTokens, limit: planner.roomForOne))
        }
        let tenant = answer.request.tenant
        if !tiers.isPublished(id) {
            do throws(OpenAIError) {
                answers[id]?.grant = try quotas.begin(tenant, promptTokens: tokens.count)
            } catch {
                return fail(id, error)
            }
        }
        answers[id]?.tokens = tokens
        answers[id]?.usage.promptTokens = tokens.count
        var sequence = SequenceRequest(id: id, tenant: tenant, prompt: tokens, maxTokens: maxTokens)
        sequence.weight = quotas.policy(of: tenant).weight
        sequence.priority = answer.request.options.priority
        add(sequence)
    }

    private func promptError(_ status: Int32, _ payload: [UInt8]) -> OpenAIError {
        let text = String(decoding: payload, as: UTF8.self)
        switch status {
        case Int32(SWIFTLET_INVALID), Int32(SWIFTLET_LIMIT): return .invalid("messages", "messages: \(text)")
        case Int32(SWIFTLET_UNSUPPORTED): return .modelCannot(spec.name, "read such a prompt")
        default: return .modelFailed(spec.name, "prompt: \(text)")
        }
    }

    private func confirmed(_ start: SequenceStart, _ status: Int32, _ payload: [UInt8]) {
        let id = start.id
        guard let answer = answers[id] else { return }
        guard status == 0 else {
            return fail(id, .modelFailed(spec.name, "start a sequence: \(String(decoding: payload, as: UTF8.self))"))
        }
        if case .nothing = start.source { planner.started(id) }
        // It may have been here before, and made way.
        guard answer.startedAt == nil, !tiers.isPublished(id) else { return }
        let now = MonotonicTime.now
        answers[id]?.startedAt = now
        answers[id]?.timings.queue = now.since(answer.arrived)
        started(id)
        answer.sink(
            .started(promptTokens: answer.usage.promptTokens, standing: quotas.standing(of: answer.request.tenant)))
    }

    private func filled(_ start: SequenceStart, _ status: Int32) {
        guard answers[start.id] != nil else { return }
        noteFilled(start, status)
        if status == 0 { return planner.started(start.id) }
        // Whatever it holds now is not what was asked for: it begins again, from its first token.
        answers[start.id]?.usage.cachedTokens = 0
        if let slot = planner.startOver(start.id) { drop(slot) }
        mayReadAgain(start.id)
    }

    private func saved(_ id: GenerationID, _ status: Int32, _ payload: [UInt8]) {
        guard answers[id] != nil else { return }
        let fits = answers.values.reduce(payload.count) { $0 + $1.state.count } <= Self.savedBytes
        if status == 0, fits { answers[id]?.state = payload }
        planner.saved(id, status == 0 && fits)
        if status != 0 || !fits { mayReadAgain(id) }
    }

    /// What a grammar has let through so far is in the engine's state only: an answer that is held to one can't be read again.
    private func mayReadAgain(_ id: GenerationID) {
        guard let answer = answers[id], answer.request.options.grammar != nil, answer.usage.completionTokens > 0 else {
            return
        }
        fail(
            id, .modelFailed(spec.name, "it had to make way for others and its state could not be kept; send it again"))
    }

    // MARK: steps

    /// - Parameter took: since the worker could begin it; the worker's own measure is believed up to that.
    private func stepped(_ plan: StepPlan, took: UInt64, _ status: Int32, _ payload: [UInt8]) {
        guard status == 0 else {
            let error = OpenAIError.modelFailed(spec.name, "step: \(String(decoding: payload, as: UTF8.self))")
            for item in plan.items { fail(item.id, error) }
            return
        }
        guard let result = StepResult(payload, atMost: took), result.outputs.map(\.slot) == plan.items.map(\.slot)
        else {
            return model.giveUp("step: its result is not one for each sequence that it was given")
        }
        let picked = zip(plan.items, result.outputs).filter { $0.samples && $1.status == 0 && !$1.ended }
        if let wrong = picked.map(\.1.token).first(where: { !isToken($0) }) {
            return model.giveUp("step: \(notOne(wrong))")
        }
        counters.update {
            $0.steps += 1
            $0.stepNanoseconds += result.nanoseconds
            $0.stepSequences += UInt64(plan.items.count)
            $0.stepTokens += UInt64(plan.tokens)
            $0.histograms.stepped(plan, nanoseconds: result.nanoseconds)
        }
        if result.nanoseconds > 0 { planner.learn(plan, nanoseconds: result.nanoseconds) }
        let spent = bill(plan, nanoseconds: result.nanoseconds)
        for (item, output) in zip(plan.items, result.outputs) { advance(item, output) }
        for (tenant, meter) in spent {
            for (id, answer) in answers where answer.request.tenant == tenant && answer.startedAt != nil {
                answers[id]?.usage.cutBy = meter
                finish(id, .length)
            }
        }
    }

    /// Divides the time of a step among the tenants in it. Returns those whose device time is used up.
    private func bill(_ plan: StepPlan, nanoseconds: UInt64) -> [(tenant: String, meter: QuotaMeter)] {
        var shares: [String: UInt64] = [:]
        for (item, share) in zip(plan.items, planner.shares(of: nanoseconds, plan)) {
            // Who left while the step ran is served all the same; that it is cannot be helped, nor charged to others.
            shares[answers[item.id]?.request.tenant ?? departed[item.id] ?? "", default: 0] += share
        }
        if stepsOut == 0 { departed = [:] }
        counters.update { for (tenant, share) in shares { $0.tenants.add(tenant) { $0.deviceNanoseconds += share } } }
        return shares.compactMap { tenant, share in quotas.useDevice(share, tenant).map { (tenant, $0) } }
    }

    private func isToken(_ token: Int32) -> Bool { token >= 0 && token < info.vocabulary }
    private func notOne(_ token: Int32) -> String { "the token \(token) is none of the model's \(info.vocabulary)" }

    private func advance(_ item: StepPlan.Item, _ output: StepOutput) {
        // It may have been cancelled while the step ran.
        guard answers[item.id] != nil else { return }
        guard output.status == 0 else {
            let cause =
                output.status == Int32(SWIFTLET_LIMIT) ? "no room for more tokens" : "the engine dropped the sequence"
            return fail(item.id, .modelFailed(spec.name, "step: \(cause)"))
        }
        let reason = planner.advance(item, ended: output.ended)
        if item.samples, !output.ended { picked(item.id, output) }
        // A stop string may just have ended it.
        if let reason, answers[item.id] != nil { finish(item.id, reason) }
    }

    private func picked(_ id: GenerationID, _ output: StepOutput) {
        guard let answer = answers[id] else { return }
        guard mayHaveToken(id, answer) else { return finish(id, .length) }
        noteToken(id, answer)
        answers[id]?.tokens.append(output.token)
        answers[id]?.usage.completionTokens += 1
        let logprob = answer.request.options.wantLogprobs ? output.picked : nil
        let assembled = answers[id]?.assembler.push(output.picked.piece, logprob: logprob) ?? AssembledText()
        if !assembled.text.isEmpty { tell(answer, .text(assembled.text, logprobs: assembled.logprobs)) }
        if assembled.stopped { finish(id, .stop, flush: false) }
    }

    /// False: the token is one too many for its tenant, and nobody gets it.
    private func mayHaveToken(_ id: GenerationID, _ answer: Answer) -> Bool {
        guard var grant = answer.grant else { return true }
        do throws(OpenAIError) {
            try quotas.take(&grant, answer.request.tenant)
        } catch {
            answers[id]?.usage.cutBy = error.standing?.meter ?? .tokensPerMinute
            return false
        }
        answers[id]?.grant = grant
        return true
    }

    private func noteToken(_ id: GenerationID, _ answer: Answer) {
        let now = MonotonicTime.now
        answers[id]?.lastTokenAt = now
        if let last = answer.lastTokenAt {
            return counters.update { $0.histograms.interToken.observe(now.since(last)) }
        }
        answers[id]?.firstTokenAt = now
        answers[id]?.timings.prefill = answer.startedAt.map(now.since) ?? 0
        counters.update { $0.histograms.timeToFirstToken.observe(answer.timings.load + now.since(answer.arrived)) }
    }

    // MARK: ends

    private func finish(_ id: GenerationID, _ reason: FinishReason, flush: Bool = true) {
        guard var answer = answers.removeValue(forKey: id) else { return }
        if tiers.isPublished(id) { return leave(id, keeping: answer.tokens, published: true) }
        leave(id, keeping: answer.tokens)
        var reason = reason
        if flush, reason != .cancelled {
            let rest = answer.assembler.finish()
            if !rest.text.isEmpty || !rest.logprobs.isEmpty { tell(answer, .text(rest.text, logprobs: rest.logprobs)) }
            if rest.stopped { reason = .stop }
        }
        answer.timings.decode = answer.firstTokenAt.map { MonotonicTime.now.since($0) } ?? 0
        settle(answer)
        counters.update {
            $0.tenants.add(answer.request.tenant) {
                $0.promptTokens += UInt64(answer.usage.promptTokens)
                $0.cachedTokens += UInt64(answer.usage.cachedTokens)
                $0.completionTokens += UInt64(answer.usage.completionTokens)
            }
            $0.prefixQueries += UInt64(answer.usage.promptTokens)
            $0.prefixHits += UInt64(answer.usage.cachedTokens)
            $0.promptTokens += UInt64(answer.usage.promptTokens)
            $0.completionTokens += UInt64(answer.usage.completionTokens)
            $0.finished(reason, answer.usage, answer.timings, took: MonotonicTime.now.since(answer.arrived))
        }
        answer.usage.stop = answer.assembler.stop
        tell(answer, .finished(reason, answer.usage, answer.timings))
        ended(id)
    }

    func fail(_ id: GenerationID, _ error: OpenAIError) {
        guard let answer = answers.removeValue(forKey: id) else { return }
        if tiers.isPublished(id) { return unpublished(id, "\(error.message)") }
        leave(id)
        settle(answer)
        counters.update { if error.status < 500 { $0.refused += 1 } else { $0.failed += 1 } }
        tell(answer, .failed(error))
        ended(id)
    }

    private func tell(_ answer: Answer, _ event: GenerationEvent) {
        guard resultAt != nil else { return answer.sink(event) }
        untold.append((answer.sink, event))
    }

    private func settle(_ answer: Answer) {
        if stepsOut > 0 { departed[answer.id] = answer.request.tenant }
        guard let grant = answer.grant else { return }
        quotas.settle(
            grant, answer.request.tenant, promptTokens: answer.usage.promptTokens, wasRead: answer.startedAt != nil)
    }

    /// Takes a request out of every queue. The drop may overtake nothing: the worker reads operations in order.
    func leave(_ id: GenerationID, keeping tokens: [Int32]? = nil, published: Bool = false) {
        prompts.removeAll { $0 == id }
        tiers.leave(id)
        for slot in planner.remove(id, keeping: tokens, published: published) { drop(slot) }
    }
}

extension GenerationRequest {
    fileprivate var isChat: Bool { if case .chat = prompt { true } else { false } }
}
