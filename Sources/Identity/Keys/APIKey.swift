// An API key as text, `swl_<kind>_<random><checksum>`: made here, and told from everything else before anything is looked up.
package import Core
internal import CSeal
internal import Platform

/// The secret itself. It is shown once, when it is made; what is kept is its SHA-256.
package struct APIKey: Sendable {
    /// Who it is for: a scanner of leaked secrets sees it, and so does a reader.
    package enum Kind: String, Sendable, CaseIterable {
        case platform, tenant
    }

    package let text: String
    package let kind: Kind

    /// 32 of 62 characters: 190 bits.
    static let randomLength = 32
    static let checksumLength = 6
    private static let prefix = "swl_"
    private static let letters = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)

    package init(kind: Kind) throws(RuntimeError) {
        let random = try Self.randomLetters(Self.randomLength)
        let head = "\(Self.prefix)\(kind.rawValue)_\(random)"
        text = head + Self.checksum(of: head)
        self.kind = kind
    }

    /// Reads one that was sent. Nil when it can't be a key of ours: cut, doubled, mistyped.
    package init?(_ sent: String) {
        guard sent.utf8.count <= 64, sent.hasPrefix(Self.prefix) else { return nil }
        for kind in Kind.allCases {
            let head = "\(Self.prefix)\(kind.rawValue)_"
            guard sent.hasPrefix(head) else { continue }
            let rest = sent.utf8.dropFirst(head.utf8.count)
            guard rest.count == Self.randomLength + Self.checksumLength, rest.allSatisfy(Self.letters.contains),
                sent.hasSuffix(Self.checksum(of: String(sent.dropLast(Self.checksumLength))))
            else { return nil }
            text = sent
            self.kind = kind
            return
        }
        return nil
    }

    /// True for what was meant as a key of ours, whether it is one or not.
    package static func looksLikeOne(_ sent: String) -> Bool { sent.hasPrefix(prefix) }

    package var hash: KeyHash {
        get throws(RuntimeError) {
            guard let hash = Self.hash(of: text) else {
                throw RuntimeError(
                    .unavailable, step: "make a key", cause: "OpenSSL has no memory", next: "try again")
            }
            return hash
        }
    }

    /// By which whatever was sent is looked up. Nil when OpenSSL has no memory.
    package static func hash(of sent: String) -> KeyHash? { Digest.words(of: sent).map(KeyHash.init) }

    /// Letters that nobody can guess, each as likely as any other.
    private static func randomLetters(_ count: Int) throws(RuntimeError) -> String {
        var made: [UInt8] = []
        while made.count < count {
            var bytes = [UInt8](repeating: 0, count: count)
            guard unsafe cseal_random(&bytes, bytes.count) == 1 else {
                throw RuntimeError(
                    .unavailable, step: "make a key", cause: "the system gives no random bytes", next: "try again")
            }
            // 248 is four times 62: what is above would make some letters likelier.
            made += bytes.filter { $0 < 248 }.map { letters[Int($0) % 62] }
        }
        return String(decoding: made.prefix(count), as: UTF8.self)
    }

    /// CRC-32 (IEEE 802.3) in 6 letters: a typing mistake is told without a look at the registry.
    private static func checksum(of text: String) -> String {
        var crc: UInt32 = ~0
        for byte in text.utf8 {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
        }
        var rest = ~crc
        var digits: [UInt8] = []
        for _ in 0..<checksumLength {
            digits.append(letters[Int(rest % 62)])
            rest /= 62
        }
        return String(decoding: digits.reversed(), as: UTF8.self)
    }
}
