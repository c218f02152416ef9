// What tenants, keys and the platform have taken of their quotas, kept between two lives of the host; Inference's ledger decides
// what that means.
package import Core
internal import Storage

/// A table of one row for each owner and meter. Used from one thread.
package final class QuotaTable: Sendable {
    /// `level`: whose it is, `tenant`, `key` or `platform`; `owner`: its name.
    package typealias Row = (level: String, owner: String, meter: String, window: Int64, taken: Int64)

    private static let migrations = [
        // Files of programs that knew no versions have it.
        """
        CREATE TABLE IF NOT EXISTS quota (
            tenant TEXT NOT NULL, meter TEXT NOT NULL, window INTEGER NOT NULL, taken INTEGER NOT NULL,
            PRIMARY KEY (tenant, meter)) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE taken (
            level TEXT NOT NULL, owner TEXT NOT NULL, meter TEXT NOT NULL, window INTEGER NOT NULL,
            taken INTEGER NOT NULL, PRIMARY KEY (level, owner, meter)) STRICT, WITHOUT ROWID
        """,
        "INSERT INTO taken SELECT 'tenant',tenant,meter,window,taken FROM quota",
        "DROP TABLE quota",
    ]

    private let database: Database

    /// - Parameter stateDirectory: one that `Registry` has claimed.
    package init(stateDirectory: String) throws(RuntimeError) {
        // A machine that loses its power may give back the last moments of a quota; each write would cost a flush else.
        database = try Database(path: "\(stateDirectory)/quotas.db", survivesPowerLoss: false)
        try database.migrate(Self.migrations)
    }

    package func load() throws(RuntimeError) -> [Row] {
        var rows: [Row] = []
        try database.run("SELECT level,owner,meter,window,taken FROM taken") { row in
            rows.append((row[0], row[1], row[2], Int64(row[3]) ?? 0, Int64(row[4]) ?? .max))
        }
        return rows
    }

    /// Stores rows in place of those of the same owner and meter: all, or none.
    package func write(_ rows: [Row]) throws(RuntimeError) {
        try database.transaction { () throws(RuntimeError) in
            for row in rows {
                try database.run(
                    "INSERT OR REPLACE INTO taken VALUES (?1,?2,?3,CAST(?4 AS INTEGER),CAST(?5 AS INTEGER))",
                    [row.level, row.owner, row.meter, String(row.window), String(row.taken)])
            }
        }
    }

    /// Removes all rows of these owners.
    package func remove(_ owners: [(level: String, owner: String)]) throws(RuntimeError) {
        try database.transaction { () throws(RuntimeError) in
            for gone in owners {
                try database.run("DELETE FROM taken WHERE level=?1 AND owner=?2", [gone.level, gone.owner])
            }
        }
    }
}
