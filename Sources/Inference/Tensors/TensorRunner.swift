// Runs the requests of one loaded model on tensors: joins what TensorBatcher says, sends it, takes the outputs apart.
internal import Core
internal import FoundationEssentials
internal import Platform
internal import SwiftletABI
internal import SwiftletWire
internal import Workers

/// The work of a model that infers. One run is with the worker at a time.
final class TensorRunner: ModelWork {
    private struct Answer {
        let tenant: String
        let sink: GenerationSink
        let arrived: MonotonicTime
        let load: UInt64
        var inputs: [Tensor] = []
        var rows = 1
        var queue: UInt64 = 0
    }

    /// Of a request's inputs; the worker takes 64 MiB with everything around them.
    private static let maxBytes = 62 << 20

    private enum Operation {
        case signature
        case run([Part])
    }

    /// A request in a run, and its rows there: they are in the outputs also when it was cancelled meanwhile.
    private struct Part {
        let id: GenerationID
        let tenant: String
        let rows: Int
    }

    private let spec: ModelSpec
    private let loop: EventLoop
    private let connection: any BackendConnection
    private let counters: ModelCounters
    private let quotas: QuotaKeeper
    private let started: (GenerationID) -> Void
    private let ended: (GenerationID) -> Void

    private var batcher: TensorBatcher
    private var answers: [GenerationID: Answer] = [:]
    /// What came before the worker had said what the model takes.
    private var early: [(id: GenerationID, work: TensorRequest.Work)] = []
    private var signature: TensorSignature?
    /// Of a joined run that failed: each runs by itself, so that nobody fails for what another one sent.
    private var alone: [GenerationID] = []
    private var operations: [UInt32: Operation] = [:]
    private var nextOperation: UInt32 = 1
    /// It is being ended, and gets nothing any more.
    private var isBroken = false
    private var joinTimer: TimerToken?
    private var runTimer: TimerToken?

    /// - Parameters:
    ///   - started: a request left the queue.
    ///   - ended: a request is over; not called by `failAll`.
    init(
        _ spec: ModelSpec, loop: EventLoop, connection: any BackendConnection, counters: ModelCounters,
        quotas: QuotaKeeper,
        started: @escaping (GenerationID) -> Void, ended: @escaping (GenerationID) -> Void
    ) {
        self.spec = spec
        self.loop = loop
        self.connection = connection
        self.counters = counters
        self.quotas = quotas
        self.started = started
        self.ended = ended
        batcher = TensorBatcher(spec.batching)
        send(WIRE_OP_TENSORS, [], .signature)
        watch()
    }

    // MARK: requests

    func submit(_ id: GenerationID, _ request: ModelRequest, loadNanoseconds: UInt64, sink: @escaping GenerationSink) {
        guard case .inference(let request) = request else {
            counters.update { $0.refused += 1 }
            sink(
                .failed(
                    .modelCannot(spec.name, "chat or continue text: it works on tensors, at /v2/models/\(spec.name)")))
            return ended(id)
        }
        answers[id] = Answer(tenant: request.tenant, sink: sink, arrived: .now, load: loadNanoseconds)
        guard let signature else { return early.append((id, request.work)) }
        begin(id, request.work, signature)
        pump()
    }

    private func begin(_ id: GenerationID, _ work: TensorRequest.Work, _ signature: TensorSignature) {
        guard let answer = answers[id] else { return }
        guard case .infer(let inputs) = work else { return finish(id, .signature(signature)) }
        do throws(OpenAIError) {
            let ordered = try signature.order(inputs)
            let bytes = ordered.reduce(0) { $0 + $1.data.count }
            guard bytes <= Self.maxBytes else {
                throw OpenAIError(
                    status: 413, type: "invalid_request_error",
                    message: "inputs: \(bytes) bytes, and a model takes \(Self.maxBytes) in one request")
            }
            let rows = ordered.first?.shape.first.map(Int.init) ?? 1
            let isRows = ordered.allSatisfy { $0.shape.first == ordered.first?.shape.first }
            let joins = signature.joinsRows && isRows && (1...max(1, spec.batching.maxRows)).contains(rows)
            answers[id]?.inputs = ordered
            answers[id]?.rows = signature.joinsRows && isRows ? rows : 1
            batcher.add(
                TensorBatcher.Entry(
                    id: id, tenant: answer.tenant, rows: rows, bytes: bytes,
                    key: joins && spec.batching.maxRows > 1 ? ordered.map { Array($0.shape.dropFirst()) } : nil,
                    arrived: answer.arrived))
        } catch {
            fail(id, error)
        }
    }

