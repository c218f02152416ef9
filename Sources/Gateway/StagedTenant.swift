// A tenant on its way in: its name is held, its functions are admitted one by one, and all of it exists at once or never.
internal import Core
internal import Platform
internal import PluginHost
internal import Registry
internal import Scheduler
internal import Signing
internal import Synchronization
internal import Transfer
internal import Vault

/// Everything in it blocks and is called by the background queue, which does one thing after another.
final class StagedTenant: Sendable {
    private struct State {
        var export: TenantExport?
        var deployments: [Deployment] = []
        var warnings: [String] = []
        /// From when the name is taken until all is there.
        var isOpen = false
    }

    private let shared: GatewayShared
    private let state = Mutex(State())

    init(_ shared: GatewayShared) { self.shared = shared }

    /// Reads what is to come, and takes the name.
    func begin(_ bytes: [UInt8], as name: String?) throws(RuntimeError) -> TenantExport {
        let export = try TenantExport(bytes, as: name)
        try shared.requireFreeName(export.tenant.name)
        try shared.registry.beginImport(export.tenant)
        state.withLock {
            $0.export = export
            $0.isOpen = true
        }
        try checkRoom(export.functions.reduce(0) { $0 + $1.bytes }, export.tenant.name, withPadding: true)
        return export
    }

    /// Takes in the archive of the function that is next, as a deployment would be.
    func admit(_ archive: String) throws(RuntimeError) {
        let (export, before) = state.withLock { ($0.export, $0.deployments) }
        guard let export, before.count < export.functions.count else { throw ArchiveFeed.refusal("it holds too much") }
        let function = export.functions[before.count]
        do throws(RuntimeError) {
            try admit(archive, function, of: export, after: before)
        } catch {
            throw RuntimeError(
                error.code, step: "import the function \(function.name): \(error.step)", cause: error.cause,
                next: error.next, limit: error.limit)
        }
    }

    private func admit(
        _ archive: String, _ function: TenantExport.Function, of export: TenantExport, after before: [Deployment]
    ) throws(RuntimeError) {
        let tenant = export.tenant.name
        let probe = PluginProbe(host: shared.host)
        let admission = try PluginAdmission(store: shared.store).admit(
            archive: archive, tenant: tenant, name: function.name, trust: trust(for: export),
            inUse: { digest in before.contains { $0.digest == digest } }
        ) { (deployment, root) throws(RuntimeError) in
            guard deployment.digest == function.digest else {
                throw ArchiveFeed.refusal(
                    "\(function.archive) has the digest \(deployment.digest), and \(function.digest) is listed")
            }
            try probe.check(deployment, root: root)
        }
        let after = before + [admission.deployment]
        try checkRoom(after.reduce(0) { $0 + $1.storedBytes }, tenant)
        state.withLock { state in
            state.deployments = after
            if let warning = admission.warning { state.warnings.append("\(function.name): \(warning)") }
        }
    }

    /// Makes it exist. Returns what came, and what somebody must do yet.
    func finish() throws(RuntimeError) -> JSONValue {
        let (found, deployments, warnings) = state.withLock { ($0.export, $0.deployments, $0.warnings) }
        guard let export = found, deployments.count == export.functions.count else {
            throw ArchiveFeed.refusal("functions that it lists are missing")
        }
        let name = export.tenant.name
        for key in export.trustedKeys { try shared.trust.add(key, to: .tenant(name)) }
        if let unsigned = export.unsigned { try shared.trust.setUnsigned(unsigned, of: name) }
        let known = shared.registry.snapshot.keys
        let keys = export.keys.filter { known[$0.hash] == nil }
        let leftOut = export.keys.filter { known[$0.hash] != nil }
        let tenant = Tenant(
            name: name, state: export.tenant.state, createdAt: WallClock.milliseconds, settings: export.tenant.settings)
        try shared.registry.finishImport(tenant, deployments, keys)
        state.withLock { $0.isOpen = false }
        shared.refreshPolicies()
        guard case .object(var members) = tenant.described else { return .null }
        members["functions"] = .array(deployments.map(\.described))
        members["keys"] = .integer(Int64(keys.count))
        members["keys_left_out"] = .array(leftOut.map { .string($0.id) })
        members["trusted_keys"] = .integer(Int64(export.trustedKeys.count))
        members["secrets_to_set"] = .array(export.secrets.map(\.value))
        members["warnings"] = .array(warnings.map { .string($0) })
        return .object(members)
    }

    /// Leaves nothing of it, unless it is finished. Once more does no harm.
    func abandon(_ cause: String) {
        let name = state.withLock { state -> String? in
            defer { state.isOpen = false }
            return state.isOpen ? state.export?.tenant.name : nil
        }
        if let name { shared.abandonImport(name, cause) }
    }

    /// Its own keys and the platform's count here, and the stricter of both policies.
    private func trust(for export: TenantExport) -> Trust {
        var trust = shared.trust.trust(of: export.tenant.name)
        trust.keys = export.trustedKeys.map(\.key) + trust.keys
        if let unsigned = export.unsigned { trust.unsigned = max(trust.unsigned, unsigned) }
        return trust
    }

    private func checkRoom(_ bytes: UInt64, _ tenant: String, withPadding: Bool = false) throws(RuntimeError) {
        guard let room = shared.limits.storageLeft(of: tenant, without: nil) else { return }
        // Heads and padding of archives are not stored.
        let padding: UInt64 = withPadding ? 1 << 20 : 0
        guard bytes > room.left + padding else { return }
        throw Gateway.noRoom(bytes, tenant, room, shared)
    }
}

extension GatewayShared {
    /// What is kept under a name that belongs to nobody would become the tenant's, or go with an import that fails.
    func requireFreeName(_ name: String) throws(RuntimeError) {
        let step = "import the tenant \(name)"
        if let tenant = registry.snapshot.tenants[name] {
            throw RuntimeError(
                .conflict, step: step, cause: "there is one of this name, and it is \(tenant.state.rawValue)",
                next: "choose another name with --as, or delete that one first")
        }
        let hasTrust = !trust.keys(.tenant(name)).isEmpty || trust.unsigned(of: name) != nil
        guard !hasTrust, vault.keyVersions(of: name).isEmpty, registry.snapshot.keys(of: name).isEmpty else {
            throw RuntimeError(
                .conflict, step: step,
                cause: "\(hasTrust ? "trusted keys or a policy" : "sealed data or keys") of this name are here already",
                next: "choose another name with --as, or create and delete that tenant first")
        }
    }

    /// Erases what an import had brought. What goes wrong here is tried again by the next start. Blocks.
    func abandonImport(_ name: String, _ cause: String) {
        guard registry.snapshot.tenants[name]?.state == .importing else { return }
        do throws(RuntimeError) {
            _ = try registry.erase(name)
            _ = try trust.erase(name)
            try vault.shred(name)
            _ = store.removeAll(of: name)
            try registry.forgetTenant(name)
            Log.info("what an import had brought was erased", [("tenant", name), ("cause", cause)])
        } catch {
            Log.error("what an import had brought can't be erased", [("tenant", name), ("cause", "\(error)")])
        }
    }
}
