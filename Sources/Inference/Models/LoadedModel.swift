// A model while its worker lives: what its runners share, and the operations that are with the worker; DeviceTurns is its device.
internal import Core
internal import Platform
internal import SwiftletWire
internal import Workers

/// Whom the runners of a loaded model serve, charge and tell, and their one line to the worker. Loop-confined.
///
/// An operation that is not answered in time ends the worker: nobody could use it any more.
final class LoadedModel {
    typealias Answered = (_ status: Int32, _ payload: [UInt8]) -> Void

    private struct Operation {
        let code: Int
        let computes: Bool
        let answered: Answered
    }

    let spec: ModelSpec
    let info: ModelInfo
    let counters: ModelCounters
    let quotas: QuotaKeeper
    /// A request left the queue.
    let started: (GenerationID) -> Void
    private let whenEnded: (GenerationID) -> Void
    private let whenBroken: (String) -> Void

    private let loop: EventLoop
    private let connection: any BackendConnection
    private let limit: OperationLimit
    private var out: [UInt32: Operation] = [:]
    private var nextNumber: UInt32 = 1
    /// When the worker began the oldest operation that is out: it takes them in order.
    private var begun = MonotonicTime.now
    private var watch: TimerToken?
    /// Why the worker is being ended: it gets nothing any more, and nothing of it is believed.
    private(set) var fault: String?

    private let turns: DeviceTurns
    /// Operations out that compute: one, or one more that was sent ahead.
    private var computing = 0
    private var tenants: [GenerationID: String] = [:]

    /// - Parameters:
    ///   - ended: a request is over; not called for those that `failAll` ends.
    ///   - broken: the worker broke its contract and was ended; once, after all of the runner's own work.
    init(
        _ spec: ModelSpec, info: ModelInfo, connection: any BackendConnection, counters: ModelCounters,
        quotas: QuotaKeeper, loop: EventLoop, leases: DeviceLeases, started: @escaping (GenerationID) -> Void,
        ended: @escaping (GenerationID) -> Void, broken: @escaping (String) -> Void
    ) {
        self.spec = spec
        self.info = info
        self.connection = connection
        self.counters = counters
        self.quotas = quotas
        self.loop = loop
        self.started = started
        whenEnded = ended
        whenBroken = broken
        limit = spec.operationLimit(infers: info.isForTensors)
        turns = DeviceTurns(leases, spec, counters: counters)
    }

    // MARK: whose work it has

    /// A request is the runner's from now on.
    func entered(_ id: GenerationID, tenant: String) {
        tenants[id] = tenant
        weigh()
    }

    func ended(_ id: GenerationID) {
        if tenants.removeValue(forKey: id) != nil { weigh() }
        whenEnded(id)
    }

    /// The weight of a model is that of its tenants, so that many requests weigh no more than one.
    private func weigh() {
        turns.setWeight(Set(tenants.values).reduce(0) { $0 + quotas.weight(of: $1) })
    }

    // MARK: operations

    /// Sends one operation (WIRE_OP_*); the worker takes them in order. `answered` is called once, unless the worker ends first.
    func send(_ code: Int, _ payload: [UInt8], answered: @escaping Answered) {
        send(Operation(code: code, computes: false, answered: answered), payload)
    }

    /// Sends the one operation for which the device was taken; with its answer it is given back.
    func compute(_ code: Int, _ payload: [UInt8], answered: @escaping Answered) {
        precondition(turns.isHeld || fault != nil, "a computation without the device")
        computing += 1
        send(Operation(code: code, computes: true, answered: answered), payload)
    }

    /// Sends one that gets no answer.
    func send(_ code: Int, _ payload: [UInt8]) {
        guard fault == nil else { return }
        connection.send(operation: code, request: 0, payload: payload)
    }

    private func send(_ operation: Operation, _ payload: [UInt8]) {
        guard fault == nil else { return }
        if out.isEmpty { begun = .now }
        out[nextNumber] = operation
        connection.send(operation: operation.code, request: nextNumber, payload: payload)
        nextNumber = nextNumber == .max ? 1 : nextNumber + 1
        watchOver()
    }

