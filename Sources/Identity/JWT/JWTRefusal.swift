// Why a token was not accepted: which check failed, in words that never hold anything of the token.
internal import Core

struct JWTRefusal: Error, Equatable, Sendable {
    enum Check: Sendable {
        case malformed
        case tooLong
        case header
        case algorithm
        case issuer
        case key
        case signature
        case audience
        case expired
        case notYet
        case lifetime
        case claim
        /// A good token that this host gives nothing to.
        case mapping
        /// The issuer's keys are not at hand, which is not the token's fault.
        case keysUnavailable
    }

    let check: Check
    let words: String
    /// Seconds after which another try may go better.
    let retryAfter: Int?

    init(_ check: Check, _ words: String, retryAfter: Int? = nil) {
        self.check = check
        self.words = words
        self.retryAfter = retryAfter
    }

    /// What the door answers.
    var fault: AuthenticationFault {
        switch check {
        case .keysUnavailable:
            AuthenticationFault(.unavailable, words, retryAfterMilliseconds: UInt64(retryAfter ?? 1) * 1000)
        // It may be for a function, which checks it itself.
        case .malformed, .tooLong, .header, .algorithm, .issuer, .audience:
            AuthenticationFault(.invalid, words, isOurs: false)
        default: AuthenticationFault(.invalid, words)
        }
    }
}
