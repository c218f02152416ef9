// One invocation as the Kit sees it: what is open, what was answered, how it ended; RunLoop.swift turns it.

/// SAFETY: `@unchecked` because a worker has one thread, and everything here happens on it.
package final class Invocation: @unchecked Sendable {
    let host: Host
    /// CLOCK_MONOTONIC nanoseconds; 0 = none.
    let deadline: UInt64
    private(set) var isOpen = true
    private(set) var isCancelled = false
    private(set) var isBroken = false
    private(set) var hasResponded = false
    private var head: (status: Int, headers: Headers)?
    private(set) var result: Result<Void, any Error>?
    private(set) var calls: [UInt32: CallState] = [:]
    /// What to cancel when the host says that nobody waits any more.
    var task: Task<Void, Never>?

    init(host: Host, deadline: UInt64) {
        self.host = host
        self.deadline = deadline
    }

    /// The handler's task is over.
    func finish(_ result: Result<Void, any Error>) { self.result = result }

    /// After this no value that the handler kept can reach the host: it may serve another request by then.
    func close() {
        isOpen = false
        for (number, call) in calls {
            host.cancel(number)
            call.end(.failure(CancellationError()))
        }
        calls = [:]
        task = nil
    }

    func requireOpen() throws {
        guard isOpen else { throw InvocationOver() }
        if isCancelled { throw CancellationError() }
    }

    // MARK: the answer

    /// Holds the head back until the first byte, so that an error before it is still an error for the caller.
    func prepareHead(_ status: Int, _ headers: Headers) { head = (status, headers) }

    func sendHead() throws {
        guard let (status, headers) = head else { return }
        head = nil
        try reach { () throws(HostFailure) in try host.respond(status, headers.fields) }
        hasResponded = true
    }

    func write(_ text: String) throws {
        try sendHead()
        try reach { () throws(HostFailure) in try host.write(text) }
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        try sendHead()
        try reach { () throws(HostFailure) in try unsafe host.write(bytes) }
    }

    func flush() throws {
        try sendHead()
        try reach { () throws(HostFailure) in try host.flush() }
    }

    func readBody(upTo capacity: Int) throws -> [UInt8] {
        try reach { () throws(HostFailure) in try host.readBody(upTo: capacity) }
    }

    // MARK: host calls

    func open(call name: String, payload: [UInt8]) throws -> CallHandle {
        let number = try reach { () throws(HostFailure) in try host.call(name, payload) }
        let state = CallState(name: name)
        calls[number] = state
        return CallHandle(number: number, state: state, invocation: self)
    }

    func abandon(_ number: UInt32) {
        guard let call = calls.removeValue(forKey: number) else { return }
        if isOpen && !isCancelled { host.cancel(number) }
        call.end(.failure(CancellationError()))
    }

    /// Takes one event from the host, waiting at most `timeout` nanoseconds; false when none came.
    func takeEvent(timeout: UInt64) -> Bool {
        do {
            switch try host.next(timeout: timeout) {
            case .data(let number, let bytes): calls[number]?.receive(bytes)
            case .done(let number, let bytes):
                let call = calls.removeValue(forKey: number)
                call?.receive(bytes)
                call?.end(.success(()))
            case .failed(let number, let bytes):
                let call = calls.removeValue(forKey: number)
                call?.end(.failure(HostCallError(call: call?.name ?? "", json: bytes)))
            case .nothing: return false
            }
        } catch {
            cancel(because: error)
        }
        return true
    }

    // MARK: being given up

    /// Every use of the host passes here, so that a cancellation is noticed wherever it is said first.
    private func reach<Value>(_ use: () throws(HostFailure) -> Value) throws -> Value {
        try requireOpen()
        do throws(HostFailure) {
            return try use()
        } catch {
            guard error.isCancelled || error.isBroken else { throw error }
            cancel(because: error)
            throw CancellationError()
        }
    }

    private func cancel(because failure: HostFailure) {
        guard !isCancelled else { return }
        isCancelled = true
        isBroken = !failure.isCancelled
        let open = calls
        calls = [:]
        for call in open.values { call.end(.failure(CancellationError())) }
        task?.cancel()
    }
}

/// Something kept from an earlier invocation tried to use it.
struct InvocationOver: Error, CustomStringConvertible {
    var description: String { "the invocation is over: await every task before respond(to:) returns" }
}
