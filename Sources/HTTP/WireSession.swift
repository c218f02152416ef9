// What Connection.swift asks of a protocol: HTTP1Session.swift and HTTP2Session.swift answer.
internal import Platform

/// One protocol on one connection.
protocol WireSession: AnyObject {
    /// Bytes came. They are only lent: what isn't used now must be copied.
    func receive(_ bytes: UnsafeRawBufferPointer)
    /// The client will send nothing more.
    func inputEnded()
    /// Goes on with what waits; called before every flush.
    func settle()
    /// Moves what is ready into the connection's output, a bounded amount.
    func produce()
    /// The socket took everything.
    func outputDrained()
    /// False keeps further input in the kernel, which is how the client is told to wait.
    var wantsInput: Bool { get }
    /// Acts on what took too long.
    func check(_ now: MonotonicTime)
    /// Takes no new work; ends the connection once the running work is done. Called once, and again when the time of
    /// grace for idle clients is over.
    func drain(graceIsOver: Bool)
    /// The connection is gone: tells every open exchange.
    func connectionClosed()
}

/// Measures whether bytes move fast enough, one window of time after another.
struct Pace {
    /// Milliseconds.
    private let window: UInt64
    /// Bytes a second.
    private let minimum: UInt64
    private var windowStart: MonotonicTime
    private var moved: UInt64 = 0

    init(window: UInt64, minimum: UInt64, now: MonotonicTime) {
        self.window = window
        self.minimum = minimum
        windowStart = now
    }

    mutating func count(_ bytes: Int) { moved += UInt64(bytes) }

    /// The time we ourselves made the client wait doesn't count.
    mutating func restart(_ now: MonotonicTime) {
        windowStart = now
        moved = 0
    }

    /// True when a whole window passed and brought less than the minimum.
    mutating func isTooSlow(_ now: MonotonicTime) -> Bool {
        let elapsed = now.since(windowStart) / 1_000_000
        guard elapsed >= window else { return false }
        let tooSlow = moved < minimum * elapsed / 1_000
        restart(now)
        return tooSlow
    }
}

extension HTTPLimits {
    func bodyPace(_ now: MonotonicTime) -> Pace { Pace(window: bodyTimeout, minimum: bodyMinimumRate, now: now) }
    func answerPace(_ now: MonotonicTime) -> Pace { Pace(window: writeTimeout, minimum: writeMinimumRate, now: now) }
}
