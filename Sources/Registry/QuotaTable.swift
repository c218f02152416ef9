// What tenants have taken of their quotas, kept between two lives of the host; Inference's ledger decides what that means.
package import Core
internal import Storage

/// A table of one row for each tenant and meter. Used from one thread.
package final class QuotaTable: Sendable {
    package typealias Row = (tenant: String, meter: String, window: Int64, taken: Int64)

    private let database: Database

    /// - Parameter stateDirectory: one that `Registry` has claimed.
    package init(stateDirectory: String) throws(RuntimeError) {
        // A machine that loses its power may give back the last moments of a quota; each write would cost a flush else.
        database = try Database(path: "\(stateDirectory)/quotas.db", survivesPowerLoss: false)
        try database.run(
            """
            CREATE TABLE IF NOT EXISTS quota (
                tenant TEXT NOT NULL, meter TEXT NOT NULL, window INTEGER NOT NULL, taken INTEGER NOT NULL,
                PRIMARY KEY (tenant, meter)) STRICT, WITHOUT ROWID
            """)
    }

    package func load() throws(RuntimeError) -> [Row] {
        var rows: [Row] = []
        try database.run("SELECT tenant,meter,window,taken FROM quota") { row in
            rows.append((row[0], row[1], Int64(row[2]) ?? 0, Int64(row[3]) ?? .max))
        }
        return rows
    }

    /// Stores rows in place of those of the same tenant and meter: all, or none.
    package func write(_ rows: [Row]) throws(RuntimeError) {
        try database.transaction { () throws(RuntimeError) in
            for row in rows {
                try database.run(
                    "INSERT OR REPLACE INTO quota VALUES (?1,?2,CAST(?3 AS INTEGER),CAST(?4 AS INTEGER))",
                    [row.tenant, row.meter, String(row.window), String(row.taken)])
            }
        }
    }
}
