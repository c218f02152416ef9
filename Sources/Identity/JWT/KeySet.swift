// The keys that an issuer publishes (RFC 7517), as far as they can be used here; the rest is counted with its reason.
internal import Core

struct KeySet: Sendable {
    static let largest = 1 << 20
    static let mostKeys = 100
    static let leastBits = 2048

    struct Fault: Error {
        let words: String
    }

    enum Found {
        case key(VerificationKey)
        case none
        /// The token names no key, and there are several.
        case ambiguous
    }

    private struct Name: Hashable {
        let id: [UInt8]
        let algorithm: JWTAlgorithm
    }

    private var named: [Name: VerificationKey] = [:]
    private(set) var keys: [VerificationKey] = []
    /// Why keys were left out, and how many.
    private(set) var ignored: [String: Int] = [:]
    /// Says whether two sets are the same text.
    let digest: TokenDigest

    init(_ bytes: [UInt8]) throws(Fault) {
        guard bytes.count <= Self.largest else { throw Fault(words: "the keys take more than \(Self.largest) bytes") }
        guard let digest = TokenDigest(bytes) else { throw Fault(words: "OpenSSL has no memory") }
        self.digest = digest
        let value: JSONValue
        do throws(StrictJSON.Fault) {
            value = try StrictJSON.decode(bytes, values: 16_384)
        } catch {
            throw Fault(words: "the keys are not JSON: \(error.description)")
        }
        guard case .object(let members) = value, case .array(let items) = members["keys"] else {
            throw Fault(words: "there is no list named \"keys\"")
        }
        guard items.count <= Self.mostKeys else { throw Fault(words: "there are more than \(Self.mostKeys) keys") }
        for item in items { add(item) }
    }

    private mutating func add(_ item: JSONValue) {
        do throws(Fault) {
            let (id, key) = try Self.read(item)
            if let id {
                let name = Name(id: Array(id.utf8), algorithm: key.algorithm)
                guard named[name] == nil else { throw Fault(words: "another has the same kid") }
                named[name] = key
            }
            keys.append(key)
        } catch {
            ignored[error.words, default: 0] += 1
        }
    }

    func key(_ id: String?, _ algorithm: JWTAlgorithm) -> Found {
        if let id { return named[Name(id: Array(id.utf8), algorithm: algorithm)].map { .key($0) } ?? .none }
        let fitting = keys.filter { $0.algorithm == algorithm }
        guard let only = fitting.first else { return .none }
        return fitting.count == 1 ? .key(only) : .ambiguous
    }
}

extension KeySet {
    private static func read(_ item: JSONValue) throws(Fault) -> (id: String?, key: VerificationKey) {
        guard case .object(let members) = item else { throw Fault(words: "it is not an object") }
        guard members["d"] == nil, members["k"] == nil else {
            throw Fault(words: "it is a secret or private key, which must not be published")
        }
        if let use = members["use"], use != .string("sig") { throw Fault(words: "its use is not sig") }
        if let operations = members["key_ops"] {
            guard case .array(let operations) = operations, operations.contains(.string("verify")) else {
                throw Fault(words: "its key_ops do not hold verify")
            }
        }
        let key = try material(members)
        if let algorithm = members["alg"], algorithm != .string(key.algorithm.rawValue) {
            throw Fault(words: "its alg is not one of RS256, ES256 and EdDSA, or does not fit its kind")
        }
        guard let id = members["kid"] else { return (nil, key) }
        guard case .string(let id) = id, !id.isEmpty, id.utf8.count <= SignedToken.longestKeyID, id.isPrintable else {
            throw Fault(words: "its kid is not 1 to \(SignedToken.longestKeyID) bytes of printable text")
        }
        return (id, key)
    }

    private static func material(_ members: [String: JSONValue]) throws(Fault) -> VerificationKey {
        switch (members["kty"], members["crv"]) {
        case (.string("RSA"), _):
            guard let modulus = bytes(members["n"]), let exponent = bytes(members["e"]), modulus.first != 0,
                let key = VerificationKey.rsa(modulus: modulus, exponent: exponent)
            else { throw Fault(words: "it is no RSA key of at most 8192 bits") }
            guard key.bits >= leastBits else { throw Fault(words: "an RSA key has fewer than \(leastBits) bits") }
            return key
        case (.string("EC"), .string("P-256")):
            guard let x = bytes(members["x"]), let y = bytes(members["y"]), let key = VerificationKey.p256(x: x, y: y)
            else { throw Fault(words: "it is no point of P-256") }
            return key
        case (.string("OKP"), .string("Ed25519")):
            guard let x = bytes(members["x"]), let key = VerificationKey.ed25519(x: x) else {
                throw Fault(words: "it is no Ed25519 key")
            }
            return key
        default: throw Fault(words: "its kind is not RSA, EC P-256 or OKP Ed25519")
        }
    }

    private static func bytes(_ value: JSONValue?) -> [UInt8]? {
        guard case .string(let text) = value, text.utf8.count <= 2048 else { return nil }
        return Base64URL.decode(text)
    }
}
