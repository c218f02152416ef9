// Secrets: set and removed by operators, told by name only, and opened for the worker of a function that names them.
package import Core
internal import Synchronization

extension Vault {
    /// Bytes of one value.
    package static let largestSecret = 64 << 10
    /// Of one tenant, and of one function.
    package static let mostSecrets = 100
    /// Of all values of a tenant and its functions together; they are kept in memory, sealed.
    package static let mostBytes = 4 << 20

    /// Stores a value in place of the one before it.
    @discardableResult
    package func set(_ place: SecretPlace, to value: SecretBytes) throws(RuntimeError) -> SecretDescription {
        try place.validate()
        guard value.count > 0 else {
            throw RuntimeError(
                .badRequest, step: "set the secret \(place.words)", cause: "its value is empty",
                next: "send the value as the body, or remove the secret")
        }
        guard value.count <= Self.largestSecret else {
            throw Self.tooLarge(place)
        }
        return try change { database throws(RuntimeError) in
            try checkRoom(for: place, bytes: value.count)
            let before = state.withLock { $0.secrets[place] }
            let version = (before?.version ?? 0) + 1
            let now = Self.now
            var sealed: SealedSecret?
            // A first key without a secret would be no harm, but both or none is easier to explain.
            do throws(RuntimeError) {
                try database.transaction { () throws(RuntimeError) in
                    let (keyVersion, key) = try newestKey(of: place.tenant, database)
                    let made = SealedSecret(
                        version: version, keyVersion: keyVersion,
                        sealed: try Seal.seal(value, key: key, purpose: SealedSecret.purpose(place, version: version)),
                        createdAt: before?.createdAt ?? now, changedAt: now)
                    try database.put(made, at: place)
                    sealed = made
                }
            } catch {
                try reload(place.tenant, database)
                throw error
            }
            state.withLock { $0.secrets[place] = sealed }
            return SecretDescription(
                place: place, version: version, createdAt: before?.createdAt ?? now, changedAt: now)
        }
    }

    package static func tooLarge(_ place: SecretPlace) -> RuntimeError {
        RuntimeError(
            .payloadTooLarge, step: "set the secret \(place.words)",
            cause: "its value is larger than \(largestSecret) bytes",
            next: "keep large data in the artefact, and its key in a secret")
    }

    private func checkRoom(for place: SecretPlace, bytes: Int) throws(RuntimeError) {
        let (count, taken) = state.withLock { state in
            let others = state.secrets.filter { $0.key.tenant == place.tenant && $0.key != place }
            return (
                others.count { $0.key.function == place.function },
                others.reduce(0) { $0 + $1.value.sealed.count - Seal.overhead }
            )
        }
        guard count < Self.mostSecrets, taken + bytes <= Self.mostBytes else {
            throw RuntimeError(
                .conflict, step: "set the secret \(place.words)",
                cause: count < Self.mostSecrets
                    ? "its tenant's secrets would take more than \(Self.mostBytes) bytes"
                    : "there are \(count) secrets already, and that is the most",
                next: "remove some: `swiftlet secret ls` lists them")
        }
    }

    /// A transaction that failed may have left a key in memory that isn't stored.
    private func reload(_ tenant: String, _ database: VaultDatabase) throws(RuntimeError) {
        let stored = Set(try database.keys().filter { $0.tenant == tenant }.map(\.version))
        state.withLock { state in
            state.keys[tenant] = state.keys[tenant]?.filter { stored.contains($0.key) }
            if state.keys[tenant]?.isEmpty == true { state.keys[tenant] = nil }
        }
    }

    /// Returns false when there was none.
    package func remove(_ place: SecretPlace) throws(RuntimeError) -> Bool {
        try place.validate()
        return try change { database throws(RuntimeError) in
            guard state.withLock({ $0.secrets[place] != nil }) else { return false }
            try database.remove(place)
            state.withLock { $0.secrets[place] = nil }
            return true
        }
    }

    /// A tenant's secrets and those of its functions, or those of one function.
    package func list(tenant: String, function: String? = nil) -> [SecretDescription] {
        let found = state.withLock { state in
            state.secrets.filter { $0.key.tenant == tenant && (function == nil || $0.key.function == function) }
        }
        return found.map { place, secret in
            SecretDescription(
                place: place, version: secret.version, createdAt: secret.createdAt, changedAt: secret.changedAt)
        }
        .sorted { ($0.place.function ?? "", $0.place.name) < ($1.place.function ?? "", $1.place.name) }
    }

    /// What a function gets under this name: its own secret, else its tenant's; nil when there is neither. The caller has
    /// looked whether the function's manifest names it.
    package func value(_ name: String, for function: FunctionKey) throws(RuntimeError) -> SecretBytes? {
        let own = SecretPlace(tenant: function.tenant, function: function.name, name: name)
        let common = SecretPlace(tenant: function.tenant, function: nil, name: name)
        let found = state.withLock { state -> (SecretPlace, SealedSecret, SecretBytes?)? in
            for place in [own, common] {
                if let secret = state.secrets[place] {
                    return (place, secret, state.keys[place.tenant]?[secret.keyVersion])
                }
            }
            return nil
        }
        guard let (place, secret, key) = found else { return nil }
        let purpose = SealedSecret.purpose(place, version: secret.version)
        guard let key, let value = Seal.open(secret.sealed, key: key, purpose: purpose) else {
            throw RuntimeError(
                .internalError, step: "open the secret \(place.words)",
                cause: "it is not what was sealed under this name: vault.db was changed",
                next: "set it again, or restore vault.db from a backup")
        }
        return value
    }
}
