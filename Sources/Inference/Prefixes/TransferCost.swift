// Whether a prefix is worth the way out of the engine and back, learnt from how long such ways took. Pure.

/// Nanoseconds that a byte of a saved state takes between engine and host, both ways.
struct TransferCost: Equatable, Sendable {
    /// What half a gigabyte a second takes; until the first one was seen.
    private(set) var savePerByte = 2.0
    private(set) var restorePerByte = 2.0

    /// The weight of what was seen last.
    private static let newest = 0.3
    /// How likely a prefix is asked for again: one that was before, and one that never was.
    private static let likely = 0.5
    private static let unlikely = 0.25
    /// Less would be its fixed costs.
    private static let fewestBytes = 1024

    mutating func learn(saved bytes: Int, nanoseconds: UInt64) { Self.learn(&savePerByte, bytes, nanoseconds) }
    mutating func learn(restored bytes: Int, nanoseconds: UInt64) { Self.learn(&restorePerByte, bytes, nanoseconds) }

    private static func learn(_ perByte: inout Double, _ bytes: Int, _ nanoseconds: UInt64) {
        let seen = Double(nanoseconds) / Double(max(bytes, fewestBytes))
        perByte += newest * (seen - perByte)
    }

    /// Nanoseconds.
    func save(_ bytes: Int) -> Double { savePerByte * Double(max(bytes, Self.fewestBytes)) }
    func restore(_ bytes: Int) -> Double { restorePerByte * Double(max(bytes, Self.fewestBytes)) }

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
