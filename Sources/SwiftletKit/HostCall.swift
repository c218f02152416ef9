// A host call under way: events queue up here until the handler asks for them.

/// The answer of a host call, piece by piece. Dropping it gives up the call.
public struct HostCallStream: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    let handle: CallHandle

    public struct Iterator: AsyncIteratorProtocol {
        let handle: CallHandle
        public mutating func next() async throws -> [UInt8]? { try await handle.next() }
    }

    public func makeAsyncIterator() -> Iterator { Iterator(handle: handle) }
}

/// The host answered a call with a failure.
public struct HostCallError: Error, Sendable, CustomStringConvertible {
    /// The name of the call, such as "model.chat".
    public let call: String
    /// A word programs can compare, such as "model_not_found".
    public let type: String
    /// What happened, for people.
    public let message: String

    init(call: String, type: String, message: String) {
        self.call = call
        self.type = type
        self.message = message
    }

    init(call: String, json: [UInt8]) {
        struct Envelope: Decodable {
            struct Cause: Decodable {
                let type: String?
                let message: String?
            }
            let error: Cause
        }
        let cause = try? JSON.decode(Envelope.self, from: json).error
        self.init(
            call: call, type: cause?.type ?? "unknown", message: cause?.message ?? String(decoding: json, as: UTF8.self)
        )
    }

    public var description: String { "\(call): \(message) (\(type))" }
}

/// Owned by the handler's side of a call; the last reference gone gives up the call.
final class CallHandle: Sendable {
    private let number: UInt32
    private let state: CallState
    private let invocation: Invocation

    init(number: UInt32, state: CallState, invocation: Invocation) {
        self.number = number
        self.state = state
        self.invocation = invocation
    }

    deinit { invocation.abandon(number) }

    func next() async throws -> [UInt8]? {
        try await withTaskCancellationHandler {
            try await state.next()
        } onCancel: {
            invocation.abandon(number)
        }
    }
}

/// What has arrived of one call and who waits for more.
/// SAFETY: `@unchecked` because a worker has one thread, and everything here happens on it.
final class CallState: @unchecked Sendable {
    let name: String
    private var arrived: [[UInt8]] = []
    private var taken = 0
    private var ending: Result<Void, any Error>?
    private var waiter: CheckedContinuation<[UInt8]?, any Error>?

    init(name: String) { self.name = name }

    func receive(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        if let waiter = takeWaiter() { waiter.resume(returning: bytes) } else { arrived.append(bytes) }
    }

    func end(_ ending: Result<Void, any Error>) {
        guard self.ending == nil else { return }
        self.ending = ending
        takeWaiter()?.resume(with: ending.map { nil })
    }

    func next() async throws -> [UInt8]? {
        if taken < arrived.count { return takeArrived() }
        if let ending { return try ending.map { nil }.get() }
        precondition(waiter == nil, "\(name): two tasks read one host call: let one of them read")
        return try await withCheckedThrowingContinuation { waiter = $0 }
    }

    private func takeArrived() -> [UInt8] {
        defer {
            taken += 1
            if taken == arrived.count {
                arrived.removeAll(keepingCapacity: true)
                taken = 0
            }
        }
        return arrived[taken]
    }

    private func takeWaiter() -> CheckedContinuation<[UInt8]?, any Error>? {
        defer { waiter = nil }
        return waiter
    }
}
