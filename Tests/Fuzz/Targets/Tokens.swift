// Tokens of identity providers and the key sets that they publish: what a caller, or whoever answers for an issuer, may send.
import Core

@testable import Identity

extension Target {
    /// A byte that says what follows: a token as it is, a header and claims to be encoded, a key set, or JSON.
    static let tokens = Target(name: "tokens") { bytes in
        var input = Input(bytes)
        switch input.u8() % 4 {
        case 0: readToken(input.all())
        case 1:
            let header = input.take(Int(input.u8()))
            readToken(encoded(header) + [0x2e] + encoded(input.all()) + Array(".AAAA".utf8))
        case 2: readKeys(input.all())
        default: readJSON(input.all())
        }
    }

    private static func readToken(_ bytes: [UInt8]) {
        let first = Result { () throws(JWTRefusal) in try SignedToken(bytes) }
        guard case .success(let token) = first else {
            if case .failure(let refusal) = first { require(refusal.check != .signature, "nothing was verified yet") }
            return
        }
        let parts = bytes.split(separator: 0x2e, omittingEmptySubsequences: false)
        require(bytes.count <= SignedToken.longest && parts.count == 3, "a token is short and has three parts")
        require(encoded(token.signature) == Array(parts[2]), "one text only for the same signature")
        require(Array(token.signed) == Array(bytes.dropLast(parts[2].count + 1)), "what is signed is what was sent")
        require((token.keyID?.utf8.count ?? 1) <= SignedToken.longestKeyID, "the key's name is short")
        require(token.keyID?.isPrintable ?? true, "the key's name is printable")
        // Any claims at all: a refusal, or dates that were in range.
        if let verified = try? Verifier.checkClaims(token, policy, now: 1_767_225_600_000) {
            require(verified.expires > 1_767_225_600_000, "it has not ended")
            guard let principal = try? policy.principal(verified, claims: token.claims) else { return }
            require(principal.tenant.map(Names.isValid) ?? false, "the tenant's name is one")
            require(principal.role == .invoker, "no token chooses a role that is not mapped")
        }
    }

    private static let policy: IssuerPolicy = {
        let text = """
            { issuers: [ { issuer: "i", audience: "a", jwks_file: "k", tenant: { claim: "t" },
                role: { claim: "r", map: { x: "invoker" } }, functions: { claim: "f" } } ] }
            """
        guard let config = try? JWTConfig(json5: Array(text.utf8), file: "jwt.json5") else { fatalError("no policy") }
        return config.issuers[0]
    }()

    private static func readKeys(_ bytes: [UInt8]) {
        guard let set = try? KeySet(bytes) else { return }
        require(set.keys.count + set.ignored.values.reduce(0, +) <= KeySet.mostKeys, "keys are few")
        for key in set.keys {
            require(
                key.algorithm != .rs256 || (KeySet.leastBits...8192).contains(key.bits), "an RSA key has enough bits")
            require(!key.signed([1], signature: [UInt8](repeating: 0, count: 64)), "zeros sign nothing")
        }
    }

    private static func readJSON(_ bytes: [UInt8]) {
        guard let value = try? StrictJSON.decode(bytes, values: 1024) else { return }
        require((try? JSON5.decode(bytes, step: "fuzz")) != nil || bytes.count > JSON5.largest, "JSON is JSON5")
        require(
            (try? StrictJSON.decode(Array(value.text.utf8), values: 1024)) == value,
            "what is written is read back equal")
    }

    private static func encoded(_ bytes: [UInt8]) -> [UInt8] {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var (out, bits, count) = ([] as [UInt8], 0 as UInt32, 0 as UInt32)
        for byte in bytes {
            (bits, count) = (bits << 8 | UInt32(byte), count + 8)
            while count >= 6 {
                count -= 6
                out.append(alphabet[Int(bits >> count & 63)])
            }
        }
        if count > 0 { out.append(alphabet[Int(bits << (6 - count) & 63)]) }
        return out
    }
}
