// Names for requests: the caller's own when it is harmless, else a fresh one.
internal import Synchronization

package final class RequestIDs: Sendable {
    private let boot = UInt64.random(in: 0...UInt64.max)
    private let next = Atomic<UInt64>(1)

    package init() {}

    /// A number that is unique within this process.
    package func number() -> UInt64 { next.wrappingAdd(1, ordering: .relaxed).oldValue }

    /// The caller's id when it is 1 to 64 plain characters; else one made of the boot's random number and `number`.
    package func name(_ offered: String?, number: UInt64) -> String {
        if let offered, (1...64).contains(offered.utf8.count), offered.utf8.allSatisfy(Self.isPlain) { return offered }
        return Self.fresh(boot &+ number &* 0x9E37_79B9_7F4A_7C15)
    }

    /// `req-` and 16 hexadecimal digits, by hand: this runs for every request.
    private static func fresh(_ number: UInt64) -> String {
        var text = InlineArray<20, UInt8>(repeating: UInt8(ascii: "-"))
        (text[0], text[1], text[2]) = (UInt8(ascii: "r"), UInt8(ascii: "e"), UInt8(ascii: "q"))
        for index in 0..<16 {
            let digit = UInt8(truncatingIfNeeded: number >> UInt64(60 - 4 * index)) & 15
            text[4 + index] = digit < 10 ? 0x30 + digit : 0x57 + digit
        }
        return unsafe text.span.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f: true
        default: false
        }
    }
}
