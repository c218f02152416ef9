// The ledger's tables: tapes of rows, their sums by hour and by day in the same transaction, and what was lost.
internal import Core
internal import Storage

/// For one thread at a time: its owner holds a lock around each use.
final class LedgerStore: Sendable {
    static let hour: Int64 = 3_600_000
    static let day: Int64 = 86_400_000

    private static let version: Int64 = 2
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
        // Rows of a tenant that were stored together, as UsageTape has them. The id is the first one's, and the others' follow it. It
        // holds the time, so that no index is needed for it: milliseconds << 20, and never less than the one before.
        """
        CREATE TABLE call (
            id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, count INTEGER NOT NULL, rows BLOB NOT NULL) STRICT
        """,
        rollUpTable("hour"), rollUpTable("day"),
        "CREATE TABLE lost (time INTEGER NOT NULL, count INTEGER NOT NULL, reason TEXT NOT NULL) STRICT",
        // How many of the rows that were taken are stored or lost.
        "CREATE TABLE accounted (one INTEGER PRIMARY KEY CHECK (one=1), count INTEGER NOT NULL) STRICT",
        "INSERT INTO accounted VALUES (1,0)",
    ]

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
        /// Milliseconds. Each is whole times the one before.
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
        var start: Int64
        let tenant, principal: String
        let kind: UsageRow.Kind
        let name: String
        let outcome: UsageRow.Class

        init(ofHour row: UsageRow) {
            start = row.time / hour * hour
            tenant = row.tenant
            principal = row.principal
            kind = row.kind
            name = row.name
            outcome = row.outcomeClass
        }
    }

    private let database: Database

    init(path: String) throws(RuntimeError) {
        // A machine that loses its power may give back the last moments; each batch would cost a flush else.
        database = try Database(path: path, survivesPowerLoss: false, patience: 1000)
        var version: Int64 = 0
        try database.execute("PRAGMA user_version") { version = $0.integer(0) }
        guard version == 0 || version == Self.version else {
            throw RuntimeError(
                .conflict, step: "open \(path)",
                cause: "its schema is version \(version), and this program knows version \(Self.version)",
                next: "run the swiftlet that made it, or move the file away to begin a new ledger")
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
    func write(_ tapes: [UsageTape], lost: UInt64, reason: String, now: Int64) throws(RuntimeError) {
        try database.transaction { () throws(RuntimeError) in
            var next: Int64 = 0
            try database.execute(
                "SELECT coalesce(max(id+count),0) FROM (SELECT id,count FROM call ORDER BY id DESC LIMIT 1)"
            ) {
                next = $0.integer(0)
            }
            var groups: [Group: UsageSums] = [:]
            for tape in tapes {
                let id = max(next, Self.firstID(at: tape.latest))
                try database.execute(
                    "INSERT INTO call VALUES (?1,?2,?3,?4)",
                    [.integer(id), .text(tape.tenant), .integer(Int64(tape.count)), .blob(tape.bytes)])
                next = id + Int64(tape.count)
                for (first, sums) in tape.sums { groups[Group(ofHour: first), default: UsageSums()].add(sums) }
            }
            for rollUp in Self.rollUps {
                groups = Self.rolledUp(groups, every: rollUp.length)
                try database.execute(rollUp.upsert, each: Array(groups)) { Self.bind($1.value, of: $1.key, to: &$0) }
            }
            if lost > 0 {
                try database.execute(
                    "INSERT INTO lost VALUES (?1,?2,?3)", [.integer(now), SQLValue(lost), .text(reason)])
            }
            try database.execute(
                "UPDATE accounted SET count=count+?1", [SQLValue(tapes.reduce(lost) { $0 + UInt64($1.count) })])
        }
    }

    /// No row of this moment, or a later one, has a smaller id.
    static func firstID(at time: Int64) -> Int64 { max(0, min(time, Int64.max >> 20)) << 20 }

    private static func rolledUp(_ groups: [Group: UsageSums], every length: Int64) -> [Group: UsageSums] {
        var sums: [Group: UsageSums] = [:]
        for (var group, part) in groups {
            group.start = group.start / length * length
            sums[group, default: UsageSums()].add(part)
        }
        return sums
    }

    private static func bind(_ sums: UsageSums, of group: Group, to values: inout Binding) {
        values.add(group.start)
        values.add(group.tenant)
        values.add(group.principal)
        values.add(group.kind.rawValue)
        values.add(group.name)
        values.add(group.outcome.rawValue)
        values.add(sums.calls)
        values.add(sums.cold)
        values.add(sums.queuedNanoseconds)
        values.add(sums.runNanoseconds)
        values.add(sums.deviceNanoseconds)
        values.add(sums.cpuNanoseconds)
        values.add(sums.memoryPeakBytes)
        values.add(sums.tokensIn)
        values.add(sums.tokensCached)
        values.add(sums.tokensOut)
        values.add(sums.bytesIn)
        values.add(sums.bytesOut)
    }

    /// Deletes all rows and sums of a tenant. Returns how many.
    func erase(_ tenant: String) throws(RuntimeError) -> Int {
        var count = 0
        try database.transaction { () throws(RuntimeError) in
            try database.execute("SELECT coalesce(sum(count),0) FROM call WHERE tenant=?1", [.text(tenant)]) {
                count = Int($0.integer(0))
            }
            try database.execute("DELETE FROM call WHERE tenant=?1", [.text(tenant)])
            for table in Self.rollUps.map(\.table) {
                try database.execute("DELETE FROM \(table) WHERE tenant=?1", [.text(tenant)])
                count += database.changes
            }
        }
        return count
    }

    // MARK: what is old

    /// Deletes some of what is older, and gives pages back to the disk. True: there is more to do.
    func tidy(rowsBefore: Int64, rollUpsBefore: Int64) throws(RuntimeError) -> Bool {
        // What is overwritten and given back at once: so many tapes, and so many bytes beyond the first.
        let (most, bytes) = (5000, 1 << 20)
        try database.execute(
            """
            DELETE FROM call WHERE id IN (
                SELECT id FROM (
                    SELECT id, sum(length(rows)) OVER (ORDER BY id) - length(rows) AS before FROM (
                        SELECT id, rows FROM call WHERE id<?1 ORDER BY id LIMIT \(most))) WHERE before<\(bytes))
            """,
            [.integer(Self.firstID(at: rowsBefore))])
        var isMore = database.changes > 0
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
