// base64url of RFC 7515 as a token may hold it: no padding, no white space, and one text only for the same bytes.

enum Base64URL {
    /// The bytes, or nil for what no encoder writes.
    static func decode(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        guard text.count % 4 != 1 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 4 * 3 + 2)
        var (bits, count) = (0 as UInt32, 0)
        for character in text {
            let value = values[Int(character)]
            guard value < 64 else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 6
            guard count >= 8 else { continue }
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
        // Left-over bits that are not 0 would make several texts of one token.
        guard bits & (1 << UInt32(count) - 1) == 0 else { return nil }
        return bytes
    }

    static func decode(_ text: String) -> [UInt8]? { decode(Array(text.utf8)[...]) }

    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 255, count: 256)
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        for (index, character) in alphabet.utf8.enumerated() { values[Int(character)] = UInt8(index) }
        return values
    }()
}
