// The Server-Timing field (W3C Server Timing): where the time of one answer went, in milliseconds.
internal import HTTP
internal import Platform
internal import Scheduler

struct ServerTiming {
    private var bytes: [UInt8] = []

    var text: String { String(decoding: bytes, as: UTF8.self) }

    /// - Parameter nanoseconds: how long the part took.
    mutating func add(_ part: StaticString, _ nanoseconds: UInt64) {
        bytes.reserveCapacity(128)
        if !bytes.isEmpty { bytes += [0x2c, 0x20] }
        unsafe bytes.append(contentsOf: UnsafeBufferPointer(start: part.utf8Start, count: part.utf8CodeUnitCount))
        bytes += [0x3b, 0x64, 0x75, 0x72, 0x3d]  // ;dur=
        addMilliseconds(nanoseconds / 1000)
    }

    /// Three decimals by hand: this runs for every answer, and formatting is slow.
    private mutating func addMilliseconds(_ micros: UInt64) {
        let start = bytes.count
        var (rest, digits) = (micros, 0)
        while rest > 0 || digits < 4 {
            if digits == 3 { bytes.append(0x2e) }
            bytes.append(UInt8(0x30 + rest % 10))
            rest /= 10
            digits += 1
        }
        bytes[start...].reverse()
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
