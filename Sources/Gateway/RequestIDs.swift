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
        let mixed = boot &+ number &* 0x9E37_79B9_7F4A_7C15
        let text = String(mixed, radix: 16)
        return "req-" + String(repeating: "0", count: 16 - text.count) + text
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f: true
        default: false
        }
    }
}
