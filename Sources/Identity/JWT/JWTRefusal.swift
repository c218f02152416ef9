// Why a token was not accepted: which check failed, in words that never hold anything of the token.

package struct JWTRefusal: Error, Equatable, Sendable {
    /// The raw value is stable: it stands in logs, metrics and the audit trail.
    package enum Check: String, Sendable, CaseIterable {
        case malformed
        case tooLong = "too_long"
        case header
        case algorithm
        case issuer
        case key
        case signature
        case audience
        case expired
        case notYet = "not_yet"
        case lifetime
        case claim
        /// A good token that this host gives nothing to.
        case mapping
        /// The issuer's keys are not at hand, which is not the token's fault.
        case keysUnavailable = "keys_unavailable"
    }

    package let check: Check
    package let words: String
    /// Seconds after which another try may go better.
    package let retryAfter: Int?

    init(_ check: Check, _ words: String, retryAfter: Int? = nil) {
        self.check = check
        self.words = words
        self.retryAfter = retryAfter
    }

    package var httpStatus: Int {
        switch check {
        case .mapping: 403
        case .keysUnavailable: 503
        default: 401
        }
    }

    /// What `www-authenticate` says (RFC 6750); nil where no other token would help.
    package var challenge: String? {
        guard check != .keysUnavailable else { return nil }
        let error = check == .mapping ? "insufficient_scope" : "invalid_token"
        return "Bearer error=\"\(error)\", error_description=\"\(words)\""
    }

    /// What the reader can do next.
    package var next: String {
        switch check {
        case .keysUnavailable: "send it again after \(retryAfter ?? 1) s"
        case .mapping: "ask the platform to map the claims of this issuer to a tenant and a role (serve --jwt)"
        case .expired, .notYet, .lifetime: "get a new token from the issuer; compare the clocks of both machines"
        default: "get a token from an issuer that this host trusts, for its audience (serve --jwt)"
        }
    }
}
