// Finds stop strings in text that comes in pieces, holding back only what could become one.

/// All stop strings of one answer, searched at once. Each byte costs one step a stop, however the strings look.
struct StopMatcher {
    /// One stop string with its Knuth-Morris-Pratt table.
    private struct Pattern {
        let bytes: [UInt8]
        /// For each prefix length, the length of its longest proper prefix that also ends it.
        let fallback: [Int]
        var matched = 0

        init(_ text: String) {
            let bytes = Array(text.utf8)
            var fallback = [Int](repeating: 0, count: bytes.count)
            var length = 0
            for index in 1..<max(1, bytes.count) {
                while length > 0, bytes[index] != bytes[length] { length = fallback[length - 1] }
                if bytes[index] == bytes[length] { length += 1 }
                fallback[index] = length
            }
            self.bytes = bytes
            self.fallback = fallback
        }

        /// Takes one byte; true when the whole string has just been seen.
        mutating func step(_ byte: UInt8) -> Bool {
            while matched > 0, byte != bytes[matched] { matched = fallback[matched - 1] }
            if byte == bytes[matched] { matched += 1 }
            return matched == bytes.count
        }
    }

    private var patterns: [Pattern]
    private var held: [UInt8] = []
    /// The stop string that was found.
    private(set) var found: String?

    /// Empty strings are left out: they would match before anything was said.
    init(_ stops: [String]) {
        patterns = stops.filter { !$0.isEmpty }.map(Pattern.init)
    }

    /// Adds whole characters. Returns the text that is certain not to belong to a stop string, and whether one was found:
    /// then the text ends right before it and nothing more may be pushed.
    mutating func push(_ text: String) -> (text: String, stopped: Bool) {
        guard !patterns.isEmpty else { return (text, false) }
        var text = text
        for byte in text.utf8 {
            held.append(byte)
            if let length = step(byte) {
                found = String(decoding: held.suffix(length), as: UTF8.self)
                return (release(keeping: length), true)
            }
        }
        text = release(keeping: patterns.reduce(0) { max($0, $1.matched) })
        return (text, false)
    }

    /// Returns what was held back when no more text will come.
    mutating func finish() -> String { release(keeping: 0) }

    /// The length of the longest stop string that ends with this byte.
    private mutating func step(_ byte: UInt8) -> Int? {
        var longest: Int?
        for index in patterns.indices where patterns[index].step(byte) {
            longest = max(longest ?? 0, patterns[index].bytes.count)
        }
        return longest
    }

    // What is kept begins with the first byte of a stop string, so a cut never falls inside a character.
    private mutating func release(keeping count: Int) -> String {
        let text = String(decoding: held.dropLast(count), as: UTF8.self)
        held.removeFirst(held.count - count)
        return text
    }
}
