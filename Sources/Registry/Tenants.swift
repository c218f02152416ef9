// Tenants and API keys in the registry.
package import Core
internal import Storage

extension Registry {
    package func createTenant(_ tenant: Tenant) throws(RuntimeError) {
        try Tenant.validate(tenant.name)
        guard snapshot.tenants[tenant.name] == nil else {
            throw RuntimeError(
                .conflict, step: "create the tenant \(tenant.name)", cause: "there is one of this name",
                next: "choose another name, or change that one with `swiftlet tenant set`")
        }
        try store(tenant)
    }

    /// Changes a tenant that exists. Returns it as it is now.
    package func changeTenant(_ name: String, _ change: (inout Tenant) -> Void) throws(RuntimeError) -> Tenant {
        guard var tenant = snapshot.tenants[name] else { throw Self.noTenant(name) }
        let step = "change the tenant \(name)"
        switch tenant.state {
        case .active, .suspended: break
        case .deleting:
            throw RuntimeError(.conflict, step: step, cause: "it is being deleted", next: "wait, then create it")
        case .importing:
            throw RuntimeError(
                .conflict, step: step, cause: "it is being imported", next: "wait for the import, or end it")
        }
        change(&tenant)
        try store(tenant)
        return tenant
    }

    /// The last step of deleting one: its data is gone when this is called.
    package func forgetTenant(_ name: String) throws(RuntimeError) {
        try change({ $0.with { $0.tenants[name] = nil } }) { database throws(RuntimeError) in
            try database.run("DELETE FROM tenant WHERE name=?1", [name])
        }
        // The log of writes holds pages as they were before.
        try forgetOldPages()
    }

    /// Takes every deployment and key of a tenant away, with its history. Returns how many of each.
    package func erase(_ name: String) throws(RuntimeError) -> (functions: Int, keys: Int) {
        let snapshot = snapshot
        let gone = (
            functions: snapshot.functions.keys.count { $0.tenant == name }, keys: snapshot.keys(of: name).count
        )
        try change({
            $0.with { next in
                next.functions = next.functions.filter { $0.key.tenant != name }
                next.keys = next.keys.filter { $0.value.record.tenant != name }
            }
        }) { database throws(RuntimeError) in
            try database.run("DELETE FROM deployment WHERE tenant=?1", [name])
            try database.run("DELETE FROM api_key WHERE tenant=?1", [name])
        }
        // While the tenant can still be seen: who sees it no more finds nothing of it.
        try forgetOldPages()
        return gone
    }

    private func store(_ tenant: Tenant) throws(RuntimeError) {
        try change({ $0.with { $0.tenants[tenant.name] = tenant } }) { database throws(RuntimeError) in
            try Self.write(tenant, database)
        }
    }

    static func write(_ tenant: Tenant, _ database: Database) throws(RuntimeError) {
        try database.run(
            "INSERT OR REPLACE INTO tenant VALUES (?1,?2,CAST(?3 AS INTEGER),?4)",
            [tenant.name, tenant.state.rawValue, String(tenant.createdAt), tenant.settings.value.text])
    }

    package static func noTenant(_ name: String) -> RuntimeError {
        RuntimeError(
            .notFound, step: "find the tenant \(Names.quoted(name))", cause: "there is no such tenant",
            next: "see `swiftlet tenant ls`, or create it with `swiftlet tenant create`")
    }

    // MARK: keys

    package func addKey(_ key: KeyRecord) throws(RuntimeError) {
        if let tenant = key.tenant, snapshot.tenants[tenant] == nil { throw Self.noTenant(tenant) }
        try change({ $0.with { $0.keys[key.hash] = IssuedKey(key) } }) { database throws(RuntimeError) in
            try Self.write(key, database)
        }
    }

    /// A new key in place of one that goes on for a while: both are stored, or nothing is.
    ///
    /// - Parameter old: as it is from now on.
    package func replaceKey(_ old: KeyRecord, by new: KeyRecord) throws(RuntimeError) {
        try change({
            $0.with { next in
                next.keys[old.hash] = IssuedKey(old)
                next.keys[new.hash] = IssuedKey(new)
            }
        }) { database throws(RuntimeError) in
            try Self.write(old, database)
            try Self.write(new, database)
        }
    }

    /// Changes what bounds a key, from its next request and token on.
    package func changeKey(_ key: KeyRecord) throws(RuntimeError) {
        try change({ $0.with { $0.keys[key.hash] = IssuedKey(key) } }) { database throws(RuntimeError) in
            try Self.write(key, database)
        }
    }

    /// From here on the key fails.
    package func revokeKey(_ key: KeyRecord) throws(RuntimeError) {
        try change({ $0.with { $0.keys[key.hash] = nil } }) { database throws(RuntimeError) in
            try database.run("DELETE FROM api_key WHERE hash=?1", [key.hash.hex])
        }
    }

    /// The key of a tenant, or of the platform, with this name.
    package func key(_ id: String, of tenant: String?) throws(RuntimeError) -> KeyRecord {
        guard let key = snapshot.keys(of: tenant).first(where: { $0.id == id }) else {
            throw RuntimeError(
                .notFound, step: "find the key \(Names.quoted(id))",
                cause: "\(tenant.map { "the tenant \($0)" } ?? "the platform") has no such key",
                next: "see `swiftlet key ls`")
        }
        return key
    }

    static func write(_ key: KeyRecord, _ database: Database) throws(RuntimeError) {
        try database.run(
            "INSERT OR REPLACE INTO api_key VALUES (?1,?2,?3,CAST(?4 AS INTEGER),CAST(?5 AS INTEGER),?6)",
            [
                key.hash.hex, key.tenant ?? "", key.grant.text, String(key.createdAt), String(key.expiresAt ?? 0),
                key.predecessor ?? "",
            ])
    }

    // MARK: opening

    static func loadTenants(_ database: Database) throws(RuntimeError) -> [String: Tenant] {
        var tenants: [String: Tenant] = [:]
        try database.run("SELECT name,state,created_at,settings FROM tenant") { (row) throws(RuntimeError) in
            let step = "read the tenant \(row[0])"
            let settings = try TenantSettings(
                try JSON5.decode(Array(row[3].utf8), step: step), name: row[0], step: step)
            // A word that this program doesn't know must not open a door.
            tenants[row[0]] = Tenant(
                name: row[0], state: Tenant.State(rawValue: row[1]) ?? .suspended, createdAt: Int64(row[2]) ?? 0,
                settings: settings)
        }
        return tenants
    }

    static func loadKeys(_ database: Database) throws(RuntimeError) -> [KeyHash: IssuedKey] {
        var keys: [KeyHash: IssuedKey] = [:]
        let columns = "hash,tenant,grant,created_at,expires_at,predecessor"
        try database.run("SELECT \(columns) FROM api_key") { (row) throws(RuntimeError) in
            let step = "read the key \(row[0].prefix(16))"
            guard let hash = KeyHash(hex: row[0]) else {
                throw RuntimeError(
                    .internalError, step: step, cause: "its hash is not 64 hex digits",
                    next: "restore registry.db from a backup")
            }
            let grant = try JSON5.decode(Array(row[2].utf8), step: step)
            let tenant = row[1].isEmpty ? nil : row[1]
            var key = try KeyRecord(
                grant, hash: hash, tenant: tenant, now: Int64(row[3]) ?? 0, step: step,
                predecessor: row[5].isEmpty ? nil : row[5])
            key.expiresAt = Int64(row[4]).flatMap { $0 == 0 ? nil : $0 }
            keys[hash] = IssuedKey(key)
        }
        return keys
    }
}
