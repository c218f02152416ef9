// The signatures that are accepted. `none` and the HMACs are not among them, so no setting can allow them.

package enum JWTAlgorithm: String, Sendable, CaseIterable {
    case rs256 = "RS256"
    case es256 = "ES256"
    case edDSA = "EdDSA"
}
