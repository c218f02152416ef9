// A tenant from another host: its name is taken first, and everything of it is there in one step at last.
package import Core
internal import Storage

extension Registry {
    /// Takes the name. Nothing of the tenant is served, and who finds it in this state after a start erases it.
    package func beginImport(_ tenant: Tenant) throws(RuntimeError) {
        var staged = tenant
        staged.state = .importing
        try createTenant(staged)
    }

    /// Makes the tenant, its functions and its keys what exists: all of it, or nothing.
    ///
    /// - Parameter tenant: in the state that it is to have.
    package func finishImport(_ tenant: Tenant, _ deployments: [Deployment], _ keys: [KeyRecord]) throws(RuntimeError) {
        try change({
            $0.with { next in
                next.tenants[tenant.name] = tenant
                for one in deployments { next.functions[one.key] = one }
                for key in keys { next.keys[key.hash] = IssuedKey(key) }
            }
        }) { database throws(RuntimeError) in
            guard snapshot.tenants[tenant.name]?.state == .importing else { throw Self.noTenant(tenant.name) }
            // One text of a key can't be two tenants'.
            for key in keys where snapshot.keys[key.hash] != nil {
                throw RuntimeError(
                    .conflict, step: "import the key \(key.id)", cause: "this host got it meanwhile",
                    next: "import the tenant once more")
            }
            try Self.write(tenant, database)
            for one in deployments { try Self.write(one, database) }
            for key in keys { try Self.write(key, database) }
        }
    }
}
