// Keys of tenants under one master key, and what they seal; Vault+Secrets.swift and Vault+Rotation.swift come next.
package import Core
internal import Glibc
internal import Platform
internal import Storage
internal import Synchronization

/// Reading is for any thread and never waits for a disk; everything that changes something blocks.
package final class Vault: Sendable {
    struct State {
        /// Of each tenant, by version.
        var keys: [String: [Int: SecretBytes]] = [:]
        var secrets: [SecretPlace: SealedSecret] = [:]
    }

    let state: Mutex<State>
    let wrapper: any KeyWrapper
    /// Held by whoever changes something.
    let writing: Mutex<VaultDatabase>

    /// True when something was sealed in this state directory, so that a new master key would lose it.
    package static func isInUse(stateDirectory: String) throws(RuntimeError) -> Bool {
        guard unsafe access(VaultDatabase.path(in: stateDirectory), F_OK) == 0 else { return false }
        return try VaultDatabase(stateDirectory: stateDirectory).proof() != nil
    }

    /// Opens the vault of a state directory that nobody else uses, or begins it with the first of these keys. With none of
    /// the keys that it was sealed under, it throws and has written nothing.
    package init(stateDirectory: String, keys wrappers: [any KeyWrapper]) throws(RuntimeError) {
        let database = try VaultDatabase(stateDirectory: stateDirectory)
        guard let first = wrappers.first else {
            throw RuntimeError(
                .unavailable, step: "open \(database.path)", cause: "there is no master key",
                next: "give one by --master-key-file")
        }
        if let (name, proof) = try database.proof() {
            wrapper = try Self.match(wrappers, name: name, proof: proof, database.path)
        } else {
            wrapper = first
            try database.setProof(try Self.proof(by: first), of: first.name)
        }
        var state = State()
        for key in try database.keys() {
            guard let open = try wrapper.unwrap(key.wrapped, purpose: Self.purpose(key.tenant, key.version)) else {
                throw RuntimeError(
                    .internalError, step: "open \(database.path)",
                    cause:
                        "the key \(key.version) of tenant \(key.tenant) was changed: it does not open under its master key",
                    next: "restore the file from a backup; nothing was written to it")
            }
            state.keys[key.tenant, default: [:]][key.version] = open
        }
        state.secrets = try database.secrets()
        self.state = Mutex(state)
        writing = Mutex(database)
    }

    /// Puts all of it into `vault.db` itself, so that a copy of that one file is whole. For a host that ends.
    package func settle() throws(RuntimeError) {
        try change { database throws(RuntimeError) in try database.forgetOldPages() }
    }

    /// The name of the master key in use, for logs.
    package var masterName: String { wrapper.name }

    // MARK: what a master key proves itself by

    private static let proofPurpose = "swiftlet vault proof"
    private static let proofText = Array("swiftlet: this opens under the right master key".utf8)

    static func proof(by wrapper: any KeyWrapper) throws(RuntimeError) -> [UInt8] {
        var text = proofText
        return try wrapper.wrap(SecretBytes(taking: &text), purpose: proofPurpose)
    }

    static func opens(_ proof: [UInt8], _ wrapper: any KeyWrapper) throws(RuntimeError) -> Bool {
        try wrapper.unwrap(proof, purpose: proofPurpose)?.copy == proofText
    }

    private static func match(_ wrappers: [any KeyWrapper], name: String, proof: [UInt8], _ path: String)
        throws(RuntimeError) -> any KeyWrapper
    {
        for wrapper in wrappers where try opens(proof, wrapper) { return wrapper }
        let given = wrappers.map(\.name).joined(separator: " and ")
        throw RuntimeError(
            .unavailable, step: "open \(path)",
            cause: wrappers.contains { $0.name == name }
                ? "the proof of its master key \(name) was changed"
                : "it was sealed under the master key \(name), and the one that is given is \(given)",
            next: wrappers.contains { $0.name == name }
                ? "restore the file from a backup; nothing was written to it"
                : "give the key that was in use, or the state directory that belongs to this one; nothing was written")
    }

    // MARK: tenants' keys

    static func purpose(_ tenant: String, _ version: Int) -> String { "swiftlet data key \(tenant)/\(version)" }

    /// Runs `body` as the only one who changes something.
    func change<Value: Sendable>(_ body: (VaultDatabase) throws(RuntimeError) -> Value) throws(RuntimeError) -> Value {
        let result = writing.withLock { database in
            Result { () throws(RuntimeError) in try body(database) }
        }
        return try result.get()
    }

    /// The tenant's newest key; its first one is made when it has none. Called by whoever holds the database.
    func newestKey(of tenant: String, _ database: VaultDatabase) throws(RuntimeError) -> (
        version: Int, key: SecretBytes
    ) {
        let newest = state.withLock { state in state.keys[tenant]?.max { $0.key < $1.key } }
        if let newest { return (newest.key, newest.value) }
        return try addKey(to: tenant, version: 1, database)
    }

    func addKey(to tenant: String, version: Int, _ database: VaultDatabase) throws(RuntimeError) -> (
        version: Int, key: SecretBytes
    ) {
        let key = SecretBytes.random(Seal.keyBytes)
        let wrapped = try wrapper.wrap(key, purpose: Self.purpose(tenant, version))
        try database.put((tenant, version, wrapped, Self.now))
        state.withLock { $0.keys[tenant, default: [:]][version] = key }
        return (version, key)
    }

    func key(of tenant: String, version: Int) -> SecretBytes? { state.withLock { $0.keys[tenant]?[version] } }

    /// The versions of a tenant's key that are kept, oldest first.
    package func keyVersions(of tenant: String) -> [Int] { state.withLock { $0.keys[tenant]?.keys.sorted() ?? [] } }

    static var now: Int64 { WallClock.milliseconds }

    /// Destroys a tenant's keys and secrets. What they sealed, wherever it lies, is noise from then on.
    package func shred(_ tenant: String) throws(RuntimeError) {
        try change { database throws(RuntimeError) in
            try database.transaction { () throws(RuntimeError) in
                try database.removeSecrets(of: tenant)
                try database.removeKeys(of: tenant)
            }
            state.withLock { state in
                state.keys[tenant] = nil
                state.secrets = state.secrets.filter { $0.key.tenant != tenant }
            }
            try database.forgetOldPages()
        }
    }
}
