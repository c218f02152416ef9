// Reads the ledger through a connection of its own, beside the writer's; where waiting for a disk hurts nobody.
package import Core
internal import Storage
internal import Synchronization

package final class UsageReader: Sendable {
    private let path: String
    private let database = Mutex<Database?>(nil)

    /// - Parameter path: of a file that the ledger has opened.
    init(path: String) { self.path = path }

    /// Reads one page. Blocks.
    package func read(_ query: UsageQuery) throws(RuntimeError) -> UsagePage {
        let page = database.withLock { kept -> Result<UsagePage, RuntimeError> in
            do throws(RuntimeError) {
                if kept == nil { kept = try Database(path: path, survivesPowerLoss: false, patience: 1000) }
                guard let database = kept else { return .success(UsagePage(query: query)) }
                return .success(try query.rows ? Self.rows(query, database) : Self.groups(query, database))
            } catch {
                kept = nil
                return .failure(error)
            }
        }
        return try page.get()
    }

    // MARK: single rows

    private static let tapesAtOnce = 64

    private static func rows(_ query: UsageQuery, _ database: Database) throws(RuntimeError) -> UsagePage {
        var page = UsagePage(query: query)
        // No row's time is later than its id says: so no index is needed, and a clock that was set back loses no row.
        let first = max(query.after + 1, LedgerStore.firstID(at: query.since))
        var (last, tape): (Int64, Int64) = (0, first - Int64(UsageTapes.rowsPerTape))
        var isMore = true
        while isMore, page.next == nil {
            var read = 0
            var damaged: Int64?
            try database.execute(
                "SELECT id,tenant,count,rows FROM call WHERE id>?1 AND id+count>?2 AND (?3 IS NULL OR tenant=?3) "
                    + "ORDER BY id LIMIT \(tapesAtOnce)",
                [.integer(tape), .integer(first), SQLValue(query.tenant)]
            ) { columns in
                guard page.next == nil, damaged == nil else { return }
                (tape, read) = (columns.integer(0), read + 1)
                var id = tape - 1
                let rows = UsageTape(tenant: columns.text(1), count: Int(columns.integer(2)), bytes: columns.blob(3))
                let isWhole = rows.forEach { row in
                    id += 1
                    guard page.next == nil, id >= first, query.isOf(row) else { return }
                    guard page.rows.count < query.limit else { return page.next = last }
                    last = id
                    page.rows.append(row)
                }
                if !isWhole { damaged = tape }
            }
            if let damaged {
                throw RuntimeError(
                    .internalError, step: "read the rows \(damaged) of \(database.path)", cause: "they are damaged",
                    next:
                        "sums by hour and by day are kept apart from them; a backup may have the rows (docs/backup.md)")
            }
            isMore = read == tapesAtOnce
        }
        return page
    }

    private static func count(_ row: borrowing Row, _ column: Int) -> UInt64 { UInt64(clamping: row.integer(column)) }

    // MARK: sums

    /// Columns that make a group, in the order in which the answer has them.
    private static func columns(of by: UsageQuery.Grouping) -> (names: [String], kind: UsageRow.Kind?) {
        switch by {
        case .hour, .day: (["start"], nil)
        case .key: (["tenant", "principal"], nil)
        case .function: (["tenant", "name"], .invoke)
        case .model: (["tenant", "name"], .model)
        case .name: (["tenant", "kind", "name"], nil)
        }
    }

    private static func groups(_ query: UsageQuery, _ database: Database) throws(RuntimeError) -> UsagePage {
        let (names, kind) = columns(of: query.by)
        let (table, length) = query.by == .day ? ("day", LedgerStore.day) : ("hour", LedgerStore.hour)
        let list = names.joined(separator: ",")
        var page = UsagePage(query: query)
        page.query.since = query.since / length * length
        // Classes side by side, so that a page ends between two groups.
        let classes = UsageRow.Class.allCases.map { "sum(CASE class WHEN '\($0.rawValue)' THEN calls ELSE 0 END)" }
        try database.execute(
            "SELECT \(list),sum(calls),sum(cold),sum(queued),sum(run),sum(device),sum(cpu),max(memory),sum(tokens_in),"
                + "sum(tokens_cached),sum(tokens_out),sum(bytes_in),sum(bytes_out),\(classes.joined(separator: ",")) "
                + "FROM \(table) WHERE start>=?1 AND start<?2 AND (?3 IS NULL OR tenant=?3) "
                + "AND (?4 IS NULL OR principal=?4) AND (?5 IS NULL OR kind=?5) GROUP BY \(list) ORDER BY \(list) "
                + "LIMIT ?6 OFFSET ?7",
            [
                .integer(page.query.since), .integer(query.until), SQLValue(query.tenant), SQLValue(query.principal),
                SQLValue(kind?.rawValue), .integer(Int64(query.limit + 1)), .integer(query.after),
            ]
        ) { row in
            guard page.groups.count < query.limit else { return page.next = query.after + Int64(query.limit) }
            page.groups.append(group(row, names, kind))
        }
        return page
    }

    private static func group(_ row: borrowing Row, _ names: [String], _ kind: UsageRow.Kind?) -> UsageGroup {
        var group = UsageGroup()
        group.kind = kind
        for (column, name) in names.enumerated() {
            switch name {
            case "start": group.start = row.integer(column)
            case "tenant": group.tenant = row.text(column)
            case "principal": group.principal = row.text(column)
            case "kind": group.kind = UsageRow.Kind(rawValue: row.text(column))
            default: group.name = row.text(column)
            }
        }
        let first = names.count
        group.sums.calls = count(row, first)
        group.sums.cold = count(row, first + 1)
        group.sums.queuedNanoseconds = count(row, first + 2)
        group.sums.runNanoseconds = count(row, first + 3)
        group.sums.deviceNanoseconds = count(row, first + 4)
        group.sums.cpuNanoseconds = count(row, first + 5)
        group.sums.memoryPeakBytes = count(row, first + 6)
        group.sums.tokensIn = count(row, first + 7)
        group.sums.tokensCached = count(row, first + 8)
        group.sums.tokensOut = count(row, first + 9)
        group.sums.bytesIn = count(row, first + 10)
        group.sums.bytesOut = count(row, first + 11)
        for (index, outcome) in UsageRow.Class.allCases.enumerated() {
            let calls = count(row, first + 12 + index)
            if calls > 0 { group.classes[outcome] = calls }
        }
        return group
    }
}

extension UsageQuery {
    fileprivate func isOf(_ row: UsageRow) -> Bool {
        row.time >= since && row.time < until && (principal == nil || principal == row.principal)
    }
}
