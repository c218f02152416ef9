// The SHA-256 of an API key: all that is kept of it, and how it is found.

package struct KeyHash: Hashable, Sendable {
    private let words: [4 of UInt64]

    /// - Parameter words: the 32 bytes as they are in memory.
    package init(_ words: (UInt64, UInt64, UInt64, UInt64)) { self.words = [words.0, words.1, words.2, words.3] }

    /// Reads 64 hex digits.
    package init?(hex: String) {
        let digits = Array(hex.utf8)
        guard digits.count == 64 else { return nil }
        var words: [4 of UInt64] = [0, 0, 0, 0]
        for word in 0..<4 {
            let text = String(decoding: digits[(word * 16)..<(word * 16 + 16)], as: UTF8.self)
            guard let value = UInt64(text, radix: 16), text == Self.hex(value) else { return nil }
            words[word] = value.byteSwapped
        }
        self.words = words
    }

    package var hex: String { (0..<4).map { Self.hex(words[$0].byteSwapped) }.joined() }

    private static func hex(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    package static func == (a: Self, b: Self) -> Bool {
        // All of it, always: where two differ is nobody's to measure.
        (a.words[0] ^ b.words[0]) | (a.words[1] ^ b.words[1]) | (a.words[2] ^ b.words[2]) | (a.words[3] ^ b.words[3])
            == 0
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(words[0]) }
}