    func cancel(_ id: GenerationID) {
        guard let answer = answers.removeValue(forKey: id) else { return }
        batcher.remove(id)
        early.removeAll { $0.id == id }
        alone.removeAll { $0 == id }
        counters.update { $0.cancelled += 1 }
        answer.sink(.finished(.cancelled, TokenUsage(), GenerationTimings()))
        ended(id)
        pump()
    }

    func failAll(_ error: OpenAIError) -> [GenerationID] {
        let lost = answers
        answers = [:]
        operations = [:]
        for timer in [joinTimer, runTimer].compactMap({ $0 }) { loop.cancel(timer) }
        counters.update {
            $0.failed += UInt64(lost.count)
            $0.running = 0
            for answer in lost.values { $0.tensors.failed.add(MonotonicTime.now.since(answer.arrived)) }
        }
        for answer in lost.values { answer.sink(.failed(error)) }
        return Array(lost.keys)
    }

    // MARK: operations

    /// Gives the worker what it should run next, if it is free.
    private func pump() {
        if let joinTimer { loop.cancel(joinTimer) }
        joinTimer = nil
        guard signature != nil, operations.isEmpty, !isBroken else { return }
        if !alone.isEmpty { return run([alone.removeFirst()]) }
        switch batcher.next(now: .now) {
        case .idle: counters.update { $0.running = 0 }
        case .run(let ids): run(ids)
        case .wait(let time): joinTimer = loop.schedule(at: time) { [weak self] in self?.pump() }
        }
    }

    private func run(_ ids: [GenerationID]) {
        let batch = ids.compactMap { answers[$0]?.inputs }
        guard batch.count == ids.count else { preconditionFailure("a run for a request that is over") }
        let now = MonotonicTime.now
        for id in ids {
            started(id)
            guard let arrived = answers[id]?.arrived else { continue }
            answers[id]?.queue = now.since(arrived)
        }
        let payload = TensorPayload.infer(Self.join(batch))
        let parts = ids.map { Part(id: $0, tenant: answers[$0]?.tenant ?? "", rows: answers[$0]?.rows ?? 0) }
        let took = MonotonicTime.now.since(now)
        counters.update {
            $0.running = ids.count
            $0.tensors.input.add(took)
        }
        send(WIRE_OP_INFER, payload, .run(parts))
        watch()
    }

    /// Requests whose inputs agree but for their rows, as one.
    private static func join(_ batch: [[Tensor]]) -> [Tensor] {
        guard var joined = batch.first, batch.count > 1 else { return batch.first ?? [] }
        for inputs in batch.dropFirst() {
            for (index, input) in inputs.enumerated() {
                joined[index].shape[0] += input.shape[0]
                joined[index].data += input.data
            }
        }
        return joined
    }

    private func send(_ code: Int, _ payload: [UInt8], _ operation: Operation) {
        let number = nextOperation
        nextOperation &+= 1
        operations[number] = operation
        connection.send(operation: code, request: number, payload: payload)
    }

    /// A worker that doesn't answer in time is ended: nobody could use it any more.
    private func watch() {
        let limit = UInt64(max(1, spec.worker.limits.timeoutMilliseconds))
        runTimer = loop.schedule(at: .now.adding(milliseconds: limit)) { [weak self] in
            self?.giveUp("it did not answer within \(limit) ms (limits.timeout_ms)")
        }
    }

    /// Fails what the worker has, and ends it; what waits behind fails when it is gone.
    private func giveUp(_ cause: String) {
        Log.error("a model's worker broke its contract and is ended", [("model", spec.name), ("cause", cause)])
        isBroken = true
        let broken = operations.values
        operations = [:]
        for case .run(let parts) in broken {
            for part in parts { fail(part.id, .modelFailed(spec.name, cause)) }
        }
        connection.kill()
    }

    func received(_ number: UInt32, status: Int32, payload: [UInt8]) {
        guard let operation = operations.removeValue(forKey: number) else { return connection.kill() }
        if let runTimer { loop.cancel(runTimer) }
        runTimer = nil
        switch operation {
        case .signature:
            guard status == 0, let found = TensorSignature(payload) else {
                return giveUp("it does not say which tensors it takes and gives")
            }
            signature = found
            let waiting = early
            early = []
            for (id, work) in waiting { begin(id, work, found) }
        case .run(let parts): ran(parts, status, payload)
        }
        pump()
    }

