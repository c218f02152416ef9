// Vectors of numbers: from a worker's bytes, to base64 for clients that ask for it, and how near two are.

enum Vector {
    /// What WIRE_OP_EMBED answers. Nil unless it is exactly `count` numbers.
    static func parse(_ payload: [UInt8], count: Int) -> [Float]? {
        guard payload.count == count * 4 else { return nil }
        return (0..<count).map { index in
            let at = index * 4
            return Float(
                bitPattern: UInt32(payload[at]) | UInt32(payload[at + 1]) << 8 | UInt32(payload[at + 2]) << 16
                    | UInt32(payload[at + 3]) << 24)
        }
    }

    /// From -1 to 1; 0 when one of them has no direction.
    static func cosine(_ one: [Float], _ other: [Float]) -> Float {
        var product = 0.0
        var lengths = (one: 0.0, other: 0.0)
        for (a, b) in zip(one, other) {
            product += Double(a) * Double(b)
            lengths.one += Double(a) * Double(a)
            lengths.other += Double(b) * Double(b)
        }
        let length = (lengths.one * lengths.other).squareRoot()
        return length > 0 ? Float(max(-1, min(1, product / length))) : 0
    }

    /// Appends the little-endian bytes of the numbers as base64.
    static func appendBase64(_ vector: [Float], to text: inout [UInt8]) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(vector.count * 4 + 2)
        for number in vector {
            let bits = number.bitPattern
            bytes.append(UInt8(truncatingIfNeeded: bits))
            bytes.append(UInt8(truncatingIfNeeded: bits >> 8))
            bytes.append(UInt8(truncatingIfNeeded: bits >> 16))
            bytes.append(UInt8(truncatingIfNeeded: bits >> 24))
        }
        appendBase64(bytes, to: &text)
    }

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    private static func appendBase64(_ bytes: [UInt8], to text: inout [UInt8]) {
        for at in stride(from: 0, to: bytes.count, by: 3) {
            let left = bytes.count - at
            let bits =
                UInt32(bytes[at]) << 16 | (left > 1 ? UInt32(bytes[at + 1]) << 8 : 0)
                | (left > 2 ? UInt32(bytes[at + 2]) : 0)
            text.append(alphabet[Int(bits >> 18)])
            text.append(alphabet[Int(bits >> 12 & 63)])
            text.append(left > 1 ? alphabet[Int(bits >> 6 & 63)] : UInt8(ascii: "="))
            text.append(left > 2 ? alphabet[Int(bits & 63)] : UInt8(ascii: "="))
        }
    }
}
