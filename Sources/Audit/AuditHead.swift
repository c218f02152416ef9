// The anchor: how long the log is and how it ends, under a key that the log doesn't hold. Written around each commit.
internal import CSeal

/// A place of the chain: how many entries there are up to it, and the hash of the last of them.
package struct AuditPoint: Sendable, Equatable, CustomStringConvertible {
    package static let beginning = AuditPoint(count: 0, hash: .none)

    package let count: UInt64
    package let hash: AuditHash

    init(count: UInt64, hash: AuditHash) {
        self.count = count
        self.hash = hash
    }

    /// Reads `COUNT:HASH`.
    package init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let count = UInt64(parts[0]), let hash = AuditHash(hex: parts[1]) else { return nil }
        self.init(count: count, hash: hash)
    }

    package var description: String { "\(count):\(hash)" }
}

/// What must be in the log.
///
/// A commit announces its end, writes its entries and then calls them settled; so at every moment the log ends between the
/// two, and nobody without the key can add to it or cut it.
struct AuditHead: Sendable, Equatable {
    /// Where the log begins: after what was archived.
    var start = AuditPoint.beginning
    /// The log holds this much at least.
    var settled = AuditPoint.beginning
    /// And this much at most.
    var announced = AuditPoint.beginning

    private static let title = "swiftlet-audit-head 1"
    /// Every head has this many bytes, so that one write within one sector replaces another.
    static let size = 400

    /// The file's bytes.
    func sealed(by key: AuditKey) -> [UInt8] {
        let text = body
        let sealed = text + "mac " + hexText(key.mac(text)) + "\n"
        return Array(sealed.utf8) + [UInt8](repeating: UInt8(ascii: "\n"), count: Self.size - sealed.utf8.count)
    }

    private var body: String {
        var text = Self.title + "\n"
        for (name, point) in [("start", start), ("settled", settled), ("announced", announced)] {
            let number = String(point.count)
            text += "\(name) \(String(repeating: "0", count: 20 - number.count))\(number) \(point.hash)\n"
        }
        return text
    }

    /// Nil when the bytes are not what this key sealed.
    init?(_ bytes: [UInt8], key: AuditKey) {
        guard bytes.count == Self.size else { return nil }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        guard lines.count == 5 else { return nil }
        var points: [AuditPoint] = []
        for line in lines[1...3] {
            let words = line.split(separator: " ")
            guard words.count == 3, let count = UInt64(words[1]), let hash = AuditHash(hex: words[2]) else {
                return nil
            }
            points.append(AuditPoint(count: count, hash: hash))
        }
        self.init(start: points[0], settled: points[1], announced: points[2])
        guard sealed(by: key) == bytes else { return nil }
    }

    init(start: AuditPoint, settled: AuditPoint, announced: AuditPoint) {
        self.start = start
        self.settled = settled
        self.announced = announced
    }

    init() {}
}

/// The key of the anchor.
package struct AuditKey: Sendable {
    static let size = Int(CSEAL_KEY)
    let bytes: [UInt8]

    init(bytes: [UInt8]) { self.bytes = bytes }

    static func random() -> AuditKey {
        var bytes = [UInt8](repeating: 0, count: size)
        // Without randomness there is no secret, and no way to go on.
        guard unsafe cseal_random(&bytes, size) == 1 else { fatalError("OpenSSL has no random bytes") }
        return AuditKey(bytes: bytes)
    }

    func mac(_ text: String) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: Int(CSEAL_MAC))
        guard unsafe cseal_mac(bytes, text, text.utf8.count, &out) == 1 else {
            fatalError("OpenSSL has no memory for an HMAC")
        }
        return out
    }
}
