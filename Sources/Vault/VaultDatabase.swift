// The tables of the vault: who wraps, the tenants' wrapped keys, the sealed secrets. Nothing in them can be read without the master key.
internal import Core
internal import Glibc
internal import Storage

/// One connection to `vault.db`. Used under the vault's lock only.
struct VaultDatabase {
    /// Numbered by their place; a new one is added at the end and none is ever changed.
    private static let migrations = [
        """
        CREATE TABLE master (
            id INTEGER PRIMARY KEY CHECK (id = 1), name TEXT NOT NULL, proof TEXT NOT NULL) STRICT
        """,
        """
        CREATE TABLE data_key (
            tenant TEXT NOT NULL, version INTEGER NOT NULL, wrapped TEXT NOT NULL, created_at INTEGER NOT NULL,
            PRIMARY KEY (tenant, version)) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE secret (
            tenant TEXT NOT NULL, function TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
            key_version INTEGER NOT NULL, sealed TEXT NOT NULL, created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL,
            PRIMARY KEY (tenant, function, name)) STRICT, WITHOUT ROWID
        """,
    ]

    typealias WrappedKey = (tenant: String, version: Int, wrapped: [UInt8], createdAt: Int64)

    private let database: Database
    let path: String

    static func path(in stateDirectory: String) -> String { "\(stateDirectory)/vault.db" }

    init(stateDirectory: String) throws(RuntimeError) {
        path = Self.path(in: stateDirectory)
        database = try Database(path: path)
        // A wrapped key that lay in a free page would undo a shredding; the database overwrites what is deleted or replaced.
        try database.migrate(Self.migrations)
        try check()
    }

    /// A file that was cut may open and lack what nobody has asked for yet.
    private func check() throws(RuntimeError) {
        var words = ""
        try database.run("PRAGMA quick_check(1)") { words = $0[0] }
        guard words == "ok" else {
            throw RuntimeError(
                .internalError, step: "open \(path)", cause: words,
                next: "restore the file from a backup; nothing was written to it")
        }
    }

    func transaction(_ body: () throws(RuntimeError) -> Void) throws(RuntimeError) {
        try database.transaction(body)
    }

    /// Overwrites what the log of writes still holds of earlier pages.
    func forgetOldPages() throws(RuntimeError) {
        var isBusy = true
        try database.run("PRAGMA wal_checkpoint(TRUNCATE)") { isBusy = $0[0] != "0" }
        guard !isBusy else {
            throw RuntimeError(
                .unavailable, step: "empty \(path)-wal", cause: "another program reads the file",
                next: "end that program and do it again: an old wrapped key may be left in it until then")
        }
    }

    // MARK: the master key's proof

    func proof() throws(RuntimeError) -> (name: String, proof: [UInt8])? {
        var found: (String, [UInt8])?
        try database.run("SELECT name,proof FROM master") { (row) throws(RuntimeError) in
            found = (row[0], try bytes(row[1]))
        }
        return found
    }

    func setProof(_ proof: [UInt8], of name: String) throws(RuntimeError) {
        try database.run("INSERT OR REPLACE INTO master VALUES (1,?1,?2)", [name, Hex.text(proof)])
    }

    // MARK: tenants' keys

    func keys() throws(RuntimeError) -> [WrappedKey] {
        var keys: [WrappedKey] = []
        try database.run("SELECT tenant,version,wrapped,created_at FROM data_key ORDER BY tenant,version") {
            (row) throws(RuntimeError) in
            keys.append((row[0], Int(row[1]) ?? 0, try bytes(row[2]), Int64(row[3]) ?? 0))
        }
        return keys
    }

    func put(_ key: WrappedKey) throws(RuntimeError) {
        try database.run(
            "INSERT OR REPLACE INTO data_key VALUES (?1,CAST(?2 AS INTEGER),?3,CAST(?4 AS INTEGER))",
            [key.tenant, String(key.version), Hex.text(key.wrapped), String(key.createdAt)])
    }

    func removeKeys(of tenant: String, below version: Int = .max) throws(RuntimeError) {
        try database.run(
            "DELETE FROM data_key WHERE tenant=?1 AND version<CAST(?2 AS INTEGER)", [tenant, String(version)])
    }

    // MARK: secrets

    func secrets() throws(RuntimeError) -> [SecretPlace: SealedSecret] {
        var secrets: [SecretPlace: SealedSecret] = [:]
        try database.run(
            "SELECT tenant,function,name,version,key_version,sealed,created_at,changed_at FROM secret"
        ) { (row) throws(RuntimeError) in
            let place = SecretPlace(tenant: row[0], function: row[1].isEmpty ? nil : row[1], name: row[2])
            secrets[place] = SealedSecret(
                version: Int(row[3]) ?? 0, keyVersion: Int(row[4]) ?? 0, sealed: try bytes(row[5]),
                createdAt: Int64(row[6]) ?? 0, changedAt: Int64(row[7]) ?? 0)
        }
        return secrets
    }

    func put(_ secret: SealedSecret, at place: SecretPlace) throws(RuntimeError) {
        try database.run(
            """
            INSERT OR REPLACE INTO secret VALUES (?1,?2,?3,CAST(?4 AS INTEGER),CAST(?5 AS INTEGER),?6,
                CAST(?7 AS INTEGER),CAST(?8 AS INTEGER))
            """,
            [
                place.tenant, place.function ?? "", place.name, String(secret.version), String(secret.keyVersion),
                Hex.text(secret.sealed), String(secret.createdAt), String(secret.changedAt),
            ])
    }

    func remove(_ place: SecretPlace) throws(RuntimeError) {
        try database.run(
            "DELETE FROM secret WHERE tenant=?1 AND function=?2 AND name=?3",
            [place.tenant, place.function ?? "", place.name])
    }

    func removeSecrets(of tenant: String) throws(RuntimeError) {
        try database.run("DELETE FROM secret WHERE tenant=?1", [tenant])
    }

    private func bytes(_ text: String) throws(RuntimeError) -> [UInt8] {
        if let bytes = Hex.bytes(text.utf8) { return bytes }
        throw RuntimeError(
            .internalError, step: "read \(path)", cause: "a sealed value in it is no hex text",
            next: "restore the file from a backup; nothing was written to it")
    }
}
