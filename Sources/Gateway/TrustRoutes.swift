// The admin routes of trusted keys and of the policy for unsigned artefacts, and what is told of a deployment's signature.
internal import Core
internal import FoundationEssentials
internal import HTTP
internal import Platform
internal import Signing

extension Gateway {
    private static let bodyLimit = 16 << 10

    private struct KeyBody: Decodable {
        let public_key: String
        let comment: String?
    }

    private struct PolicyBody: Decodable {
        let unsigned: String?
    }

    /// GET, and PUT and DELETE of one key: /admin/v1/trusted-keys[/{keyid}], /admin/v1/tenants/{tenant}/trusted-keys[/{keyid}]
    ///
    /// - Parameter words: what follows `trusted-keys`.
    func trustedKeys(_ exchange: HTTPExchange, _ scope: TrustScope, _ words: ArraySlice<String>, requestID: String) {
        let method = exchange.request.method
        do throws(RuntimeError) {
            try Self.check(scope)
            guard let word = words.first else {
                guard method == "GET" else { throw Self.noMethod(method, "GET, or PUT and DELETE of one key") }
                return json(exchange, Self.describe(scope, shared.trust), requestID)
            }
            guard let id = KeyID(hex: word) else {
                throw RuntimeError(
                    .badRequest, step: "trusted key", cause: "\(Names.quoted(word)) is no number of a key",
                    next: "give the 16 hex digits that minisign prints")
            }
            switch method {
            case "PUT":
                read(exchange, requestID) { (body: KeyBody, trust) throws(RuntimeError) in
                    try trust.add(Self.key(body, id), to: scope)
                    return Self.describe(scope, trust)
                }
            case "DELETE":
                change(exchange, requestID) { trust throws(RuntimeError) in
                    jsonObject(Self.describe(try trust.remove(id, from: scope), scope))
                }
            default: throw Self.noMethod(method, "PUT or DELETE")
            }
        } catch {
            answer(exchange, error, requestID: requestID)
        }
    }

    /// PUT /admin/v1/tenants/{tenant}/unsigned with {"unsigned": "allow" | "warn" | "refuse" | null}
    func unsignedPolicy(_ exchange: HTTPExchange, of tenant: String, requestID: String) {
        do throws(RuntimeError) {
            try Self.check(.tenant(tenant))
            guard exchange.request.method == "PUT" else { throw Self.noMethod(exchange.request.method, "PUT") }
            read(exchange, requestID) { (body: PolicyBody, trust) throws(RuntimeError) in
                let policy = body.unsigned.flatMap(UnsignedPolicy.init)
                guard policy != nil || body.unsigned == nil else {
                    throw RuntimeError(
                        .badRequest, step: "unsigned artefacts of \(tenant)",
                        cause: "\(Names.quoted(body.unsigned ?? "")) is no policy", next: "use allow, warn, refuse, or null")
                }
                try trust.setUnsigned(policy, of: tenant)
                return Self.describe(.tenant(tenant), trust)
            }
        } catch {
            answer(exchange, error, requestID: requestID)
        }
    }

    /// What is told of a deployment's signature, wherever it is described.
    static func signatureFields(_ deployment: Deployment, warning: String?) -> [(String, JSONField)] {
        var fields: [(String, JSONField)] = [("signed_by", deployment.signer.map { .text($0) } ?? .literal("null"))]
        if let warning {
            var text: [UInt8] = []
            appendJSON(warning, to: &text)
            fields.append(("warnings", .literal("[" + String(decoding: text, as: UTF8.self) + "]")))
        }
        return fields
    }

    // MARK: the work

