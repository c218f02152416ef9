// One public key of an issuer; the only Swift file that knows CJOSE.
internal import CJOSE
internal import Platform

/// A key that fits one algorithm only, so that no token chooses how it is used.
// SAFETY: the pointer is set once and freed with this object; OpenSSL reads a key from any number of threads at once.
@safe final class VerificationKey: @unchecked Sendable {
    let algorithm: JWTAlgorithm
    private let key: OpaquePointer

    private init?(_ algorithm: JWTAlgorithm, _ key: OpaquePointer?) {
        guard let key = unsafe key else { return nil }
        self.algorithm = algorithm
        unsafe self.key = key
    }

    deinit { unsafe cjose_free(key) }

    static func rsa(modulus: [UInt8], exponent: [UInt8]) -> VerificationKey? {
        unsafe VerificationKey(.rs256, cjose_rsa(modulus, modulus.count, exponent, exponent.count))
    }

    static func p256(x: [UInt8], y: [UInt8]) -> VerificationKey? {
        guard x.count == CJOSE_COORDINATE, y.count == x.count else { return nil }
        return unsafe VerificationKey(.es256, cjose_p256(x, y))
    }

    static func ed25519(x: [UInt8]) -> VerificationKey? {
        guard x.count == CJOSE_COORDINATE else { return nil }
        return unsafe VerificationKey(.edDSA, cjose_ed25519(x))
    }

    var bits: Int { unsafe Int(cjose_bits(key)) }

    func signed(_ data: ArraySlice<UInt8>, signature: [UInt8]) -> Bool {
        unsafe data.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return false }
            return unsafe cjose_verify(key, start, bytes.count, signature, signature.count) == 1
        }
    }
}

/// SHA-256 of a token: what is kept in its place.
struct TokenDigest: Hashable, Sendable {
    private let words: (UInt64, UInt64, UInt64, UInt64)

    init?(_ bytes: [UInt8]) {
        guard let words = unsafe Digest.words(of: bytes.span.bytes) else { return nil }
        self.words = words
    }

    static func == (a: Self, b: Self) -> Bool { a.words == b.words }

    func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.1)
    }
}
