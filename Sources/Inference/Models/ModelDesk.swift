// Gives each request of a loaded model to the runner of its kind, and the worker's answers to the one that asked.

/// The work of a model, whatever it can do.
final class ModelDesk: ModelWork {
    private let generations: ModelRunner
    private let embeddings: EmbeddingRunner
    private let switchboard: Switchboard

    init(
        _ spec: ModelSpec, info: ModelInfo, connection: any BackendConnection, counters: ModelCounters,
        quotas: QuotaKeeper, prefixes: PrefixStore?, started: @escaping (GenerationID) -> Void,
        ended: @escaping (GenerationID) -> Void
    ) {
        let switchboard = Switchboard(connection)
        self.switchboard = switchboard
        generations = ModelRunner(
            spec, info: info, connection: switchboard.line(0), counters: counters, quotas: quotas,
            prefixes: prefixes, started: started, ended: ended)
        embeddings = EmbeddingRunner(
            spec, info: info, connection: switchboard.line(1), counters: counters, quotas: quotas, started: started,
            ended: ended)
    }

    func submit(
        _ id: GenerationID, _ request: ModelRequest, loadNanoseconds: UInt64, sink: @escaping GenerationSink
    ) {
        let runner: any ModelWork =
            switch request {
            case .generation, .inference: generations
            case .embedding, .tokens: embeddings
            }
        runner.submit(id, request, loadNanoseconds: loadNanoseconds, sink: sink)
    }

    func cancel(_ id: GenerationID) {
        generations.cancel(id)
        embeddings.cancel(id)
    }

    func received(_ number: UInt32, status: Int32, payload: [UInt8]) {
        guard let asked = switchboard.answered(number) else { return switchboard.kill() }
        let runner: any ModelWork = asked.line == 0 ? generations : embeddings
        runner.received(asked.request, status: status, payload: payload)
    }

    func failAll(_ error: OpenAIError) -> [GenerationID] { generations.failAll(error) + embeddings.failAll(error) }
}

/// One worker's connection as several, whose operations are numbered apart.
private final class Switchboard {
    private let connection: any BackendConnection
    private var asked: [UInt32: (line: Int, request: UInt32)] = [:]
    private var next: UInt32 = 1

    init(_ connection: any BackendConnection) { self.connection = connection }

    func line(_ number: Int) -> any BackendConnection { Line(number, of: self) }

    func kill() { connection.kill() }

    /// Who sent the operation that was answered, and under which number.
    func answered(_ number: UInt32) -> (line: Int, request: UInt32)? { asked.removeValue(forKey: number) }

    private func send(_ operation: Int, _ request: UInt32, _ payload: [UInt8], line: Int) {
        // Zero: no answer comes.
        guard request != 0 else { return connection.send(operation: operation, request: 0, payload: payload) }
        asked[next] = (line, request)
        connection.send(operation: operation, request: next, payload: payload)
        next = next == .max ? 1 : next + 1
    }

    private final class Line: BackendConnection {
        private let number: Int
        private let board: Switchboard

        init(_ number: Int, of board: Switchboard) {
            self.number = number
            self.board = board
        }

        func send(operation: Int, request: UInt32, payload: [UInt8]) {
            board.send(operation, request, payload, line: number)
        }
        func close() { board.connection.close() }
        func kill() { board.connection.kill() }
    }
}