    /// Takes the worker's answer to one operation.
    func received(_ number: UInt32, status: Int32, payload: [UInt8]) {
        guard fault == nil else { return }
        guard let operation = out.removeValue(forKey: number) else { return giveUp("it answered what nobody asked") }
        begun = .now
        guard operation.computes else { return operation.answered(status, payload) }
        computing -= 1
        guard computing == 0 else {
            turns.renew()
            return operation.answered(status, payload)
        }
        turns.giveBack()
        operation.answered(status, payload)
        turns.passOn()
    }

    /// Ends the worker, because it broke its contract; all requests fail with `cause`, and the next one loads the model again.
    func giveUp(_ cause: String) {
        guard fault == nil else { return }
        fault = cause
        Log.error("a model's worker broke its contract and is ended", [("model", spec.name), ("cause", cause)])
        connection.kill()
        end()
        loop.afterBatch { [whenBroken] in whenBroken(cause) }
    }

    /// The worker is gone, and answers nothing any more.
    func end() {
        stopWatch()
        turns.end()
    }

    // MARK: the watch

    /// One timer for all operations: it looks at the oldest when that may be due, and not at every answer.
    private func watchOver() {
        guard watch == nil else { return }
        watch = loop.schedule(at: begun.adding(milliseconds: limit.milliseconds)) { [weak self] in self?.look() }
    }

    private func look() {
        watch = nil
        // The lowest number is the oldest; numbers begin anew after the highest.
        guard let oldest = out.min(by: { $0.key &- nextNumber < $1.key &- nextNumber })?.value else { return }
        guard loop.now >= begun.adding(milliseconds: limit.milliseconds) else { return watchOver() }
        giveUp(
            "\(Self.words(oldest.code)) took longer than \(limit.milliseconds) ms (\(limit.key)); the worker was ended")
    }

    private func stopWatch() {
        out = [:]
        if let watch { loop.cancel(watch) }
        watch = nil
    }

    private static func words(_ code: Int) -> String {
        switch code {
        case WIRE_OP_TOKENIZE: "tokenize"
        case WIRE_OP_CHAT: "prompt"
        case WIRE_OP_STEP: "step"
        case WIRE_OP_SEQ_START: "start a sequence"
        case WIRE_OP_SEQ_COPY: "copy a prefix"
        case WIRE_OP_SEQ_SAVE: "save a sequence"
        case WIRE_OP_SEQ_RESTORE: "restore a sequence"
        case WIRE_OP_EMBED: "embed"
        case WIRE_OP_INFER: "infer"
        default: "describe the tensors"
        }
    }

    // MARK: the device

    /// Asks for the device. True: the runner has it, and sends one operation by `compute` or says `leaveDevice`. False: `granted` is
    /// called when it has.
    func takeDevice(_ runner: AnyObject, granted: @escaping () -> Void) -> Bool { turns.take(runner, granted: granted) }

    /// True while nobody waits for the device that the runner has: then it may send the next operation before it has the result of
    /// the one that runs.
    var mayComputeAhead: Bool { turns.isHeld && !turns.othersWait }

    /// The runner has the device and nothing to compute after all.
    func leaveDevice(_ runner: AnyObject) { turns.leave(runner) }
}

/// How long a worker may take for one operation, and the manifest's key for that.
struct OperationLimit: Equatable {
    var milliseconds: UInt64
    var key: String
}

extension ModelSpec {
    /// Threads that compute at the same time: an engine may have more than it is given cores for.
    var stepThreads: Int {
        let cores = (worker.limits.cpuPercent + 99) / 100
        return Int(max(1, min(worker.limits.threads, cores)))
    }

    /// - Parameter infers: the model runs on tensors, where a request is one operation.
    func operationLimit(infers: Bool) -> OperationLimit {
        let limits = worker.limits
        if infers, limits.timeoutMilliseconds < limits.stepMilliseconds {
            return OperationLimit(milliseconds: UInt64(max(1, limits.timeoutMilliseconds)), key: "limits.timeout_ms")
        }
        return OperationLimit(milliseconds: UInt64(max(1, limits.stepMilliseconds)), key: "limits.step_ms")
    }
}
