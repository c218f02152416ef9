// Runs the requests of one loaded model: prompts to tokens, plans to steps, results to text. BatchPlanner decides.
internal import Platform
internal import SwiftletABI
internal import SwiftletWire

/// Loop-confined. It lives from the worker's READY to its end.
final class ModelRunner {
    /// Prompts that may be turned into tokens between two steps: a flood of arrivals must not hold running answers up.
    private static let promptsPerStep = 4

    private enum Operation {
        case prompt(GenerationID)
        case start(GenerationID)
        case step(StepPlan)

        var isPrompt: Bool { if case .prompt = self { true } else { false } }
    }

    /// One answer in the making.
    private struct Answer {
        let request: GenerationRequest
        let sink: GenerationSink
        let arrived: MonotonicTime
        var assembler: TextAssembler
        var prompt: [Int32] = []
        var lastToken: Int32 = 0
        var usage = TokenUsage()
        var timings = GenerationTimings()
        var startedAt: MonotonicTime?
        var firstTokenAt: MonotonicTime?
    }

    private let spec: ModelSpec
    private let info: ModelInfo
    private let connection: any BackendConnection
    private let counters: ModelCounters
    private let started: (GenerationID) -> Void
    private let ended: (GenerationID) -> Void

    private var planner: BatchPlanner
    private var answers: [GenerationID: Answer] = [:]
    private var prompts: [GenerationID] = []
    private var promptsSinceStep = 0
    private var operations: [UInt32: Operation] = [:]
    private var nextOperation: UInt32 = 1
    private var stepIsOut = false

    /// - Parameters:
    ///   - started: a request left the queue.
    ///   - ended: a request is over; not called by `fail`.
    init(
        _ spec: ModelSpec, info: ModelInfo, connection: any BackendConnection, counters: ModelCounters,
        started: @escaping (GenerationID) -> Void, ended: @escaping (GenerationID) -> Void
    ) {
        self.spec = spec
        self.info = info
        self.connection = connection
        self.counters = counters
        self.started = started
        self.ended = ended
        planner = BatchPlanner(
            limits: BatchPlanner.Limits(
                maxSequences: info.maxSequences, maxStepTokens: info.maxStepTokens, contextTokens: info.contextTokens,
                sequenceTokens: info.sequenceTokens))
    }

    // MARK: requests

