// How a claim becomes a word of ours: where it stands, what its values mean, and what holds when it says nothing.
internal import Core

package struct ClaimRule: Equatable, Sendable {
    private static let mostValues = 256

    /// Names of members, outermost first; empty: no claim is looked at.
    let path: [String]
    /// What each value means; nil: itself.
    let map: [String: String]?
    /// What holds where the claim says nothing that is known.
    let fallback: String?

    /// What the claims say, in the order of the token.
    func values(in claims: [String: JSONValue]) throws(JWTRefusal) -> [String] {
        let said = try raw(claims).compactMap(meaning)
        if said.isEmpty, let fallback { return [fallback] }
        return said
    }

    private func meaning(of value: String) -> String? {
        guard let map else { return value }
        return map.first { $0.key.isExactly(value) }?.value
    }

    private func raw(_ claims: [String: JSONValue]) throws(JWTRefusal) -> [String] {
        guard let last = path.last else { return [] }
        var found = JSONValue.object(claims)
        for name in path {
            guard case .object(let members) = found, let next = members[name] else { return [] }
            found = next
        }
        switch found {
        case .null: return []
        // Scopes are words with a space between (RFC 8693).
        case .string(let text) where last == "scope" || last == "scp":
            return text.split(separator: " ").prefix(Self.mostValues).map(String.init)
        case .string(let text): return [text]
        case .array(let items) where items.count <= Self.mostValues:
            return items.compactMap { if case .string(let text) = $0 { text } else { nil } }
        default:
            throw JWTRefusal(
                .claim, "a claim that this host maps is neither a string nor a list of at most 256 strings")
        }
    }
}
