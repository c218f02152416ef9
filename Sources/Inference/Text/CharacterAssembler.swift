// Turns the bytes of tokens into whole characters: a token may end in the middle of one. StopMatcher.swift comes next.

/// Holds back the bytes of a character that is not complete yet; at most three.
struct CharacterAssembler {
    private var pending: [UInt8] = []

    /// Adds a token's bytes and returns the text that is certain now. Bytes that can't be text become U+FFFD.
    mutating func push(_ bytes: some Collection<UInt8>) -> String {
        pending.append(contentsOf: bytes)
        let complete = pending.count - Self.incompleteTail(of: pending)
        guard complete > 0 else { return "" }
        let text = String(decoding: pending[..<complete], as: UTF8.self)
        pending.removeFirst(complete)
        return text
    }

    /// Returns what is left when no more bytes will come.
    mutating func finish() -> String {
        defer { pending = [] }
        return String(decoding: pending, as: UTF8.self)
    }

    /// How many bytes at the end are the beginning of one character and could still become whole.
    static func incompleteTail(of bytes: [UInt8]) -> Int {
        for length in 1...3 where length <= bytes.count {
            let lead = bytes[bytes.count - length]
            if lead & 0xC0 == 0x80 { continue }
            let whole = expectedLength(lead)
            guard whole > length else { return 0 }
            if length >= 2, !secondByteFits(lead, bytes[bytes.count - length + 1]) { return 0 }
            return length
        }
        return 0
    }

    private static func expectedLength(_ lead: UInt8) -> Int {
        switch lead {
        case 0xC2...0xDF: 2
        case 0xE0...0xEF: 3
        case 0xF0...0xF4: 4
        default: 1
        }
    }

    /// Overlong forms, surrogates and what lies behind U+10FFFF are refused at the second byte.
    private static func secondByteFits(_ lead: UInt8, _ second: UInt8) -> Bool {
        switch lead {
        case 0xE0: second >= 0xA0
        case 0xED: second <= 0x9F
        case 0xF0: second >= 0x90
        case 0xF4: second <= 0x8F
        default: true
        }
    }
}
