// The routes of trusted keys, and of what becomes of artefacts without a trusted signature.
package import Core
internal import HTTP
internal import Platform
internal import PluginHost
package import Signing

extension TrustScope {
    /// - Parameter tenant: nil: the platform.
    init(_ tenant: String?) { self = tenant.map(TrustScope.tenant) ?? .platform }
}

extension Gateway {
    func listTrustedKeys(_ exchange: HTTPExchange, _ scope: TrustScope, requestID: String) {
        do throws(RuntimeError) {
            try Self.check(scope)
            answer(exchange, shared.trust.described(scope), requestID)
        } catch {
            answer(exchange, error, requestID: requestID)
        }
    }

    /// PUT: `{"public_key", "comment"?}`
    func trustKey(_ exchange: HTTPExchange, _ id: String, _ scope: TrustScope, requestID: String) {
        readObject(exchange, known: ["public_key", "comment"], requestID) { gateway, members in
            gateway.change(exchange, requestID) { shared throws(RuntimeError) in
                try Self.check(scope)
                try shared.trust.add(try Self.key(members, try Self.number(id)), to: scope)
                return shared.trust.described(scope)
            }
        }
    }

    func distrustKey(_ exchange: HTTPExchange, _ id: String, _ scope: TrustScope, requestID: String) {
        change(exchange, requestID) { shared throws(RuntimeError) in
            try Self.check(scope)
            return try shared.trust.remove(try Self.number(id), from: scope).described(scope)
        }
    }

    /// PUT: `{"unsigned": "allow", "warn", "refuse", or null for the platform's}`
    func setUnsigned(_ exchange: HTTPExchange, of tenant: String, requestID: String) {
        readObject(exchange, known: ["unsigned"], requestID) { gateway, members in
            gateway.change(exchange, requestID) { shared throws(RuntimeError) in
                try Self.check(.tenant(tenant))
                let policy: UnsignedPolicy?
                switch members["unsigned"] {
                case .null?: policy = nil
                case .string(let word)? where UnsignedPolicy(rawValue: word) != nil:
                    policy = UnsignedPolicy(rawValue: word)
                default:
                    throw RuntimeError(
                        .badRequest, step: "unsigned artefacts of \(tenant)",
                        cause: "'unsigned' is \(members["unsigned"]?.kind ?? "missing")",
                        next: "use \"allow\", \"warn\", \"refuse\", or null for the platform's")
                }
                try shared.trust.setUnsigned(policy, of: tenant)
                return shared.trust.described(.tenant(tenant))
            }
        }
    }

    private static func number(_ word: String) throws(RuntimeError) -> KeyID {
        if let id = KeyID(hex: word) { return id }
        throw RuntimeError(
            .badRequest, step: "trusted key", cause: "\(Names.quoted(word)) is no number of a key",
            next: "give the hex digits that minisign prints, at most 16")
    }

    private static func key(_ members: [String: JSONValue], _ id: KeyID) throws(RuntimeError) -> TrustedKey {
        let step = "trust the key \(id)"
        guard case .string(let text)? = members["public_key"] else {
            throw missing("public_key", step, "the second line of a minisign public key file")
        }
        var comment = ""
        if let value = members["comment"] {
            guard case .string(let text) = value else {
                throw RuntimeError(.badRequest, step: step, cause: "'comment' is \(value.kind)", next: "send a text")
            }
            comment = text
        }
        let key: TrustedKey
        do throws(SigningFault) {
            key = try TrustedKey(PublicKey(Array(text.utf8)), comment: comment, addedAt: WallClock.milliseconds)
        } catch {
            throw RuntimeError(
                .badRequest, step: step, cause: error.text,
                next: "send the second line of a minisign public key file as public_key")
        }
        guard key.key.id == id else {
            throw RuntimeError(
                .badRequest, step: step, cause: "the number of this key is \(key.key.id)",
                next: "send it to the path of its own number")
        }
        return key
    }

    private static func check(_ scope: TrustScope) throws(RuntimeError) {
        if case .tenant(let name) = scope { try Tenant.validate(name) }
    }
}

extension TrustStore: TenantData {
    package var name: String { "trusted_keys" }

    package func erase(_ tenant: String) throws(RuntimeError) -> Int {
        let count = keys(.tenant(tenant)).count
        if count > 0 || unsigned(of: tenant) != nil { try forget(tenant) }
        return count
    }

    /// A tenant's list has the platform's keys too: they sign for it.
    fileprivate func described(_ scope: TrustScope) -> JSONValue {
        var members: [String: JSONValue] = [:]
        var scopes: [TrustScope] = [.platform]
        if case .tenant(let name) = scope {
            scopes.insert(scope, at: 0)
            members["unsigned"] = unsigned(of: name).map { .string($0.rawValue) } ?? .null
            members["effective_unsigned"] = .string(trust(of: name).unsigned.rawValue)
        } else {
            members["unsigned"] = .string(platformUnsigned.rawValue)
        }
        members["keys"] = .array(scopes.flatMap { scope in keys(scope).map { $0.described(scope) } })
        return .object(members)
    }
}

extension TrustedKey {
    fileprivate func described(_ scope: TrustScope) -> JSONValue {
        .object([
            "key_id": .string("\(key.id)"), "public_key": .string(key.base64), "comment": .string(comment),
            "added_at_ms": .integer(addedAt), "scope": .string(scope == .platform ? "platform" : "tenant"),
        ])
    }
}

extension Admission {
    /// The deployment, with what whoever deployed it should know.
    var described: JSONValue {
        guard let warning, case .object(var members) = deployment.described else { return deployment.described }
        members["warnings"] = .array([.string(warning)])
        return .object(members)
    }
}
