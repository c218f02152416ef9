// Why a credential was not accepted; the gateway turns it into 401, 429 or 503 in each client's own shape.

package struct AuthenticationFault: Error, Equatable, Sendable {
    package enum Kind: Equatable, Sendable {
        /// It is wrong, and sending it again doesn't mend that.
        case invalid
        /// It can't be checked at the moment.
        case unavailable
        /// Too many wrong ones came from the same address.
        case tooMany
    }

    package let kind: Kind
    /// What a caller may know, without a word of the credential.
    package let cause: String
    /// False: it is of another's making, and no fault where no credential is asked for.
    package let isOurs: Bool
    package let retryAfterMilliseconds: UInt64?

    package init(_ kind: Kind, _ cause: String, isOurs: Bool = true, retryAfterMilliseconds: UInt64? = nil) {
        self.kind = kind
        self.cause = cause
        self.isOurs = isOurs
        self.retryAfterMilliseconds = retryAfterMilliseconds
    }
}

/// Knows the principals behind tokens of other makers. Never blocks.
package protocol TokenAuthority: Sendable {
    /// - Parameter now: milliseconds since 1970.
    func authenticate(_ token: String, now: Int64) -> Result<Principal, AuthenticationFault>
}
