// Who sent a request, and whether it may have what it asks for: what every handler of a route finds at its exchange.
internal import Core
internal import HTTP

final class Caller {
    let route: Route
    let requestID: String
    let principal: Principal
    /// Where it is counted, while it is.
    var limits: LimitPath?
    /// With the request rates, when it came in.
    var standings = RateStandings()
    private var isQueued = false

    init(route: Route, requestID: String, principal: Principal) {
        self.route = route
        self.requestID = requestID
        self.principal = principal
    }

    // Whatever was not told to end is counted out here: nothing holds a caller that is no longer served.
    deinit { leave() }

    /// It is over, as far as limits count; once more does no harm.
    ///
    /// - Parameters:
    ///   - bytes: of its answer, which are sent now.
    ///   - now: milliseconds since 1970.
    func leave(sending bytes: UInt64 = 0, now: Int64 = 0) {
        guard let path = limits.take() else { return }
        if isQueued { path.leaveQueue() }
        isQueued = false
        path.leave(sending: bytes, now: now)
    }

    /// The tighter of a route's own bound and of the limits'.
    func bodyLimit(_ own: Int) -> Int { min(own, limits?.body.map { Int(clamping: $0.most) } ?? .max) }

    /// A place in the queues, if they are bounded. Returns who has none left.
    func enterQueue() -> LimitHit? {
        guard let limits, !isQueued else { return nil }
        let hit = limits.enterQueue()
        isQueued = hit == nil
        return hit
    }

    func leaveQueue() {
        guard isQueued else { return }
        isQueued = false
        limits?.leaveQueue()
    }
}

extension HTTPExchange {
    /// Set before a handler sees the exchange.
    var caller: Caller {
        guard let caller = context as? Caller else { preconditionFailure("an exchange that nobody let in") }
        return caller
    }
}

/// Decides about access, from values alone.
enum Authorization {
    /// Nil when `principal` may use the route in `tenant`.
    ///
    /// - Parameters:
    ///   - tenant: whose things the path names; nil: the host's, or the caller's own.
    ///   - next: what an unknown caller can do.
    static func refusal(_ route: Route, _ principal: Principal, tenant: String?) -> RuntimeError? {
        switch route.access {
        case .everybody, .function: nil
        case .known: principal.isAnonymous ? unknown(route) : nil
        case .permission(let wanted):
            allows(wanted, principal, tenant)
                ? nil : principal.isAnonymous ? unknown(route) : forbidden(route, principal, tenant)
        }
    }

    /// The same for a function.
    ///
    /// - Parameter access: what its manifest says; nil when there is none, which others are not told.
    static func refusal(_ key: FunctionKey, _ access: Manifest.Access?, _ principal: Principal) -> RuntimeError? {
        if access == .everybody { return nil }
        guard principal.may(.invoke, in: key.tenant), principal.mayTouch(function: key.name) else {
            return principal.isAnonymous ? unknown(.function) : forbidden(.function, principal, key.tenant)
        }
        guard access == .token, !principal.id.hasPrefix("jwt:"), principal !== Principal.local else { return nil }
        return RuntimeError(
            .forbidden, step: Route.function.rawValue,
            cause: "\(key) is for callers with a token of an identity provider",
            next: "send a JWT, or set `access` to \"key\" in its manifest")
    }

    private static func allows(_ wanted: Permission, _ principal: Principal, _ tenant: String?) -> Bool {
        let needed = tenant == Deployment.platform ? Route.platformPermission(wanted) : wanted
        return principal.may(needed, in: tenant)
    }

    static func unknown(_ route: Route) -> RuntimeError {
        RuntimeError(
            .unauthorized, step: route.rawValue, cause: "the request names no caller",
            next: "send a key as `Authorization: Bearer swl_…`; a tenant's admin makes one with `swiftlet key create`")
    }

    /// The same words whether the other tenant exists or not.
    static func forbidden(_ route: Route, _ principal: Principal, _ tenant: String?) -> RuntimeError {
        let place = tenant.map { " in \(Names.quoted($0))" } ?? ""
        return RuntimeError(
            .forbidden, step: route.rawValue,
            cause: "\(principal.id) (\(principal.role?.rawValue ?? "nobody")) may not do this\(place)",
            next: "use a key whose role and scopes allow it; `swiftlet whoami` shows what yours may do")
    }
}
