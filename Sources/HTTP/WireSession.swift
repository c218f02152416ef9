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

/// Measures whether a body arrives fast enough, one window of time after another.
struct BodyClock {
    private var windowStart: MonotonicTime
    private var received: UInt64 = 0

    init(now: MonotonicTime) { windowStart = now }

    mutating func count(_ bytes: Int) { received += UInt64(bytes) }

    /// The time we ourselves made the client wait doesn't count.
    mutating func restart(_ now: MonotonicTime) { self = BodyClock(now: now) }

    /// True when a whole window passed and brought less than the minimum.
    mutating func isTooSlow(_ now: MonotonicTime, limits: HTTPLimits) -> Bool {
        let elapsed = now.since(windowStart) / 1_000_000
        guard elapsed >= limits.bodyTimeout else { return false }
        let wanted = limits.bodyMinimumRate * elapsed / 1_000
        let tooSlow = received < wanted
        restart(now)
        return tooSlow
    }
}