    func submit(
        _ id: GenerationID, _ request: GenerationRequest, loadNanoseconds: UInt64, sink: @escaping GenerationSink
    ) {
        var answer = Answer(
            request: request, sink: sink, arrived: .now, assembler: TextAssembler(stops: request.options.stop))
        answer.timings.load = loadNanoseconds
        answers[id] = answer
        guard canRun(request) else {
            return fail(id, .modelCannot(spec.name, request.isChat ? "chat" : "continue text"))
        }
        // Never an answer without the shape that was asked for.
        guard request.options.grammar == nil || info.capabilities & UInt32(SWIFTLET_CAN_GRAMMAR) != 0 else {
            return fail(id, .modelCannot(spec.name, "hold an answer to a shape (response_format, tools)"))
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
        let lost = answers
        answers = [:]
        operations = [:]
        counters.update {
            $0.failed += UInt64(lost.count)
            $0.running = 0
        }
        for answer in lost.values { answer.sink(.failed(error)) }
        return Array(lost.keys)
    }

    // MARK: operations

    /// Sends everything that can be sent now. At most one step is out at a time.
    private func pump() {
        sendPrompts()
        for start in planner.admit() { sendStart(start) }
        // A start that the worker has not confirmed holds the next step back for one round trip, so that it can join.
        if !stepIsOut, operations.isEmpty, let plan = planner.plan() { sendStep(plan) }
        let running = planner.running
        counters.update { $0.running = running }
    }

    private func sendPrompts() {
        if planner.running == 0, !operations.values.contains(where: \.isPrompt) { promptsSinceStep = 0 }
        while promptsSinceStep < Self.promptsPerStep, !prompts.isEmpty {
            let id = prompts.removeFirst()
            guard let request = answers[id]?.request else { continue }
            promptsSinceStep += 1
            switch request.prompt {
            case .chat(let messages): send(WIRE_OP_CHAT, OperationPayload.chat(messages), .prompt(id))
            case .text(let text): send(WIRE_OP_TOKENIZE, OperationPayload.tokenize(text), .prompt(id))
            }
        }
    }

    private func sendStart(_ start: SequenceStart) {
        guard let options = answers[start.id]?.request.options else { return }
        let payload = OperationPayload.start(slot: start.slot, options, seed: .random(in: .min ... .max))
        send(WIRE_OP_SEQ_START, payload, .start(start.id))
    }

    private func sendStep(_ plan: StepPlan) {
        let payload = OperationPayload.step(plan) { item in
            guard let answer = answers[item.id] else { preconditionFailure("a step for a request that is over") }
            return item.isPrompt ? answer.prompt[item.position..<item.position + item.count] : [answer.lastToken]
        }
        stepIsOut = true
        promptsSinceStep = 0
        send(WIRE_OP_STEP, payload, .step(plan))
    }

    private func send(_ code: Int, _ payload: [UInt8], _ operation: Operation) {
        let number = nextOperation
        nextOperation &+= 1
        operations[number] = operation
        connection.send(operation: code, request: number, payload: payload)
    }

    /// Takes the worker's answer to one operation.
    func received(_ number: UInt32, status: Int32, payload: [UInt8]) {
        guard let operation = operations.removeValue(forKey: number) else { return connection.kill() }
        switch operation {
        case .prompt(let id): prompted(id, status, payload)
        case .start(let id): confirmed(id, status, payload)
        case .step(let plan):
            stepIsOut = false
            stepped(plan, status, payload)
        }
        pump()
    }

    // MARK: prompts and starts

    private func prompted(_ id: GenerationID, _ status: Int32, _ payload: [UInt8]) {
        guard let answer = answers[id] else { return }
        guard status == 0 else { return fail(id, promptError(status, payload)) }
        guard let tokens = PromptTokens.parse(payload, isChat: answer.request.isChat) else { return connection.kill() }
        let room = planner.roomForOne - tokens.count
        let maxTokens = answer.request.options.maxTokens ?? min(spec.defaultMaxTokens, max(1, room))
        guard !tokens.isEmpty else { return fail(id, .invalid("messages", "messages: the prompt has no tokens")) }
        guard planner.fits(promptTokens: tokens.count, maxTokens: maxTokens) else {
            return fail(id, .contextLength(prompt: tokens.count, answer: maxTokens, limit: planner.roomForOne))
        }
        answers[id]?.prompt = tokens
        answers[id]?.usage.promptTokens = tokens.count
        planner.add(id, promptTokens: tokens.count, maxTokens: maxTokens)
    }

    private func promptError(_ status: Int32, _ payload: [UInt8]) -> OpenAIError {
        let text = String(decoding: payload, as: UTF8.self)
        switch status {
        case Int32(SWIFTLET_INVALID), Int32(SWIFTLET_LIMIT): return .invalid("messages", "messages: \(text)")
        case Int32(SWIFTLET_UNSUPPORTED): return .modelCannot(spec.name, "read such a prompt")
        default: return .modelFailed(spec.name, "prompt: \(text)")
        }
    }

    private func confirmed(_ id: GenerationID, _ status: Int32, _ payload: [UInt8]) {
        guard let answer = answers[id] else { return }
        guard status == 0 else {
            return fail(id, .modelFailed(spec.name, "start a sequence: \(String(decoding: payload, as: UTF8.self))"))
        }
        let now = MonotonicTime.now
        planner.started(id)
        answers[id]?.startedAt = now
        answers[id]?.timings.queue = now.since(answer.arrived)
        started(id)
        answer.sink(.started(promptTokens: answer.prompt.count))
    }

    // MARK: steps

    private func stepped(_ plan: StepPlan, _ status: Int32, _ payload: [UInt8]) {
        guard status == 0 else {
            let error = OpenAIError.modelFailed(spec.name, "step: \(String(decoding: payload, as: UTF8.self))")
            for item in plan.items { fail(item.id, error) }
            return
        }
        guard let result = StepResult(payload), result.outputs.map(\.slot) == plan.items.map(\.slot) else {
            return connection.kill()
        }
        counters.update {
            $0.steps += 1
            $0.stepNanoseconds += result.nanoseconds
            $0.stepSequences += UInt64(plan.items.count)
            $0.stepTokens += UInt64(plan.tokens)
        }
        for (item, output) in zip(plan.items, result.outputs) { advance(item, output) }
    }

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
        if answer.firstTokenAt == nil { noteFirstToken(id, answer) }
        answers[id]?.lastToken = output.token
        answers[id]?.usage.completionTokens += 1
        let logprob = answer.request.options.wantLogprobs ? output.picked : nil
        let assembled = answers[id]?.assembler.push(output.picked.piece, logprob: logprob) ?? AssembledText()
        if !assembled.text.isEmpty { answer.sink(.text(assembled.text, logprobs: assembled.logprobs)) }
        if assembled.stopped { finish(id, .stop, flush: false) }
    }

    private func noteFirstToken(_ id: GenerationID, _ answer: Answer) {
        let now = MonotonicTime.now
        answers[id]?.firstTokenAt = now
        answers[id]?.timings.prefill = answer.startedAt.map(now.since) ?? 0
        counters.update {
            $0.firstTokens += 1
            $0.timeToFirstTokenNanoseconds += now.since(answer.arrived)
        }
    }

    // MARK: ends

    private func finish(_ id: GenerationID, _ reason: FinishReason, flush: Bool = true) {
        guard var answer = answers.removeValue(forKey: id) else { return }
        leave(id)
        var reason = reason
        if flush, reason != .cancelled {
            let rest = answer.assembler.finish()
            if !rest.text.isEmpty || !rest.logprobs.isEmpty { answer.sink(.text(rest.text, logprobs: rest.logprobs)) }
            if rest.stopped { reason = .stop }
        }
        answer.timings.decode = answer.firstTokenAt.map { MonotonicTime.now.since($0) } ?? 0
        counters.update {
            $0.promptTokens += UInt64(answer.usage.promptTokens)
            $0.completionTokens += UInt64(answer.usage.completionTokens)
        }
        answer.sink(.finished(reason, answer.usage, answer.timings))
        ended(id)
    }

    private func fail(_ id: GenerationID, _ error: OpenAIError) {
        guard let answer = answers.removeValue(forKey: id) else { return }
        leave(id)
        counters.update { if error.status < 500 { $0.refused += 1 } else { $0.failed += 1 } }
        answer.sink(.failed(error))
        ended(id)
    }

    /// Takes a request out of every queue. The drop may overtake nothing: the worker reads operations in order.
    private func leave(_ id: GenerationID) {
        prompts.removeAll { $0 == id }
        guard let slot = planner.remove(id) else { return }
        connection.send(operation: WIRE_OP_SEQ_DROP, request: 0, payload: OperationPayload.drop(slot: slot))
    }
}

extension GenerationRequest {
    fileprivate var isChat: Bool { if case .chat = prompt { true } else { false } }
}
