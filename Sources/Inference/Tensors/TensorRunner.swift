// Runs the requests of one loaded model on tensors: joins what TensorBatcher says, sends it, takes the outputs apart.
internal import Core
internal import FoundationEssentials
internal import Ledger
internal import Platform
internal import SwiftletABI
internal import SwiftletWire
internal import Workers

/// The work of a model that infers. One run is with the worker at a time.
final class TensorRunner: ModelWork {
    private struct Answer {
        let payer: QuotaPayer
        let sink: GenerationSink
        let meter: CallMeter?
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
        let payer: QuotaPayer
        let meter: CallMeter?
        let rows: Int
    }

    let model: LoadedModel
    private let loop: EventLoop
    private var batcher: TensorBatcher
    private var answers: [GenerationID: Answer] = [:]
    /// What came before the worker had said what the model takes.
    private var early: [(id: GenerationID, work: TensorRequest.Work)] = []
    private var signature: TensorSignature?
    /// Of a joined run that failed: each runs by itself, so that nobody fails for what another one sent.
    private var alone: [GenerationID] = []
    /// What the worker has.
    private var operation: Operation?
    /// From sending the last run to its answer: the worker's own measure is believed up to that.
    private var longest: UInt64 = 0
    private var joinTimer: TimerToken?

    init(_ model: LoadedModel, loop: EventLoop) {
        self.model = model
        self.loop = loop
        batcher = TensorBatcher(model.spec.batching)
        operation = .signature
        model.send(WIRE_OP_TENSORS, []) { [self] in answered(.signature, $0, $1) }
    }

    // MARK: requests

    func submit(_ id: GenerationID, _ request: ModelRequest, loadNanoseconds: UInt64, sink: @escaping GenerationSink) {
        let payer = request.payer
        guard case .inference(let request) = request else {
            counters.update { $0.refused += 1 }
            sink(
                .failed(
                    .modelCannot(spec.name, "chat or continue text: it works on tensors, at /v2/models/\(spec.name)")))
            return ended(id)
        }
        answers[id] = Answer(
            payer: payer, sink: sink, meter: request.meter, arrived: .now, load: loadNanoseconds)
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
                    id: id, tenant: answer.payer.tenant, rows: rows, bytes: bytes,
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
        operation = nil
        if let joinTimer { loop.cancel(joinTimer) }
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
        guard signature != nil, operation == nil, model.fault == nil else { return }
        guard !alone.isEmpty || !batcher.isEmpty else { return counters.update { $0.running = 0 } }
        guard model.takeDevice(self, granted: { [unowned self] in granted() }) else { return }
        if !alone.isEmpty { return run([alone.removeFirst()]) }
        switch batcher.next(now: .now) {
        case .idle: model.leaveDevice(self)
        case .run(let ids): run(ids)
        case .wait(let time):
            model.leaveDevice(self)
            joinTimer = loop.schedule(at: time) { [weak self] in self?.pump() }
        }
    }

    /// The device is this model's, after a wait.
    private func granted() {
        pump()
        if operation == nil { model.leaveDevice(self) }
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
        let parts = ids.compactMap { id in
            answers[id].map { Part(id: id, payer: $0.payer, meter: $0.meter, rows: $0.rows) }
        }
        let took = MonotonicTime.now.since(now)
        counters.update {
            $0.running = ids.count
            $0.tensors.input.add(took)
        }
        operation = .run(parts)
        let sent = MonotonicTime.now
        model.compute(WIRE_OP_INFER, payload) { [self] status, payload in
            longest = MonotonicTime.now.since(sent)
            answered(.run(parts), status, payload)
        }
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

    private func answered(_ operation: Operation, _ status: Int32, _ payload: [UInt8]) {
        self.operation = nil
        switch operation {
        case .signature:
            guard status == 0, let found = TensorSignature(payload) else {
                return model.giveUp("it does not say which tensors it takes and gives")
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
        guard var result = TensorRun(payload) else { return model.giveUp("its answer is no list of tensors") }
        result.nanoseconds = min(result.nanoseconds, longest)
        bill(parts, rows: rows, nanoseconds: result.nanoseconds)
        if let fault = signature?.fault(outputs: result.outputs) { return model.giveUp(fault) }
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
            book(TenantTotals.Totals(device: share), part.payer.tenant, part.meter)
            _ = quotas.useDevice(share, part.payer)
        }
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
        if case .outputs(_, let timings) = result {
            answer.meter?.add { $0.add(timings) }
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
