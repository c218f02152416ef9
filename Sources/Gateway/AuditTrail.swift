// What the audit log is told: every act before it is answered, every access that was denied. AuditRoutes.swift reads it.
package import Audit
internal import Core
internal import HTTP
internal import Platform

extension Route {
    /// The stable word for an act: `key.create`, `tenant.delete`, `deploy`.
    var act: String {
        switch self {
        case .deploy, .deployNamed: return "deploy"
        default: break
        }
        // verbNoun becomes noun.verb; a noun of two words has a dash.
        var words: [String] = [""]
        for character in rawValue {
            if character.isUppercase { words.append("") }
            words[words.count - 1] += character.lowercased()
        }
        return words.count == 1 ? words[0] : words[1...].joined(separator: "-") + "." + words[0]
    }
}

extension Gateway {
    /// Sees to it that an act is written down before it is answered. Answers itself, and returns false, when that can't be.
    func beginAct(_ exchange: HTTPExchange, _ match: RouteMatch, requestID: String) -> Bool {
        if let refusal = shared.audit.refusal {
            answer(exchange, refusal, requestID: requestID)
            return false
        }
        let caller = exchange.caller
        let remote = loop.remote
        exchange.beforeAnswer = { [self] status, send in
            let event = event(exchange, match, caller.principal, act: match.route.act, status, caller.auditDetail)
            let own = LoopBound((self, exchange, send), on: loop)
            shared.audit.record(event) { result in
                remote.submit { _ in
                    let (gateway, exchange, send) = own.value
                    if case .failure(let error) = result {
                        gateway.unwritten(exchange, error, requestID)
                    } else {
                        send()
                    }
                }
            }
        }
        return true
    }

    /// The act may be done: its entry isn't, and the caller is told so.
    private func unwritten(_ exchange: HTTPExchange, _ error: RuntimeError, _ requestID: String) {
        answer(
            exchange,
            RuntimeError(
                error.code, step: error.step,
                cause: "\(error.cause); what you asked for may be done, and is not in the log",
                next: error.next), requestID: requestID)
    }

    /// A caller who was not let in.
    func noteDenied(_ exchange: HTTPExchange, _ match: RouteMatch, _ error: RuntimeError) {
        let principal = (exchange.context as? Caller)?.principal ?? .anonymous
        shared.audit.deny(
            event(exchange, match, principal, act: AuditAct.denied, error.httpStatus, error.cause))
    }

    private func event(
        _ exchange: HTTPExchange, _ match: RouteMatch, _ principal: Principal, act: String, _ status: Int,
        _ detail: String
    ) -> AuditEvent {
        let request = exchange.request
        let isDenied = act == AuditAct.denied
        let path =
            isDenied
            ? request.path : request.path.hasPrefix("/admin/v1/") ? String(request.path.dropFirst(10)) : request.path
        // A stranger's doings concern whom they were aimed at; a tenant's own are not told to another.
        let tenant = isDenied ? principal.tenant ?? match.tenant : match.tenant ?? principal.tenant
        return AuditEvent(
            actor: principal.isAnonymous ? "-" : principal.id, actorTenant: principal.tenant ?? "",
            role: principal.role?.rawValue ?? "", tenant: tenant ?? "", peer: "\(request.peer)",
            requestID: (exchange.context as? Caller)?.requestID ?? "", act: act,
            target: isDenied ? "\(match.route.rawValue) \(path)" : path, status: UInt16(clamping: status),
            detail: detail)
    }
}
