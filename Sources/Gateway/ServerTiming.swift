// The Server-Timing field (W3C Server Timing): where the time of one answer went, in milliseconds.
internal import HTTP
internal import Platform
internal import Scheduler

struct ServerTiming {
    // Room for all the parts there are, with the largest of numbers.
    private var text = InlineArray<256, UInt8>(repeating: 0)
    private var size = 0

    /// - Parameter nanoseconds: how long the part took.
    mutating func add(_ part: StaticString, _ nanoseconds: UInt64) {
        if size > 0 { add(", ") }
        add(part)
        add(";dur=")
        addMilliseconds(nanoseconds / 1000)
    }

    private mutating func add(_ word: StaticString) {
        for index in 0..<word.utf8CodeUnitCount { unsafe add(word.utf8Start[index]) }
    }

    private mutating func add(_ byte: UInt8) {
        text[size] = byte
        size += 1
    }

    /// Three decimals by hand: this runs for every answer, and formatting is slow.
    private mutating func addMilliseconds(_ micros: UInt64) {
        add(number: micros / 1000)
        add(".")
        let rest = micros % 1000
        add(number: rest / 100)
        add(number: rest / 10 % 10)
        add(number: rest % 10)
    }

    private mutating func add(number: UInt64) {
        if number >= 10 { add(number: number / 10) }
        add(UInt8(0x30 + number % 10))
    }

    /// As the field of an answer.
    func append(to headers: inout HTTPHeaders) {
        _ = unsafe headers.append(known: "server-timing", text.span.extracting(..<size).bytes)
    }

    /// From the first byte of the request until now.
    mutating func addTotal(_ exchange: HTTPExchange) { add("total", MonotonicTime.now.since(exchange.receivedAt)) }

    /// The times of an answer that was made at once.
    static func immediate(_ exchange: HTTPExchange) -> ServerTiming {
        var timing = ServerTiming()
        timing.addTotal(exchange)
        return timing
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
