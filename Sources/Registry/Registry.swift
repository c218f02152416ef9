// What exists: one writer to SQLite, and an immutable snapshot that any thread reads without waiting for it.
internal import CLinux
package import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform
internal import Storage
internal import Synchronization

package final class Registry: Sendable {
    /// Numbered by their place; a new one is added at the end and none is ever changed.
    private static let migrations = [
        """
        CREATE TABLE deployment (
            tenant TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, digest TEXT NOT NULL,
            manifest TEXT NOT NULL, created_at INTEGER NOT NULL, current INTEGER NOT NULL,
            PRIMARY KEY (tenant, name, kind, created_at)) STRICT
        """,
        // One statement each.
        "ALTER TABLE deployment ADD COLUMN files TEXT NOT NULL DEFAULT '[]'",
        """
        CREATE TABLE alias (
            model TEXT NOT NULL, alias TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (model, alias)) STRICT
        """,
        """
        CREATE TABLE tenant (
            name TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL, created_at INTEGER NOT NULL, settings TEXT NOT NULL
            ) STRICT
        """,
        // Who had functions before there were tenants is one.
        """
        INSERT INTO tenant SELECT tenant,'active',min(created_at),'{}' FROM deployment
        WHERE kind='handler' AND current=1 GROUP BY tenant
        """,
        """
        CREATE TABLE api_key (
            hash TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL, grant TEXT NOT NULL, created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL) STRICT
        """,
        "ALTER TABLE deployment ADD COLUMN signer TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE api_key ADD COLUMN predecessor TEXT NOT NULL DEFAULT ''",
    ]

    private let database: Database
    private let lock: FileDescriptor
    private let current: Mutex<RegistrySnapshot>
    private let changes = Atomic<UInt64>(0)
    private let writing = Mutex(())

    /// Opens the registry of a state directory, which is made when it isn't there.
    package init(stateDirectory: String) throws(RuntimeError) {
        lock = try Self.claim(stateDirectory)
        try Self.refuseLoss(in: stateDirectory)
        let database = try Database(path: "\(stateDirectory)/registry.db")
        try database.migrate(Self.migrations)
        self.database = database
        current = Mutex(try Self.load(database))
    }

    package var snapshot: RegistrySnapshot { current.withLock { $0 } }

    /// Another number after each change, before whoever changed it hears that it is done: who holds a snapshot sees by it, without
    /// a lock, whether there is a newer one. Ask for the number first.
    package var revision: UInt64 { changes.load(ordering: .acquiring) }

    /// Makes a deployment the current one of its name. The versions before it stay in the history.
    package func publish(_ d: Deployment) throws(RuntimeError) {
        // The platform may deploy for whom it likes: that makes a tenant.
        let isNew = d.kind == .handler && snapshot.tenants[d.tenant] == nil
        let tenant = Tenant(name: d.tenant, createdAt: d.createdAt)
        try change({ snapshot in
            let next = snapshot.adding(d)
            return isNew ? next.with { $0.tenants[d.tenant] = tenant } : next
        }) { database throws(RuntimeError) in
            if isNew { try Self.write(tenant, database) }
            if d.kind == .backend { try Self.keepPrevious(of: d, database) }
            try database.run(
                "UPDATE deployment SET current=0 WHERE tenant=?1 AND name=?2 AND kind=?3",
                [d.tenant, d.name, d.kind.rawValue])
            try Self.write(d, database)
        }
    }

    /// As the current one of its name.
    static func write(_ d: Deployment, _ database: Database) throws(RuntimeError) {
        try database.run(
            "INSERT OR REPLACE INTO deployment VALUES (?1,?2,?3,?4,?5,CAST(?6 AS INTEGER),1,?7,?8)",
            [
                d.tenant, d.name, d.kind.rawValue, d.digest, d.manifest.canonicalJSON, String(d.createdAt),
                d.files.json,
                d.signer ?? "",
            ])
    }

    /// Replaces what is known of the files of every deployment with this content.
    package func restamp(_ d: Deployment, files: [ArtefactFile]) throws(RuntimeError) {
        try change({ $0.restamping(d, files: files) }) { database throws(RuntimeError) in
            try database.run(
                "UPDATE deployment SET files=?1 WHERE tenant=?2 AND name=?3 AND kind=?4 AND digest=?5",
                [files.json, d.tenant, d.name, d.kind.rawValue, d.digest])
        }
    }

    /// Takes a function or model out of service. Nil when there is none.
    package func remove(_ key: FunctionKey, kind: PluginKind) throws(RuntimeError) -> Deployment? {
        let snapshot = snapshot
        guard let gone = kind == .backend ? snapshot.models[key.name] : snapshot.functions[key] else { return nil }
        try change({ $0.removing(gone) }) { database throws(RuntimeError) in
            try database.run(
                "UPDATE deployment SET current=0 WHERE tenant=?1 AND name=?2 AND kind=?3",
                [gone.tenant, gone.name, kind.rawValue])
            if kind == .backend { try database.run("DELETE FROM alias WHERE model=?1", [gone.name]) }
        }
        return gone
    }

    /// - Parameter next: the snapshot after `body`; reading everything again would take longer with every deployment.
    func change(
        _ next: (RegistrySnapshot) -> RegistrySnapshot, _ body: (Database) throws(RuntimeError) -> Void
    ) throws(RuntimeError) {
        let written = writing.withLock { _ -> Result<Void, RuntimeError> in
            do throws(RuntimeError) {
                try database.transaction { () throws(RuntimeError) in try body(database) }
                let snapshot = next(snapshot)
                current.withLock { $0 = snapshot }
                changes.wrappingAdd(1, ordering: .acquiringAndReleasing)
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try written.get()
    }

    /// Overwrites what the log of writes holds of pages as they were before.
    func forgetOldPages() throws(RuntimeError) {
        let done = writing.withLock { _ in
            Result { () throws(RuntimeError) in try database.run("PRAGMA wal_checkpoint(TRUNCATE)") }
        }
        try done.get()
    }

    // MARK: opening

    private static func claim(_ directory: String) throws(RuntimeError) -> FileDescriptor {
        do {
            var made = ""
            for part in directory.split(separator: "/") {
                made += "/" + part
                if unsafe mkdir(made, 0o755) != 0, errno != EEXIST {
                    throw SystemError(call: "mkdir(\(made))", code: errno)
                }
            }
            let lock = try FileDescriptor.open("\(directory)/lock", flags: O_RDWR | O_CREAT, mode: 0o644)
            guard lockSoon(lock.raw) else {
                throw RuntimeError(
                    .conflict, step: "use \(directory)", cause: "another host uses this state directory",
                    next: "stop that host, or choose another directory with --state")
            }
            return lock
        } catch let error as RuntimeError {
            throw error
        } catch {
            throw RuntimeError(
                .unavailable, step: "use the state directory \(directory)", cause: "\(error)",
                next: "choose a directory that can be written, with --state")
        }
    }

    /// A child that was forked while a host ended may hold its lock until it runs its own program: worth a moment.
    private static func lockSoon(_ descriptor: CInt) -> Bool {
        for _ in 0..<20 {
            if clinux_try_lock(descriptor) == 0 { return true }
            usleep(25_000)
        }
        return false
    }

    private static func load(_ database: Database) throws(RuntimeError) -> RegistrySnapshot {
        var functions: [FunctionKey: Deployment] = [:]
        var models: [String: Deployment] = [:]
        try database.run("SELECT \(columns) FROM deployment WHERE current=1") { (row) throws(RuntimeError) in
            let deployment = try read(row)
            if deployment.kind == .backend {
                models[deployment.name] = deployment
            } else {
                functions[deployment.key] = deployment
            }
        }
        return RegistrySnapshot(
            RegistrySnapshot.Contents(
                functions: functions, models: models, aliases: try loadAliases(database),
                tenants: try loadTenants(database), keys: try loadKeys(database)))
    }

    static var columns: String { "tenant,name,kind,deployment.digest,manifest,created_at,files,signer" }

    static func read(_ row: [String]) throws(RuntimeError) -> Deployment {
        Deployment(
            tenant: row[0], name: row[1], kind: PluginKind(rawValue: row[2]) ?? .handler, digest: row[3],
            manifest: try Manifest.decode(json5: Array(row[4].utf8), file: "registry"), createdAt: Int64(row[5]) ?? 0,
            files: try [ArtefactFile](json: row[6]), signer: row[7].isEmpty ? nil : row[7])
    }
}
