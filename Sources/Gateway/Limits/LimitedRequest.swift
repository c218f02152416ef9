// Lets a request in under the limits, or says which one refuses it; and what is counted of it until it is over.
internal import Core
internal import HTTP
internal import Limits
internal import Platform
internal import Registry

extension Gateway {
    /// Nil: it is in, and will be counted out whatever becomes of it.
    ///
    /// - Parameter function: what is called; nil on all other routes.
    func enter(
        _ exchange: HTTPExchange, _ current: RegistrySnapshot, tenant: String, function: Deployment? = nil
    ) -> RuntimeError? {
        let caller = exchange.caller
        let path = limitPaths.path(current, caller.principal, tenant: tenant, function: function)
        guard let path else { return nil }
        let refusal = path.enter(LimitClock(monotonic: loop.now), &caller.standings)
        tell(caller, exchange)
        if let refusal {
            shared.limits.count(refusal.hit)
            return Self.refused(refusal.hit, refusal.limits, caller, tenant: tenant, function)
        }
        caller.limits = path
        // A call of a function is over when its worker is done with it.
        if function == nil { exchange.onEnd = { caller.leave() } }
        if path.boundsEgress { exchange.onSent = { path.send(UInt64($0), now: WallClock.milliseconds) } }
        guard let body = path.body, let length = exchange.request.contentLength, length > body.most else { return nil }
        let hit = LimitHit(body.level, .body)
        shared.limits.count(hit)
        caller.leave()
        return Self.tooLarge(hit, body.most)
    }

    /// Whose limits hold for a request of a model or of the admin routes; nil: nobody's.
    func limitedTenant(_ exchange: HTTPExchange, _ route: Route, _ principal: Principal) -> String? {
        switch route.access {
        case .permission(.infer):
            guard principal.tenant == nil else { return principal.tenant }
            // A name that can't be is refused where it is read.
            let named = exchange.request.headers.first("x-swiftlet-tenant")
            return named.flatMap { Names.isValid($0) ? $0 : nil } ?? Tenant.publicName
        default: return nil
        }
    }

    private func tell(_ caller: Caller, _ exchange: HTTPExchange) {
        // How busy a tenant is, is nothing for those whom nobody knows.
        guard !caller.standings.isEmpty, !caller.principal.isAnonymous else { return }
        let dialect = caller.route.isOpenAI ? Dialect(exchange) : nil
        exchange.adorn = { RateFields.append(caller.standings, dialect, to: &$0) }
    }

    // MARK: what a refusal says

    private static func refused(
        _ hit: LimitHit, _ limits: LimitSet, _ caller: Caller, tenant: String, _ function: Deployment?
    ) -> RuntimeError {
        let who =
            switch hit.level {
            case .platform: "the platform"
            case .tenant: "the tenant \(tenant)"
            case .key: "the \(caller.principal.id.replacing(":", with: " "))"
            case .function: "the function \(function.map { "\($0.key)" } ?? "")"
            }
        let what: String? =
            switch hit.kind {
            case .requestsPerSecond:
                limits.rate.map { "\(number($0.perSecond)) requests a second, \($0.burst) at once, are all that" }
            case .concurrency: limits.concurrency.map { "\($0) requests are served already, which is all that" }
            case .cpuPerMinute:
                limits.cpuPerMinute.map {
                    "\(number(Double($0) / 1e9)) CPU-seconds a minute are used up, which is all that"
                }
            case .cpuPerDay:
                limits.cpuPerDay.map { "\(number(Double($0) / 1e9)) CPU-seconds a day are used up, which is all that" }
            case .egressPerMinute:
                limits.egressPerMinute.map { "\(mebibytes($0)) MiB of answers a minute are sent, which is all that" }
            case .egressPerDay:
                limits.egressPerDay.map { "\(mebibytes($0)) MiB of answers a day are sent, which is all that" }
            case .queue, .body, .memory, .storage: nil
            }
        return RuntimeError(
            .rateLimited, step: "limit \(hit.kind.rawValue)", cause: "\(what ?? "it is all that") \(who) may have",
            next: "send again after \(hit.retryAfterMilliseconds ?? 1000) ms, or ask \(owner(hit.level)) for more",
            limit: hit)
    }

    /// Who can raise it.
    static func owner(_ level: LimitLevel) -> String {
        switch level {
        case .platform, .tenant: "the platform team"
        case .key: "the tenant's admin"
        case .function: "the function's developer"
        }
    }

    static func tooLarge(_ hit: LimitHit, _ most: UInt64) -> RuntimeError {
        RuntimeError(
            .payloadTooLarge, step: "read the body",
            cause:
                "it is larger than the \(most) bytes that the limit \(hit.kind.rawValue) of the \(hit.level.rawValue) allows",
            next: "send less, or ask \(owner(hit.level)) for more", limit: hit)
    }

    static func queueIsFull(_ hit: LimitHit, _ key: FunctionKey) -> RuntimeError {
        RuntimeError(
            .queueFull, step: "queue \(key)",
            cause: "as many calls wait as the limit queue of the \(hit.level.rawValue) allows",
            next: "try again later, or ask \(owner(hit.level)) for more", limit: hit)
    }

    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
    }

    static func mebibytes(_ bytes: UInt64) -> String { number((Double(bytes) / 1_048_576 * 1000).rounded() / 1000) }
}

extension Route {
    /// Routes that OpenAI's and Anthropic's clients read, with fields of their own.
    var isOpenAI: Bool {
        switch self {
        case .chatCompletions, .completions, .embeddings, .rerank, .tokenize, .detokenize, .messages, .countTokens,
            .otherMessages, .responses, .otherResponses, .models:
            true
        default: false
        }
    }
}
