// A model while its worker lives: what its runners share, and the operations that are with the worker.
internal import Platform

/// Whom the runners of a loaded model serve, charge and tell, and their one line to the worker. Loop-confined.
final class LoadedModel {
    typealias Answered = (_ status: Int32, _ payload: [UInt8]) -> Void

    let spec: ModelSpec
    let info: ModelInfo
    let counters: ModelCounters
    let quotas: QuotaKeeper
    /// A request left the queue.
    let started: (GenerationID) -> Void
    /// A request is over; not called for those that `failAll` ends.
    let ended: (GenerationID) -> Void

    private let connection: any BackendConnection
    private var out: [UInt32: Answered] = [:]
    private var nextNumber: UInt32 = 1

    init(
        _ spec: ModelSpec, info: ModelInfo, connection: any BackendConnection, counters: ModelCounters,
        quotas: QuotaKeeper, started: @escaping (GenerationID) -> Void, ended: @escaping (GenerationID) -> Void
    ) {
        self.spec = spec
        self.info = info
        self.connection = connection
        self.counters = counters
        self.quotas = quotas
        self.started = started
        self.ended = ended
    }

    /// Sends one operation (WIRE_OP_*); the worker takes them in order. `answered` is called once, unless the worker ends first.
    func send(_ operation: Int, _ payload: [UInt8], answered: @escaping Answered) {
        out[nextNumber] = answered
        connection.send(operation: operation, request: nextNumber, payload: payload)
        nextNumber = nextNumber == .max ? 1 : nextNumber + 1
    }

    /// Sends one that gets no answer.
    func send(_ operation: Int, _ payload: [UInt8]) {
        connection.send(operation: operation, request: 0, payload: payload)
    }

    /// Takes the worker's answer to one operation.
    func received(_ number: UInt32, status: Int32, payload: [UInt8]) {
        guard let answered = out.removeValue(forKey: number) else { return kill() }
        answered(status, payload)
    }

    /// Ends the worker, because it broke its contract.
    func kill() { connection.kill() }

    /// The worker is gone, and answers nothing any more.
    func end() { out = [:] }
}
