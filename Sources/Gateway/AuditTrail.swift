// What the audit log is told: every act before it is answered, every access that was denied. AuditRoutes.swift reads it.
internal import Audit
internal import Core
internal import HTTP

extension Route {
    /// The stable word for an act: `key.create`, `tenant.delete`, `deploy`.
    var act: String {
        if self == .deployNamed { return Route.deploy.act }
        // verbNoun becomes noun.verb; a noun of two words has a dash.
        var words = [""]
        for character in rawValue {
            if character.isUppercase { words.append("") }
            words[words.count - 1] += character.lowercased()
        }
        return words.count == 1 ? words[0] : words[1...].joined(separator: "-") + "." + words[0]
    }
}

extension Gateway {
    /// An act that somebody who was let in asks for.
    func act(_ exchange: HTTPExchange) -> AuditEvent {
        let (request, caller) = (exchange.request, exchange.caller)
        let match = try? RouteMatch.admin(request.method, request.path).get()
        let path =
            request.path.hasPrefix("/admin/v1/") ? String(request.path.dropFirst("/admin/v1/".count)) : request.path
        return event(
            exchange, caller.principal, tenant: match?.tenant ?? caller.principal.tenant, act: caller.route.act,
            target: request.query.isEmpty ? path : "\(path)?\(request.query)", requestID: caller.requestID)
    }

    /// A caller who was not let in.
    func noteDenied(_ exchange: HTTPExchange, _ match: RouteMatch, _ error: RuntimeError, requestID: String) {
        let principal = (exchange.context as? Caller)?.principal ?? .anonymous
        // A stranger's try concerns whom it was aimed at; what a tenant tries elsewhere is told to nobody there.
        let tenant =
            principal.isAnonymous ? match.tenant ?? Self.owner(match.route, exchange.request.path) : principal.tenant
        let denied = event(
            exchange, principal, tenant: tenant, act: AuditAct.denied,
            target: "\(match.route.rawValue) \(exchange.request.path)", requestID: requestID)
        shared.audit.deny(denied.answered(error.httpStatus, tenant: nil, detail: error.cause))
    }

    /// The tenant whose function a path names.
    private static func owner(_ route: Route, _ path: String) -> String? {
        guard route == .function, let name = path.split(separator: "/").dropFirst().first, Names.isValid(String(name))
        else {
            return nil
        }
        return String(name)
    }

    private func event(
        _ exchange: HTTPExchange, _ principal: Principal, tenant: String?, act: String, target: String,
        requestID: String
    ) -> AuditEvent {
        AuditEvent(
            actor: principal.id, actorTenant: principal.tenant ?? "", role: principal.role?.rawValue ?? "",
            tenant: tenant ?? "", peer: "\(exchange.request.peer)", requestID: requestID, act: act, target: target)
    }
}

extension AuditEvent {
    /// What an answer may leave in the log: never the text of a key, nor what somebody wrote into a body.
    private static let told = ["name", "version", "digest", "id", "role", "state", "alias"]

    func answered(_ result: Result<JSONValue, RuntimeError>, status: Int) -> AuditEvent {
        switch result {
        case .failure(let error):
            return answered(error.httpStatus, tenant: nil, detail: "\(error.code.name): \(error.step)")
        case .success(let value):
            guard case .object(let members) = value else { return answered(status, tenant: nil, detail: "") }
            var words: [String] = []
            for name in Self.told {
                if case .string(let text)? = members[name] { words.append("\(name)=\(text)") }
            }
            // A tenant that is made is named in the body only.
            var tenant: String?
            if [Route.createTenant.act, Route.importTenant.act].contains(act), case .string(let name)? = members["name"]
            {
                tenant = name
            }
            return answered(status, tenant: tenant, detail: words.joined(separator: " "))
        }
    }
}

extension Result where Success == AuditPoint, Failure == RuntimeError {
    /// What the caller is told: what came of the act, once that is written down.
    func audited<Value>(_ result: Result<Value, RuntimeError>) -> Result<Value, RuntimeError> {
        guard case .failure(let error) = self, case .success = result else { return result }
        return .failure(
            RuntimeError(
                error.code, step: error.step, cause: "\(error.cause); what was asked for is done and is not in the log",
                next: error.next))
    }
}
