// The file of `serve --tenants` and the table of what was taken, joined to the keeper of quotas.
internal import Core
internal import FoundationEssentials
internal import Inference
internal import Platform
internal import Registry

struct Quotas {
    /// Belongs to the models' loop once that runs.
    let keeper: QuotaKeeper
    private let file: String?

    /// - Parameter options: of a host that holds the registry's lock.
    init(_ options: ServeOptions) throws {
        file = options.tenants
        let table = try QuotaTable(stateDirectory: options.state)
        let stored = try table.load().compactMap { row in
            QuotaMeter(rawValue: row.meter).map {
                QuotaRow(tenant: row.tenant, meter: $0, window: row.window, taken: row.taken)
            }
        }
        keeper = QuotaKeeper(policies: try Self.read(file), stored: stored) { (rows) throws(RuntimeError) in
            try table.write(rows.map { ($0.tenant, $0.meter.rawValue, $0.window, $0.taken) })
        }
    }

    /// SIGHUP: what the file says now holds from now on; a file that can't be read changes nothing.
    func reload(_ inference: InferenceService) {
        guard let file else { return }
        do {
            inference.setPolicies(try Self.read(file))
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
