// Whether a prefix is worth the way out of the engine and back, learnt from how long such ways took. Pure.

/// Nanoseconds that a byte of a saved state takes between engine and host, both ways.
struct TransferCost: Equatable, Sendable {
    private(set) var savePerByte = expected
    private(set) var restorePerByte = expected

    /// What half a gigabyte a second takes; until the first one was seen.
    private static let expected = 2.0
    /// The weight of what was seen last.
    private static let newest = 0.3
    /// How likely a prefix is asked for again: one that was before, and one that never was.
    private static let likely = 0.5
    private static let unlikely = 0.25
    /// How far a refusal goes back to what is expected, so that one bad moment does not end all attempts.
    private static let relaxed = 0.05
    /// Smaller ones tell how long they waited, and not what a byte takes.
    private static let fewestBytes = 1 << 20

    mutating func learn(saved bytes: Int, nanoseconds: UInt64) { Self.learn(&savePerByte, bytes, nanoseconds) }
    mutating func learn(restored bytes: Int, nanoseconds: UInt64) { Self.learn(&restorePerByte, bytes, nanoseconds) }

    private static func learn(_ perByte: inout Double, _ bytes: Int, _ nanoseconds: UInt64) {
        guard bytes >= fewestBytes else { return }
        perByte += newest * (Double(nanoseconds) / Double(bytes) - perByte)
    }

    /// A way did not pay.
    mutating func relax() {
        savePerByte += Self.relaxed * (Self.expected - savePerByte)
        restorePerByte += Self.relaxed * (Self.expected - restorePerByte)
    }

    /// Nanoseconds.
    func save(_ bytes: Int) -> Double { savePerByte * Double(bytes) }
    func restore(_ bytes: Int) -> Double { restorePerByte * Double(bytes) }

    /// - Parameters:
    ///   - tokens: those that would not have to be read.
    ///   - perRead: nanoseconds to read one.
    func paysToRestore(bytes: Int, tokens: Int, perRead: Double) -> Bool { restore(bytes) < perRead * Double(tokens) }

    /// - Parameters:
    ///   - hits: how often it was of use already.
    ///   - stall: how long those who run now may be held up, in nanoseconds; nil: nobody runs or waits.
    func paysToSave(bytes: Int, tokens: Int, hits: Int, perRead: Double, stall: Double?) -> Bool {
        let gain = perRead * Double(tokens) - restore(bytes)
        guard let stall else { return gain > 0 }
        return save(bytes) <= stall && (hits > 0 ? Self.likely : Self.unlikely) * gain > save(bytes)
    }
}
