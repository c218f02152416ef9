// The file of `serve --tenants` and the table of what was taken, joined to the keeper of quotas.
internal import Core
internal import FoundationEssentials
internal import Inference
internal import Platform
internal import Registry
internal import Synchronization

/// The policies of tenants: the file's, where the registry has none of its own.
final class Quotas: Sendable {
    private let file: String?
    private let registry: Registry
    private let fromFile: Mutex<TenantPolicies>
    private let table: QuotaTable

    /// - Parameter options: of a host that holds the registry's lock.
    init(_ options: ServeOptions, _ registry: Registry) throws {
        file = options.tenants
        self.registry = registry
        fromFile = Mutex(try Self.read(file))
        table = try QuotaTable(stateDirectory: options.state)
    }

    /// Belongs to the models' loop once that runs.
    func makeKeeper() throws -> QuotaKeeper {
        let stored = try table.load().compactMap { row in
            QuotaMeter(rawValue: row.meter).map {
                QuotaRow(tenant: row.tenant, meter: $0, window: row.window, taken: row.taken)
            }
        }
        return QuotaKeeper(policies: policies, stored: stored) { [table] (rows) throws(RuntimeError) in
            try table.write(rows.map { ($0.tenant, $0.meter.rawValue, $0.window, $0.taken) })
        }
    }

    private var policies: TenantPolicies {
        let own = registry.snapshot.tenants.compactMapValues(\.settings.policy)
        return fromFile.withLock { $0.overridden(by: own) }
    }

    /// What the registry and the file say now holds from now on.
    func apply(to inference: InferenceService) { inference.setPolicies(policies) }

    /// SIGHUP: reads the file again; one that can't be read changes nothing.
    func reload(_ inference: InferenceService) {
        guard let file else { return }
        do {
            let read = try Self.read(file)
            fromFile.withLock { $0 = read }
            apply(to: inference)
            Log.info("SIGHUP: the tenants file was read again")
        } catch {
            Log.error("SIGHUP: the old quotas stay in force", [("cause", "\(error)")])
        }
    }

    private static func read(_ file: String?) throws -> TenantPolicies {
        guard let file else { return TenantPolicies() }
        guard let data = try? Data(contentsOf: URL(filePath: file)) else {
            throw RuntimeError(
                .badRequest, step: "read the tenants file \(file)", cause: "the file can't be read",
                next: "give --tenants a file that the user of the host may read")
        }
        return try TenantPolicies(json5: Array(data), file: file)
    }
}
