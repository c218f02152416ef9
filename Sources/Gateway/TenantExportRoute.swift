// GET /admin/v1/tenants/{tenant}/export: everything of a tenant as one archive, made while it is sent.
internal import Core
internal import HTTP
internal import Platform
internal import PluginHost
internal import Registry
internal import Signing
internal import Synchronization
internal import Transfer
internal import Vault

extension Gateway {
    func exportTenant(_ exchange: HTTPExchange, _ match: RouteMatch, requestID: String) {
        let principal = exchange.caller.principal
        let name = match.tenant ?? ""
        // All of a tenant is more than what a key for some of its functions or models may see.
        guard principal.functions == nil, principal.models == nil else {
            return refuse(
                exchange, match, Authorization.forbidden(match.route, principal, name), requestID: requestID)
        }
        perform(
            exchange, requestID, status: 200,
            { shared throws(RuntimeError) in
                let slot = try shared.exports.enter(name)
                return (plan: try shared.exportPlan(of: name), slot: slot)
            }, told: { _ in .object(["name": .string(name)]) }
        ) { gateway, exchange, made in
            ExportStream(exchange, made.plan, made.slot, gateway.shared).start(
                gateway.exportHeaders(exchange, name, requestID))
        }
    }

    private func exportHeaders(_ exchange: HTTPExchange, _ name: String, _ requestID: String) -> HTTPHeaders {
        var headers = standardHeaders(exchange, "application/x-tar", requestID)
        headers.append("content-disposition", "attachment; filename=\"\(name)-export.tar\"")
        return headers
    }
}

extension GatewayShared {
    /// What there is of a tenant at one moment, and how it is packed.
    fileprivate func exportPlan(of name: String) throws(RuntimeError) -> ExportPlan {
        let snapshot = registry.snapshot
        guard let tenant = snapshot.tenants[name] else { throw Registry.noTenant(name) }
        guard tenant.state == .active || tenant.state == .suspended else {
            throw RuntimeError(
                .conflict, step: "export the tenant \(name)", cause: "it is \(tenant.state.rawValue)",
                next: "wait until it is whole, if it will be")
        }
        let deployments = snapshot.functions.values.filter { $0.tenant == name }.sorted { $0.name < $1.name }
        let export = TenantExport(
            exportedAt: WallClock.milliseconds, tenant: tenant, unsigned: trust.unsigned(of: name),
            trustedKeys: trust.keys(.tenant(name)), functions: try ExportPlan.functions(deployments),
            keys: snapshot.keys(of: name),
            secrets: vault.list(tenant: name).map { .init(function: $0.place.function, name: $0.place.name) })
        return try ExportPlan(export, deployments)
    }
}

/// Each tenant is exported once at a time, so that one file of each is all that exports hold in memory.
final class ExportSlots: Sendable {
    private let taken = Mutex<Set<String>>([])

    func enter(_ tenant: String) throws(RuntimeError) -> ExportSlot {
        guard taken.withLock({ $0.insert(tenant).inserted }) else {
            throw RuntimeError(
                .conflict, step: "export the tenant \(tenant)", cause: "it is being exported already",
                next: "wait for that export to end")
        }
        return ExportSlot(self, tenant)
    }

    fileprivate func leave(_ tenant: String) { taken.withLock { _ = $0.remove(tenant) } }
}

/// Given back by `leave`, or when nobody holds it.
final class ExportSlot: Sendable {
    private let slots: ExportSlots
    private let tenant: String
    private let isLeft = Mutex(false)

    fileprivate init(_ slots: ExportSlots, _ tenant: String) {
        self.slots = slots
        self.tenant = tenant
    }

    func leave() {
        let isFirst = isLeft.withLock { isLeft in
            defer { isLeft = true }
            return !isLeft
        }
        if isFirst { slots.leave(tenant) }
    }

    deinit { leave() }
}

/// Sends the pieces of a plan as fast as the client takes them. Lives until its exchange is over.
private final class ExportStream {
    private static let slice = 128 << 10

    private let exchange: HTTPExchange
    private let plan: ExportPlan
    private let slot: ExportSlot
    private let shared: GatewayShared
    private var piece: [UInt8] = []
    private var sent = 0
    private var next = 0
    private var isLoading = false

    init(_ exchange: HTTPExchange, _ plan: ExportPlan, _ slot: ExportSlot, _ shared: GatewayShared) {
        self.exchange = exchange
        self.plan = plan
        self.slot = slot
        self.shared = shared
    }

    func start(_ headers: HTTPHeaders) {
        exchange.onDrain = { self.pump() }
        exchange.onClose = { [slot] in slot.leave() }
        exchange.start(status: 200, headers: headers, contentLength: Int(plan.bytes))
        pump()
    }

    private func pump() {
        while !exchange.isOver, !isLoading {
            if sent < piece.count {
                let end = min(piece.count, sent + Self.slice)
                let slice = Array(piece[sent..<end])
                sent = end
                guard exchange.write(slice) else { return }
            } else if next == plan.pieces.count {
                // Before the client can ask once more.
                slot.leave()
                return exchange.finish()
            } else {
                advance()
            }
        }
    }

    private func advance() {
        defer { next += 1 }
        switch plan.pieces[next] {
        case .bytes(let bytes): (piece, sent) = (bytes, 0)
        case .file(let file, let deployment):
            piece = []
            sent = 0
            isLoading = true
            let own = LoopBound(self, on: exchange.loop)
            let remote = exchange.loop.remote
            shared.files.run { [shared] in
                let result = Result { () throws(RuntimeError) in
                    try shared.store.contents(of: file, in: deployment)
                }
                remote.submit { _ in own.value.loaded(result) }
            }
        }
    }

    private func loaded(_ result: Result<[UInt8], RuntimeError>) {
        isLoading = false
        switch result {
        case .success(let bytes):
            (piece, sent) = (bytes, 0)
            pump()
        case .failure(let error):
            Log.error("an export was broken off", [("cause", "\(error)")])
            // A short answer that looks whole would be worse than a broken one.
            slot.leave()
            exchange.abort()
        }
    }
}