    private func read<Body: Decodable>(
        _ exchange: HTTPExchange, _ requestID: String,
        _ change: @escaping @Sendable (Body, TrustStore) throws(RuntimeError) -> String
    ) where Body: Sendable {
        exchange.collectBody(limit: Self.bodyLimit) { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(.interrupted): return
            case .failure(.tooLarge(let limit)):
                answer(
                    exchange,
                    RuntimeError(
                        .payloadTooLarge, step: "read the body", cause: "it is larger than \(limit) bytes",
                        next: "send one key"), requestID: requestID)
            case .success(let bytes):
                guard let body = try? JSONDecoder().decode(Body.self, from: Data(bytes)) else {
                    return answer(
                        exchange,
                        RuntimeError(
                            .badRequest, step: "read the body", cause: "it is not the JSON that this route takes",
                            next: "see docs/artefacts.md"), requestID: requestID)
                }
                self.change(exchange, requestID) { trust throws(RuntimeError) in try change(body, trust) }
            }
        }
    }

    /// Off the loop, because the disk is waited for.
    private func change(
        _ exchange: HTTPExchange, _ requestID: String,
        _ body: @escaping @Sendable (TrustStore) throws(RuntimeError) -> String
    ) {
        let own = LoopBound((self, exchange), on: loop)
        let remote = loop.remote
        shared.background.run { [shared] in
            let result = Result { () throws(RuntimeError) in try body(shared.trust) }
            remote.submit { _ in
                let (gateway, exchange) = own.value
                switch result {
                case .success(let text): gateway.json(exchange, text, requestID)
                case .failure(let error): gateway.answer(exchange, error, requestID: requestID)
                }
            }
        }
    }

    private static func key(_ body: KeyBody, _ id: KeyID) throws(RuntimeError) -> TrustedKey {
        let key: TrustedKey
        do throws(SigningFault) {
            key = try TrustedKey(
                PublicKey(Array(body.public_key.utf8)), comment: body.comment ?? "",
                addedAt: Int64(Date().timeIntervalSince1970 * 1000))
        } catch {
            throw RuntimeError(
                .badRequest, step: "trust the key \(id)", cause: error.text,
                next: "send the second line of a minisign public key file as public_key")
        }
        guard key.key.id == id else {
            throw RuntimeError(
                .badRequest, step: "trust the key \(id)", cause: "its number is \(key.key.id)",
                next: "send it to the path of its own number")
        }
        return key
    }

    private static func check(_ scope: TrustScope) throws(RuntimeError) {
        guard case .tenant(let name) = scope else { return }
        try Names.validate(name, as: "tenant")
        guard name != Deployment.platform else {
            throw RuntimeError(
                .badRequest, step: "trusted keys of \(name)", cause: "the platform's keys count for every tenant",
                next: "use /admin/v1/trusted-keys, and `serve --unsigned` for the policy")
        }
    }

    private static func noMethod(_ method: String, _ allowed: String) -> RuntimeError {
        RuntimeError(
            .methodNotAllowed, step: "trusted keys", cause: "\(Names.quoted(method)) means nothing here",
            next: "use \(allowed)")
    }

    // MARK: words

    /// A tenant's list has the platform's keys too: they sign for it.
    private static func describe(_ scope: TrustScope, _ trust: TrustStore) -> String {
        var scopes: [TrustScope] = [.platform]
        var fields: [(String, JSONField)] = []
        if case .tenant(let name) = scope {
            scopes.insert(scope, at: 0)
            fields.append(("unsigned", trust.unsigned(of: name).map { .text($0.rawValue) } ?? .literal("null")))
            fields.append(("effective_unsigned", .text(trust.trust(of: name).unsigned.rawValue)))
        } else {
            fields.append(("unsigned", .text(trust.platformUnsigned.rawValue)))
        }
        let keys = scopes.flatMap { scope in trust.keys(scope).map { jsonObject(describe($0, scope)) } }
        return jsonObject(fields + [("keys", .literal("[" + keys.joined(separator: ",") + "]"))])
    }

    private static func describe(_ key: TrustedKey, _ scope: TrustScope) -> [(String, JSONField)] {
        [
            ("key_id", .text("\(key.key.id)")), ("public_key", .text(key.key.base64)), ("comment", .text(key.comment)),
            ("added_at_ms", .number(key.addedAt)), ("scope", .text(scope == .platform ? "platform" : "tenant")),
        ]
    }
}
