// A minisign secret key: made, read from its file, and written with or without a password.
internal import CSignature

package struct SecretKey: ~Copyable {
    package let id: KeyID
    /// The seed, then the public half, as libsodium keeps them.
    private let pair: SecretBytes

    private static let size = 158
    private static let hidden = 104
    private static let kept = 64

    /// Makes a new one.
    package init() throws(SigningFault) {
        try self.init(
            id: KeyID(try Crypto.random(KeyID.size)), seed: SecretBytes(try Crypto.random(Int(CSIGNATURE_SEED))))
    }

    init(id: KeyID, seed: SecretBytes) throws(SigningFault) {
        let pair = try Self.pair(of: seed)
        self.id = id
        self.pair = pair
    }

    private static func pair(of seed: SecretBytes) throws(SigningFault) -> SecretBytes {
        var publicHalf = [UInt8](repeating: 0, count: Int(CSIGNATURE_PUBLIC))
        let made = unsafe seed.with { seed in
            guard let seed = unsafe seed.bindMemory(to: UInt8.self).baseAddress else { return CInt(0) }
            return unsafe csignature_public(seed, &publicHalf)
        }
        guard made == 1 else { throw SigningFault("OpenSSL can't make an Ed25519 key") }
        return unsafe SecretBytes(seed.with { unsafe Array($0) } + publicHalf)
    }

    /// Whether a file holds a key that only its password opens.
    package static func needsPassword(_ file: [UInt8]) throws(SigningFault) -> Bool {
        try contents(file).isEncrypted
    }

    /// Reads a secret key file.
    ///
    /// - Parameter password: nil for a file that needs none. With one it takes up to 1 GiB of memory and a few seconds.
    package init(_ file: [UInt8], password: consuming [UInt8]? = nil) throws(SigningFault) {
        let (bytes, isEncrypted) = try Self.contents(file)
        let hidden = SecretBytes(Array(bytes[54...]))
        if isEncrypted {
            guard let password else { throw SigningFault("it needs its password") }
            let cost = ScryptCost(operations: Self.number(bytes[38..<46]), memory: Self.number(bytes[46..<54]))
            hidden.xor(
                try SecretBytes(
                    password: SecretBytes(password), salt: Array(bytes[6..<38]), cost: cost, count: Self.hidden))
        }
        let opened = unsafe hidden.with { unsafe Array($0) }
        let sum = Blake2b.hash(Array("Ed".utf8) + opened[..<72], size: 32)
        // minisign 0.11 writes no sum into a file without a password.
        let hasNoSum = !isEncrypted && opened[72...].allSatisfy { $0 == 0 }
        let isSame = unsafe csignature_same(sum, Array(opened[72...]), 32) == 1
        guard hasNoSum || isSame else {
            throw SigningFault(isEncrypted ? "the password is wrong" : "its checksum is wrong")
        }
        let pair = try Self.pair(of: SecretBytes(Array(opened[8..<40])))
        let publicHalf = Array(opened[40..<72])
        guard unsafe pair.with({ unsafe $0[32...].elementsEqual(publicHalf) }) else {
            throw SigningFault("its two halves don't belong together")
        }
        id = KeyID(opened[..<8])
        self.pair = pair
    }

    /// The file that holds it.
    ///
    /// - Parameter password: nil writes it as it is, for a machine that signs by itself.
    package func file(password: consuming [UInt8]?, cost: ScryptCost = .minisign) throws(SigningFault) -> String {
        let secret = unsafe pair.with { unsafe Array($0) }
        let sum = Blake2b.hash(Array("Ed".utf8) + id.bytes + secret, size: 32)
        let hidden = SecretBytes(id.bytes + secret + sum)
        var head = Array("Ed\0\0B2".utf8) + [UInt8](repeating: 0, count: 48)
        if let password {
            let salt = try Crypto.random(32)
            head = Array("EdScB2".utf8) + salt + Self.bytes(cost.operations) + Self.bytes(cost.memory)
            hidden.xor(
                try SecretBytes(password: SecretBytes(password), salt: salt, cost: cost, count: Self.hidden))
        }
        let what = password == nil ? "minisign secret key \(id) without a password" : "minisign encrypted secret key"
        let base64 = unsafe MinisignText.base64(head + hidden.with { unsafe Array($0) })
        return "\(MinisignText.untrusted)\(what)\n\(base64)\n"
    }

    package var publicKey: PublicKey {
        get throws(SigningFault) { try PublicKey(id: id, key: unsafe pair.with { unsafe Array($0[32...]) }) }
    }

    func sign(_ message: [UInt8]) throws(SigningFault) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: Int(CSIGNATURE_SIGNATURE))
        let made = unsafe pair.with { pair in
            guard let seed = unsafe pair.bindMemory(to: UInt8.self).baseAddress else { return CInt(0) }
            return unsafe csignature_sign(seed, message, message.count, &out)
        }
        guard made == 1 else { throw SigningFault("OpenSSL can't sign it") }
        return out
    }

    private static func contents(_ file: [UInt8]) throws(SigningFault) -> (bytes: [UInt8], isEncrypted: Bool) {
        let lines = try MinisignText.lines(file, most: 2, what: "secret key")
        _ = try MinisignText.comment(lines[0], MinisignText.untrusted, longest: MinisignText.longestComment)
        let bytes = try MinisignText.bytes(lines[1], count: size, what: "key")
        guard bytes.starts(with: "Ed".utf8), bytes[4..<6].elementsEqual("B2".utf8) else {
            throw SigningFault("it is no Ed25519 secret key of minisign's")
        }
        if bytes[2..<4].elementsEqual("Sc".utf8) { return (bytes, true) }
        guard bytes[2..<4].elementsEqual([0, 0]) else { throw SigningFault("its password is hidden in an unknown way") }
        return (bytes, false)
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    private static func bytes(_ number: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }
}

/// What a password costs to try, in libsodium's terms, and scrypt's N and p that follow from them (r is 8).
package struct ScryptCost: Equatable, Sendable {
    let operations: UInt64
    let memory: UInt64

    /// What minisign takes: 1 GiB, and seconds.
    package static let minisign = ScryptCost(operations: 1 << 25, memory: 1 << 30)

    package init(operations: UInt64, memory: UInt64) {
        self.operations = operations
        self.memory = memory
    }

    private var least: UInt64 { max(operations, 32_768) }
    private var isBoundByOperations: Bool { least < memory / 32 }

    var n: UInt64 {
        let most = isBoundByOperations ? least / 32 : memory / 1024
        // Above what the door takes anyway.
        return (1..<63).map { UInt64(1) << UInt64($0) }.first { $0 > most / 2 } ?? 1 << 62
    }

    var p: UInt32 {
        guard !isBoundByOperations else { return 1 }
        return max(1, UInt32(min(least / 4 / n, 0x3fff_ffff)) / 8)
    }
}
