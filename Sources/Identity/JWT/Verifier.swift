// The checks of a token in their order, as a pure function of the token, its issuer's policy and the time.
internal import Core

/// A token whose signature is good, with what its registered claims say.
struct VerifiedClaims: Equatable {
    let subject: String
    /// Unix milliseconds, the skew of the clocks included.
    let expires: Int64
}

enum Verifier {
    /// The year 9999 in seconds: no date is later.
    private static let lastDate = 253_402_300_799.0

    /// Who claims to have made it. Not believed yet: it only chooses whose keys are asked.
    static func issuer(of token: SignedToken) throws(JWTRefusal) -> String {
        guard case .string(let issuer) = token.claims["iss"] else {
            throw JWTRefusal(.issuer, "the token names no issuer (iss)")
        }
        return issuer
    }

    static func checkSignature(_ token: SignedToken, _ key: VerificationKey) throws(JWTRefusal) {
        guard key.algorithm == token.algorithm, key.signed(token.signed, signature: token.signature) else {
            throw JWTRefusal(.signature, "the signature of the token is not the issuer's")
        }
    }

    /// - Parameter now: unix milliseconds.
    static func checkClaims(_ token: SignedToken, _ policy: IssuerPolicy, now: Int64) throws(JWTRefusal)
        -> VerifiedClaims
    {
        let claims = token.claims
        guard
            audiences(claims["aud"]).contains(where: { audience in policy.audiences.contains { $0.isExactly(audience) }
            })
        else { throw JWTRefusal(.audience, "the token is not meant for this host (aud)") }
        guard let expiry = try date(claims, "exp") else {
            throw JWTRefusal(.expired, "the token does not say when it ends (exp)")
        }
        let expires = expiry + policy.skew
        guard now < expires else { throw JWTRefusal(.expired, "the token has ended (exp)") }
        if let start = try date(claims, "nbf"), now + policy.skew < start {
            throw JWTRefusal(.notYet, "the token does not hold yet (nbf)")
        }
        let made = try date(claims, "iat")
        if let made, now + policy.skew < made {
            throw JWTRefusal(.notYet, "the token was made in the future (iat)")
        }
        if let longest = policy.longestLife, expiry - (made ?? now) > longest {
            throw JWTRefusal(.lifetime, "the token lives longer than this host allows (exp, iat)")
        }
        guard case .string(let subject) = claims["sub"], !subject.isEmpty, subject.utf8.count <= 255,
            subject.isPrintable
        else { throw JWTRefusal(.claim, "the token's subject (sub) is not 1 to 255 bytes of printable text") }
        return VerifiedClaims(subject: subject, expires: expires)
    }

    private static func audiences(_ value: JSONValue?) -> [String] {
        switch value {
        case .string(let audience): [audience]
        case .array(let items): items.compactMap { if case .string(let audience) = $0 { audience } else { nil } }
        default: []
        }
    }

    /// A date in milliseconds; it may have a fraction (RFC 7519, section 2).
    private static func date(_ claims: [String: JSONValue], _ name: String) throws(JWTRefusal) -> Int64? {
        let seconds: Double
        switch claims[name] {
        case nil: return nil
        case .integer(let value): seconds = Double(value)
        case .number(let value): seconds = value
        default: throw JWTRefusal(.claim, "\(name) is not a number")
        }
        guard (0...lastDate).contains(seconds) else {
            throw JWTRefusal(.claim, "\(name) is not a date from 1970 to 9999")
        }
        return Int64(seconds * 1000)
    }
}