    // MARK: results

    private func ran(_ parts: [Part], _ status: Int32, _ payload: [UInt8]) {
        let ids = parts.map(\.id)
        let rows = parts.reduce(0) { $0 + $1.rows }
        guard status == 0 else { return runFailed(ids, status, String(decoding: payload, as: UTF8.self)) }
        let back = MonotonicTime.now
        guard let result = TensorRun(payload) else { return broke(ids, "its answer is no list of tensors") }
        bill(parts, rows: rows, nanoseconds: result.nanoseconds)
        if let fault = signature?.fault(outputs: result.outputs) { return broke(ids, fault) }
        if ids.count > 1, let output = result.outputs.first(where: { $0.shape.first != Int64(rows) }) {
            let cause = "its output '\(output.name)' has other rows than its inputs; remove `batch` from its manifest"
            for id in ids { fail(id, .modelFailed(spec.name, cause)) }
            return
        }
        var row = 0
        for part in parts {
            defer { row += part.rows }
            guard let answer = answers[part.id] else { continue }
            let outputs = ids.count == 1 ? result.outputs : result.outputs.map { $0.rows(row..<row + part.rows) }
            let timings = TensorTimings(load: answer.load, queue: answer.queue, infer: result.nanoseconds)
            finish(part.id, .outputs(outputs, timings))
        }
        let took = MonotonicTime.now.since(back)
        counters.update {
            $0.tensors.executions += 1
            $0.tensors.rows += UInt64(rows)
            $0.tensors.infer.add(result.nanoseconds)
            $0.histograms.step.observe(result.nanoseconds)
            $0.histograms.stepSequences.observe(rows)
            $0.tensors.output.add(took)
            if rows <= TensorMetrics.mostRowsApart {
                $0.tensors.byRows[rows, default: TensorMetrics.Times()].add(result.nanoseconds)
            }
            $0.tensors.lastMilliseconds = UInt64(Date().timeIntervalSince1970 * 1000)
        }
    }

    /// Divides the time of a run among the tenants in it, by their rows.
    private func bill(_ parts: [Part], rows: Int, nanoseconds: UInt64) {
        var left = nanoseconds
        for (index, part) in parts.enumerated() {
            let isLast = index == parts.count - 1
            let share = isLast ? left : min(left, nanoseconds / UInt64(max(1, rows)) * UInt64(part.rows))
            left -= share
            counters.update { $0.tenants.add(part.tenant) { $0.deviceNanoseconds += share } }
            _ = quotas.useDevice(share, part.tenant)
        }
    }

    private func broke(_ ids: [GenerationID], _ cause: String) {
        for id in ids { fail(id, .modelFailed(spec.name, cause)) }
        giveUp(cause)
    }

    private func runFailed(_ ids: [GenerationID], _ status: Int32, _ text: String) {
        let left = ids.filter { answers[$0] != nil }
        guard ids.count == 1 else { return alone.append(contentsOf: left) }
        for id in left {
            switch status {
            case Int32(SWIFTLET_INVALID), Int32(SWIFTLET_LIMIT): fail(id, .invalid("inputs", "inputs: \(text)"))
            default: fail(id, .modelFailed(spec.name, "infer: \(text)"))
            }
        }
    }

    // MARK: ends

    private func finish(_ id: GenerationID, _ result: TensorResult) {
        guard let answer = answers.removeValue(forKey: id) else { return }
        if case .outputs = result {
            let took = MonotonicTime.now.since(answer.arrived)
            counters.update {
                $0.tensors.succeeded.add(took)
                $0.tensors.queued.add(answer.queue)
                $0.histograms.queue.observe(answer.queue)
                $0.histograms.endToEnd.observe(answer.load + took)
            }
        }
        answer.sink(.inferred(result))
        ended(id)
    }

    private func fail(_ id: GenerationID, _ error: OpenAIError) {
        guard let answer = answers.removeValue(forKey: id) else { return }
        let took = MonotonicTime.now.since(answer.arrived)
        counters.update {
            if error.status < 500 { $0.refused += 1 } else { $0.failed += 1 }
            $0.tensors.failed.add(took)
        }
        answer.sink(.failed(error))
        ended(id)
    }
}
