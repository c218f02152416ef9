// What a worker asks of the host while it serves: which calls are open, and the one that is still coming in. A value.
internal import SwiftletWire
internal import Workers

/// The calls of one invocation. A worker sends one whole before the next, and may have `WIRE_CALLS_MAX` open.
struct HostCalls {
    typealias Call = (number: UInt32, name: String, payload: [UInt8])

    /// Bytes of one call's payload.
    static let longest = 4 << 20

    private var partial: Call?
    /// Calls whose last reply the socket has not taken; an honest worker counts at least as many as open.
    private var open: Set<UInt32> = []
    /// Those of them whose last reply waits in the channel's queue.
    private var replied: [UInt32] = []

    /// - Returns: false when the worker may not call now, or not by this number.
    mutating func begin(_ number: UInt32, _ name: String, _ payload: [UInt8]) -> Bool {
        guard partial == nil, open.count < Int(WIRE_CALLS_MAX), !open.contains(number) else { return false }
        partial = (number, name, payload)
        return true
    }

    /// - Returns: false when no such call is coming in, or it grows too long.
    mutating func append(_ bytes: RawSpan, to number: UInt32) -> Bool {
        guard let coming = partial, coming.number == number, coming.payload.count + bytes.byteCount <= Self.longest
        else { return false }
        partial?.payload += bytes.bytes(in: 0..<bytes.byteCount)
        return true
    }

    /// The call that has come in whole. It is open from here on, so before whoever may answer at once hears of it.
    mutating func complete() -> Call? {
        guard let whole = partial.take() else { return nil }
        open.insert(whole.number)
        return whole
    }

    /// Its last reply is on its way to the socket.
    mutating func answered(_ number: UInt32) { replied.append(number) }

    /// The socket has taken all replies.
    mutating func forgetAnswered() {
        open.subtract(replied)
        replied.removeAll(keepingCapacity: true)
    }

    mutating func cancelled(_ number: UInt32) { open.remove(number) }
}
