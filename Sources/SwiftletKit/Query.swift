// The part of the address behind "?", and the percent encoding that it shares with the path.

public struct Query: Sendable {
    /// As it came, without the "?".
    public let raw: String

    public init(_ raw: String) { self.raw = raw }

    /// The first value of `name`, decoded; a name without "=" has the empty value.
    public subscript(_ name: String) -> String? { pairs.first { $0.name == name }?.value }

    /// Every value of `name`, decoded, in order.
    public func values(_ name: String) -> [String] { pairs.filter { $0.name == name }.map(\.value) }

    /// First values by name, decoded.
    public var dictionary: [String: String] {
        Dictionary(pairs.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
    }

    /// Every pair, decoded, in order.
    public var pairs: [(name: String, value: String)] {
        raw.utf8.split(separator: UInt8(ascii: "&")).map { pair in
            let sides = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            return (
                percentDecoded(sides[0], plusIsSpace: true),
                sides.count == 2 ? percentDecoded(sides[1], plusIsSpace: true) : ""
            )
        }
    }
}

/// Decodes `%41`; a `%` that two hex digits don't follow stays as it is. Bytes that are not UTF-8 become U+FFFD.
package func percentDecoded(_ text: Substring.UTF8View, plusIsSpace: Bool) -> String {
    var bytes: [UInt8] = []
    var rest = text[...]
    while let byte = rest.popFirst() {
        if byte == UInt8(ascii: "%"), let value = hexPair(rest) {
            bytes.append(value)
            rest = rest.dropFirst(2)
        } else {
            bytes.append(byte == UInt8(ascii: "+") && plusIsSpace ? UInt8(ascii: " ") : byte)
        }
    }
    return String(decoding: bytes, as: UTF8.self)
}

private func hexPair(_ text: Substring.UTF8View.SubSequence) -> UInt8? {
    let digits = text.prefix(2).compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
    return digits.count == 2 ? UInt8(digits[0] << 4 | digits[1]) : nil
}
