// A minisign public key and the number that names it.

/// The 8 bytes that a key's maker chose; they name it and prove nothing.
package struct KeyID: Hashable, Comparable, Sendable, CustomStringConvertible {
    static let size = 8
    let bytes: [UInt8]

    init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    /// - Parameter hex: at most 16 digits; minisign leaves zeros at the front away.
    package init?(hex: String) {
        guard (1...2 * Self.size).contains(hex.utf8.count),
            hex.utf8.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }),
            let number = UInt64(hex, radix: 16)
        else { return nil }
        self.init((0..<Self.size).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) })
    }

    /// 16 hex digits: the last byte first, as minisign prints them.
    package var description: String {
        bytes.reversed().map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined()
    }

    package static func < (a: KeyID, b: KeyID) -> Bool { a.description < b.description }
}

package struct PublicKey: Hashable, Sendable {
    package let id: KeyID
    let key: [UInt8]

    init(id: KeyID, key: [UInt8]) throws(SigningFault) {
        guard !Self.isOfSmallOrder(key) else {
            throw SigningFault("it is a point of small order, whose signatures anybody can make")
        }
        self.id = id
        self.key = key
    }

    /// Reads a public key file, or its second line alone.
    package init(_ file: [UInt8]) throws(SigningFault) {
        let hasComment = file.starts(with: MinisignText.untrusted.utf8)
        let lines = try MinisignText.lines(file, most: hasComment ? 2 : 1, what: "public key")
        if hasComment {
            _ = try MinisignText.comment(lines[0], MinisignText.untrusted, longest: MinisignText.longestComment)
        }
        let bytes = try MinisignText.bytes(lines[lines.count - 1], count: 42, what: "key")
        guard bytes.starts(with: "Ed".utf8) else { throw SigningFault("it is no Ed25519 key of minisign's") }
        try self.init(id: KeyID(bytes[2..<10]), key: Array(bytes[10...]))
    }

    /// The second line of its file.
    package var base64: String { MinisignText.base64(Array("Ed".utf8) + id.bytes + key) }

    package var file: String { "\(MinisignText.untrusted)minisign public key \(id)\n\(base64)\n" }

    /// The points whose eightfold is zero, by their y (RFC 8032): they verify signatures of texts that nobody signed.
    private static func isOfSmallOrder(_ key: [UInt8]) -> Bool {
        let masked = key.dropLast() + [(key.last ?? 0) & 0x7f]
        return smallOrder.contains { $0 == Array(masked) }
    }

    private static let smallOrder: [[UInt8]] = {
        func number(_ first: UInt8, _ rest: UInt8, _ last: UInt8) -> [UInt8] {
            [first] + [UInt8](repeating: rest, count: 30) + [last]
        }
        func hex(_ text: String) -> [UInt8] {
            let digits = Array(text)
            return stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0...$0 + 1]), radix: 16) }
        }
        return [
            number(0, 0, 0), number(1, 0, 0), number(0xec, 0xff, 0x7f), number(0xed, 0xff, 0x7f),
            number(0xee, 0xff, 0x7f),
            hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
            hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        ]
    }()
}
