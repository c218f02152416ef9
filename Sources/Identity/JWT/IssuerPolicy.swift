// What one issuer's tokens must be, and what they are worth here; JWTConfig.swift reads it from `serve --jwt FILE`.
package import Core

package struct IssuerPolicy: Equatable, Sendable {
    /// The exact text of `iss`.
    package let issuer: String
    /// One of them must be in `aud`.
    let audiences: [String]
    let algorithms: Set<JWTAlgorithm>
    let source: KeySource
    /// For how long old keys are used when new ones can't be had, in milliseconds.
    let keepsKeys: UInt64
    /// How far the clocks of issuer and host may be apart, in milliseconds.
    let skew: Int64
    /// The longest time from `iat` to `exp`, in milliseconds.
    let longestLife: Int64?
    /// Nil: its tokens have platform roles only.
    let tenant: ClaimRule?
    let role: ClaimRule
    /// Narrow the role to functions and models of these names; nil does not.
    let functions: PatternRule?
    let models: PatternRule?
    /// Whether its tokens may have platform roles.
    let isPlatform: Bool
}

/// Patterns that all tokens of the issuer have, or that a claim lists.
package enum PatternRule: Equatable, Sendable {
    case fixed([NamePattern])
    case claim(ClaimRule)
}

/// Where keys come from.
package enum KeySource: Hashable, Sendable {
    case file(String)
    /// `authorities`: a PEM file of certificates to trust instead of the system's.
    case url(String, authorities: String?)
}
