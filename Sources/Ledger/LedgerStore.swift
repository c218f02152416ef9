// The ledger's tables: rows, their sums by hour and by day in the same transaction, and what was lost.
internal import Core
internal import Storage

/// For one thread at a time: its owner holds a lock around each use.
final class LedgerStore: Sendable {
    static let hour: Int64 = 3_600_000
    static let day: Int64 = 86_400_000

    private static let version: Int64 = 1
    private static let sums = """
        calls INTEGER NOT NULL, cold INTEGER NOT NULL, queued INTEGER NOT NULL, run INTEGER NOT NULL,
        device INTEGER NOT NULL, cpu INTEGER NOT NULL, memory INTEGER NOT NULL, tokens_in INTEGER NOT NULL,
        tokens_cached INTEGER NOT NULL, tokens_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL
        """

    private static func rollUpTable(_ name: String) -> String {
        """
        CREATE TABLE \(name) (
            start INTEGER NOT NULL, tenant TEXT NOT NULL, principal TEXT NOT NULL, kind TEXT NOT NULL,
            name TEXT NOT NULL, class TEXT NOT NULL, \(sums),
            PRIMARY KEY (start, tenant, principal, kind, name, class)) STRICT, WITHOUT ROWID
        """
    }

    private static let tables = [
        // The id holds the time, so that no index is needed for it: milliseconds << 20, and never less than the one before.
        """
        CREATE TABLE call (
            id INTEGER PRIMARY KEY, time INTEGER NOT NULL, request TEXT NOT NULL, tenant TEXT NOT NULL,
            principal TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, route TEXT NOT NULL,
            outcome TEXT NOT NULL, status INTEGER NOT NULL, cold INTEGER NOT NULL, queued INTEGER NOT NULL,
            run INTEGER NOT NULL, device INTEGER NOT NULL, cpu INTEGER, memory INTEGER, tokens_in INTEGER NOT NULL,
            tokens_cached INTEGER NOT NULL, tokens_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL,
            bytes_out INTEGER NOT NULL) STRICT
        """,
        rollUpTable("hour"), rollUpTable("day"),
        "CREATE TABLE lost (time INTEGER NOT NULL, count INTEGER NOT NULL, reason TEXT NOT NULL) STRICT",
        // How many of the rows that were taken are stored or lost.
        "CREATE TABLE accounted (one INTEGER PRIMARY KEY CHECK (one=1), count INTEGER NOT NULL) STRICT",
        "INSERT INTO accounted VALUES (1,0)",
    ]

    private static let insertRow =
        "INSERT INTO call VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22)"

    private static func upsert(_ table: String) -> String {
        "INSERT INTO \(table) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18) "
            + "ON CONFLICT DO UPDATE SET memory=max(memory,excluded.memory),"
            + [
                "calls", "cold", "queued", "run", "device", "cpu", "tokens_in", "tokens_cached", "tokens_out",
                "bytes_in",
                "bytes_out",
            ].map { "\($0)=\($0)+excluded.\($0)" }.joined(separator: ",")
    }

    private struct RollUp {
        let table: String
        /// Milliseconds.
        let length: Int64
        let upsert: String

        init(_ table: String, _ length: Int64) {
            self.table = table
            self.length = length
            upsert = LedgerStore.upsert(table)
        }
    }

    private static let rollUps = [RollUp("hour", hour), RollUp("day", day)]

    private struct Group: Hashable {
        let start: Int64
        let tenant, principal: String
        let kind: UsageRow.Kind
        let name: String
        let outcome: UsageRow.Class
    }

    private let database: Database

    init(path: String) throws(RuntimeError) {
        // A machine that loses its power may give back the last moments; each batch would cost a flush else.
        database = try Database(path: path, survivesPowerLoss: false, patience: 1000)
        var version: Int64 = 0
        try database.execute("PRAGMA user_version") { version = $0.integer(0) }
        guard version <= Self.version else {
            throw RuntimeError(
                .conflict, step: "open \(path)",
                cause: "its schema is version \(version), and this program knows versions up to \(Self.version)",
                next: "run a newer swiftlet, or move the file away to begin a new ledger")
        }
        guard version == 0 else { return }
        // Before the first table; a file that has a header takes it with a VACUUM only.
        try database.run("PRAGMA auto_vacuum=INCREMENTAL")
        try database.run("VACUUM")
        try database.transaction { () throws(RuntimeError) in
            for table in Self.tables { try database.run(table) }
            try database.run("PRAGMA user_version=\(Self.version)")
        }
    }

    /// Rows of those that were ever taken of which it is known what became of them.
    func accounted() throws(RuntimeError) -> UInt64 {
        try number("SELECT count FROM accounted")
    }

    func lost() throws(RuntimeError) -> UInt64 { try number("SELECT coalesce(sum(count),0) FROM lost") }

