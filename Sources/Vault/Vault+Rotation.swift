// New keys for old: of a tenant while the host runs, and of the master offline, each in one transaction.
package import Core
internal import Storage
internal import Synchronization

extension Vault {
    /// Gives a tenant a new key, which seals from now on; what older ones sealed opens as before.
    ///
    /// - Returns: its version.
    package func rotateKey(of tenant: String) throws(RuntimeError) -> Int {
        try Names.validate(tenant, as: "tenant")
        return try change { database throws(RuntimeError) in
            guard let newest = keyVersions(of: tenant).last else {
                throw RuntimeError(
                    .notFound, step: "rotate the key of \(tenant)", cause: "nothing of this tenant is sealed yet",
                    next: "it gets a key with its first secret or function")
            }
            return try addKey(to: tenant, version: newest + 1, database).version
        }
    }

    /// Seals a tenant's secrets with its newest key: all of them, or none.
    ///
    /// - Returns: how many had an older one.
    package func resealSecrets(of tenant: String) throws(RuntimeError) -> Int {
        try change { database throws(RuntimeError) in
            guard let newest = keyVersions(of: tenant).last, let key = key(of: tenant, version: newest) else {
                return 0
            }
            var renewed: [SecretPlace: SealedSecret] = [:]
            for (place, secret) in state.withLock({ $0.secrets })
            where place.tenant == tenant && secret.keyVersion != newest {
                let purpose = SealedSecret.purpose(place, version: secret.version)
                guard let old = self.key(of: tenant, version: secret.keyVersion),
                    let value = Seal.open(secret.sealed, key: old, purpose: purpose)
                else {
                    throw RuntimeError(
                        .internalError, step: "reseal the secret \(place.words)", cause: "it does not open",
                        next: "set it again, or restore vault.db from a backup; nothing was resealed")
                }
                renewed[place] = SealedSecret(
                    version: secret.version, keyVersion: newest,
                    sealed: try Seal.seal(value, key: key, purpose: purpose), createdAt: secret.createdAt,
                    changedAt: secret.changedAt)
            }
            try database.transaction { () throws(RuntimeError) in
                for (place, secret) in renewed { try database.put(secret, at: place) }
            }
            state.withLock { state in state.secrets.merge(renewed) { $1 } }
            return renewed.count
        }
    }

    /// Destroys a tenant's keys but the newest. Only for whoever has resealed everything of it: what an older one sealed is
    /// noise from then on.
    package func forgetOldKeys(of tenant: String) throws(RuntimeError) {
        try change { database throws(RuntimeError) in
            guard let newest = keyVersions(of: tenant).last else { return }
            let isNeeded = state.withLock { state in
                state.secrets.contains { $0.key.tenant == tenant && $0.value.keyVersion != newest }
            }
            guard !isNeeded else { return }
            try database.removeKeys(of: tenant, below: newest)
            state.withLock { state in state.keys[tenant] = state.keys[tenant]?.filter { $0.key == newest } }
            try database.forgetOldPages()
        }
    }

    /// Wraps every tenant's key anew, in one transaction: at any moment exactly one of the two keys opens the vault. No host may
    /// use the state directory.
    ///
    /// - Returns: how many keys were wrapped; nil when the new key was in place already.
    package static func rotateMaster(
        stateDirectory: String, from old: any KeyWrapper, to new: any KeyWrapper
    ) throws(RuntimeError) -> Int? {
        let database = try VaultDatabase(stateDirectory: stateDirectory)
        guard let (name, proof) = try database.proof() else {
            throw RuntimeError(
                .notFound, step: "rotate the master key", cause: "nothing was sealed in \(stateDirectory) yet",
                next: "start the host with the new key")
        }
        if try opens(proof, new) {
            // An earlier try may have ended between the two.
            try database.forgetOldPages()
            return nil
        }
        guard try opens(proof, old) else {
            throw RuntimeError(
                .forbidden, step: "rotate the master key",
                cause:
                    "\(database.path) was sealed under the master key \(name), the old one that is given is \(old.name)",
                next: "give the key that is in use by --old-key; nothing was written")
        }
        let keys = try database.keys()
        try database.transaction { () throws(RuntimeError) in
            for key in keys {
                let purpose = purpose(key.tenant, key.version)
                guard let open = try old.unwrap(key.wrapped, purpose: purpose) else {
                    throw RuntimeError(
                        .internalError, step: "rotate the master key",
                        cause: "the key \(key.version) of tenant \(key.tenant) does not open: it was changed",
                        next: "restore vault.db from a backup; nothing was written to it")
                }
                try database.put((key.tenant, key.version, try new.wrap(open, purpose: purpose), key.createdAt))
            }
            try database.setProof(try Vault.proof(by: new), of: new.name)
        }
        try database.forgetOldPages()
        return keys.count
    }
}
