// Runs the requests of one loaded model: prompts to tokens, plans to steps, results to text. BatchPlanner decides.
internal import Core
internal import Ledger
internal import Platform
internal import SwiftletABI
internal import SwiftletWire

/// The work of a model that generates text.
final class ModelRunner: ModelWork {
    /// Prompts that may be turned into tokens between two steps: a flood of arrivals must not hold running answers up.
    private static let promptsPerStep = 4

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
    var stepsOut = 0
    private var lastStep: StepPlan?
    /// When the worker could begin the oldest of them.
    private var stepBegan = MonotonicTime.now
    /// When the last step's result came, while it is taken in and the worker has nothing else. What is told meanwhile waits until the
    /// next step is on its way.
    var resultAt: MonotonicTime?
    var untold: [(sink: GenerationSink, event: GenerationEvent)] = []
    /// What it added to gauges that it shares with other replicas.
    private var countedRunning = 0
    private var countedUse = CacheUse()
    /// Requests that ended while a step with them was out: whose they were.
    var departed: [GenerationID: (payer: QuotaPayer, meter: CallMeter?)] = [:]

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
        departed = [:]
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
        if stepsOut == 0 { departed = [:] }
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
}

extension GenerationRequest {
    var isChat: Bool { if case .chat = prompt { true } else { false } }
}