    private func number(_ sql: String) throws(RuntimeError) -> UInt64 {
        var number: Int64 = 0
        try database.execute(sql) { number = $0.integer(0) }
        return UInt64(clamping: number)
    }

    /// Stores rows, their sums, and that others were lost: all, or nothing.
    func write(_ rows: [UsageRow], lost: UInt64, reason: String, now: Int64) throws(RuntimeError) {
        try database.transaction { () throws(RuntimeError) in
            var last: Int64 = 0
            try database.execute("SELECT coalesce(max(id),0) FROM call") { last = $0.integer(0) }
            var groups: [[Group: UsageSums]] = Self.rollUps.map { _ in [:] }
            for row in rows {
                last = max(last + 1, Self.firstID(at: row.time))
                try insert(row, id: last)
                for (index, rollUp) in Self.rollUps.enumerated() {
                    groups[index][Self.group(of: row, every: rollUp.length), default: UsageSums()].add(row)
                }
            }
            for (rollUp, groups) in zip(Self.rollUps, groups) {
                for (group, sums) in groups { try add(sums, to: group, rollUp.upsert) }
            }
            if lost > 0 {
                try database.execute(
                    "INSERT INTO lost VALUES (?1,?2,?3)", [.integer(now), SQLValue(lost), .text(reason)])
            }
            try database.execute("UPDATE accounted SET count=count+?1", [SQLValue(UInt64(rows.count) + lost)])
        }
    }

    /// No row of this moment, or a later one, has a smaller id.
    static func firstID(at time: Int64) -> Int64 { max(0, min(time, Int64.max >> 20)) << 20 }

    private static func group(of row: UsageRow, every length: Int64) -> Group {
        Group(
            start: row.time / length * length, tenant: row.tenant, principal: row.principal, kind: row.kind,
            name: row.name, outcome: row.outcomeClass)
    }

    private func insert(_ row: UsageRow, id: Int64) throws(RuntimeError) {
        try database.execute(
            Self.insertRow,
            [
                .integer(id), .integer(row.time), .text(row.requestID), .text(row.tenant), .text(row.principal),
                .text(row.kind.rawValue), .text(row.name), .text(row.version), .text(row.route), .text(row.outcome),
                .integer(Int64(row.status)), SQLValue(row.isCold), SQLValue(row.queuedNanoseconds),
                SQLValue(row.runNanoseconds), SQLValue(row.deviceNanoseconds), SQLValue(row.cpuNanoseconds),
                SQLValue(row.memoryPeakBytes), SQLValue(row.tokensIn), SQLValue(row.tokensCached),
                SQLValue(row.tokensOut), SQLValue(row.bytesIn), SQLValue(row.bytesOut),
            ])
    }

    private func add(_ sums: UsageSums, to group: Group, _ sql: String) throws(RuntimeError) {
        try database.execute(
            sql,
            [
                .integer(group.start), .text(group.tenant), .text(group.principal), .text(group.kind.rawValue),
                .text(group.name), .text(group.outcome.rawValue), SQLValue(sums.calls), SQLValue(sums.cold),
                SQLValue(sums.queuedNanoseconds), SQLValue(sums.runNanoseconds), SQLValue(sums.deviceNanoseconds),
                SQLValue(sums.cpuNanoseconds), SQLValue(sums.memoryPeakBytes), SQLValue(sums.tokensIn),
                SQLValue(sums.tokensCached), SQLValue(sums.tokensOut), SQLValue(sums.bytesIn), SQLValue(sums.bytesOut),
            ])
    }

    /// Deletes all rows and sums of a tenant. Returns how many.
    func erase(_ tenant: String) throws(RuntimeError) -> Int {
        var count = 0
        try database.transaction { () throws(RuntimeError) in
            for table in ["call"] + Self.rollUps.map(\.table) {
                try database.execute("DELETE FROM \(table) WHERE tenant=?1", [.text(tenant)])
                count += database.changes
            }
        }
        return count
    }

    // MARK: what is old

    /// Deletes some of what is older, and gives pages back to the disk. True: there is more to do.
    func tidy(rowsBefore: Int64, rollUpsBefore: Int64) throws(RuntimeError) -> Bool {
        let most = 5000
        try database.execute(
            "DELETE FROM call WHERE id IN (SELECT id FROM call WHERE id<?1 ORDER BY id LIMIT \(most))",
            [.integer(Self.firstID(at: rowsBefore))])
        var isMore = database.changes == most
        for rollUp in Self.rollUps {
            // One hour, or day, at a time.
            try database.execute(
                "DELETE FROM \(rollUp.table) WHERE start=(SELECT min(start) FROM \(rollUp.table)) AND start<?1",
                [.integer(rollUpsBefore - rollUp.length)])
            isMore = isMore || database.changes > 0
        }
        try database.execute("PRAGMA incremental_vacuum(256)")
        return isMore
    }
}
