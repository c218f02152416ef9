// The Server-Timing field (W3C Server Timing): where the time of one answer went, in milliseconds.
internal import HTTP
internal import Platform
internal import Scheduler

struct ServerTiming {
    private(set) var text = ""

    /// - Parameter nanoseconds: how long the part took.
    mutating func add(_ part: String, _ nanoseconds: UInt64) {
        // Three decimals without floating point formatting, which is slow.
        let micros = nanoseconds / 1000
        let rest = String(micros % 1000)
        if !text.isEmpty { text += ", " }
        text += "\(part);dur=\(micros / 1000).\(rest.utf8.count == 1 ? "00" : rest.utf8.count == 2 ? "0" : "")\(rest)"
    }

    /// From the first byte of the request until now.
    mutating func addTotal(_ exchange: HTTPExchange) { add("total", MonotonicTime.now.since(exchange.receivedAt)) }

    /// The field of an answer that was made at once.
    static func immediate(_ exchange: HTTPExchange) -> String {
        var timing = ServerTiming()
        timing.addTotal(exchange)
        return timing.text
    }

    /// - Parameter isCold: a worker was started for this invocation.
    init(_ timings: InvocationTimings, isCold: Bool) {
        add("queue", timings.queue)
        guard isCold else { return }
        add("spawn", timings.spawn)
        add("load", timings.load)
    }

    init() {}
}
