// The lists of trusted keys and the tenants' policies: a database of their own, and a copy in memory that is read.
package import Core
internal import Storage
internal import Synchronization

package final class TrustStore: Sendable {
    package static let mostKeys = 64

    private static let schema = [
        """
        CREATE TABLE trusted_key (
            tenant TEXT NOT NULL, id TEXT NOT NULL, public_key TEXT NOT NULL, comment TEXT NOT NULL,
            added_at INTEGER NOT NULL, PRIMARY KEY (tenant, id)) STRICT, WITHOUT ROWID
        """,
        "CREATE TABLE unsigned_policy (tenant TEXT NOT NULL PRIMARY KEY, policy TEXT NOT NULL) STRICT, WITHOUT ROWID",
    ]

    private struct Known {
        var keys: [TrustScope: [TrustedKey]] = [:]
        var unsigned: [String: UnsignedPolicy] = [:]
    }

    /// What `serve --unsigned` says.
    package let platformUnsigned: UnsignedPolicy
    private let known: Mutex<Known>
    /// Its lock is held around each use.
    private let database: Database
    private let writing = Mutex(())

    /// Reads the lists. What can't be read is an error, never an empty list.
    package init(stateDirectory: String, unsigned: UnsignedPolicy) throws(RuntimeError) {
        let path = "\(stateDirectory)/trust.db"
        platformUnsigned = unsigned
        database = try Database(path: path)
        try database.migrate(Self.schema)
        known = Mutex(try Self.load(database, path))
    }

    // MARK: reading

    /// What deployments of this tenant are judged by: its keys and the platform's, and the stricter of two policies.
    package func trust(of tenant: String) -> Trust {
        known.withLock { known in
            let keys = (known.keys[.tenant(tenant)] ?? []) + (known.keys[.platform] ?? [])
            return Trust(
                keys: keys.map(\.key), unsigned: max(platformUnsigned, known.unsigned[tenant] ?? platformUnsigned))
        }
    }

    package func keys(_ scope: TrustScope) -> [TrustedKey] { known.withLock { $0.keys[scope] ?? [] } }

    /// A tenant's own policy, when it has one.
    package func unsigned(of tenant: String) -> UnsignedPolicy? { known.withLock { $0.unsigned[tenant] } }

    // MARK: changes; they block

    /// Adds a key, or gives one that is there another comment.
    package func add(_ key: TrustedKey, to scope: TrustScope) throws(RuntimeError) {
        try change { (known, database) throws(RuntimeError) in
            var keys = known.keys[scope] ?? []
            let same = keys.first { $0.key.id == key.key.id }
            let step = "trust the key \(key.key.id)"
            guard same == nil || same?.key == key.key else {
                throw RuntimeError(
                    .conflict, step: step, cause: "\(scope) has another key of this number",
                    next: "remove that one first with `swiftlet trust rm`")
            }
            guard same != nil || keys.count < Self.mostKeys else {
                throw RuntimeError(
                    .conflict, step: step, cause: "\(scope) has \(Self.mostKeys) keys already",
                    next: "remove one with `swiftlet trust rm`")
            }
            keys.removeAll { $0.key.id == key.key.id }
            known.keys[scope] = (keys + [key]).sorted { $0.key.id < $1.key.id }
            try database.execute(
                "INSERT OR REPLACE INTO trusted_key VALUES (?1,?2,?3,?4,?5)",
                [
                    .text(scope.row), .text("\(key.key.id)"), .text(key.key.base64), .text(key.comment),
                    .integer(key.addedAt),
                ])
        }
    }

    /// Takes a key away. What it signed before stays deployed.
    package func remove(_ id: KeyID, from scope: TrustScope) throws(RuntimeError) -> TrustedKey {
        var removed: TrustedKey?
        try change { (known, database) throws(RuntimeError) in
            removed = known.keys[scope]?.first { $0.key.id == id }
            known.keys[scope]?.removeAll { $0.key.id == id }
            try database.execute(
                "DELETE FROM trusted_key WHERE tenant=?1 AND id=?2", [.text(scope.row), .text("\(id)")])
        }
        if let removed { return removed }
        throw RuntimeError(
            .notFound, step: "remove the key \(id)", cause: "\(scope) has no such key", next: "see `swiftlet trust ls`")
    }

    /// - Parameter policy: nil leaves it to the platform.
    package func setUnsigned(_ policy: UnsignedPolicy?, of tenant: String) throws(RuntimeError) {
        try change { (known, database) throws(RuntimeError) in
            known.unsigned[tenant] = policy
            try database.execute("DELETE FROM unsigned_policy WHERE tenant=?1", [.text(tenant)])
            guard let policy else { return }
            try database.execute(
                "INSERT INTO unsigned_policy VALUES (?1,?2)", [.text(tenant), .text(policy.rawValue)])
        }
    }

    /// Drops a tenant's list and policy: it is deleted.
    package func forget(_ tenant: String) throws(RuntimeError) {
        try change { (known, database) throws(RuntimeError) in
            known.keys[.tenant(tenant)] = nil
            known.unsigned[tenant] = nil
            for table in ["trusted_key", "unsigned_policy"] {
                try database.execute("DELETE FROM \(table) WHERE tenant=?1", [.text(tenant)])
            }
        }
    }

    private func change(_ body: (inout Known, Database) throws(RuntimeError) -> Void) throws(RuntimeError) {
        let result = writing.withLock { _ -> Result<Void, RuntimeError> in
            do throws(RuntimeError) {
                var next = known.withLock { $0 }
                // On the disk before anybody is judged by it.
                try database.transaction { () throws(RuntimeError) in try body(&next, database) }
                let stored = next
                known.withLock { $0 = stored }
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    // MARK: opening

    private static func load(_ database: Database, _ path: String) throws(RuntimeError) -> Known {
        var known = Known()
        try database.run("SELECT tenant,public_key,comment,added_at FROM trusted_key ORDER BY tenant,id") {
            (row) throws(RuntimeError) in
            do throws(SigningFault) {
                let key = try TrustedKey(PublicKey(Array(row[1].utf8)), comment: row[2], addedAt: Int64(row[3]) ?? 0)
                known.keys[TrustScope(row: row[0]), default: []].append(key)
            } catch {
                throw unreadable(path, "a key of \(TrustScope(row: row[0])): \(error.text)")
            }
        }
        try database.run("SELECT tenant,policy FROM unsigned_policy") { (row) throws(RuntimeError) in
            guard let policy = UnsignedPolicy(rawValue: row[1]) else {
                throw unreadable(path, "the policy of tenant \(row[0]) is unknown")
            }
            known.unsigned[row[0]] = policy
        }
        return known
    }

    private static func unreadable(_ path: String, _ cause: String) -> RuntimeError {
        RuntimeError(
            .unavailable, step: "read \(path)", cause: cause,
            next: "restore the file from a backup; removing it removes every trusted key")
    }
}

extension TrustScope {
    /// No tenant has an empty name.
    fileprivate var row: String {
        switch self {
        case .platform: ""
        case .tenant(let name): name
        }
    }

    fileprivate init(row: String) { self = row.isEmpty ? .platform : .tenant(row) }
}
