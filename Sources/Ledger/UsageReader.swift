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

    private static func rows(_ query: UsageQuery, _ database: Database) throws(RuntimeError) -> UsagePage {
        var page = UsagePage(query: query)
        var last: Int64 = 0
        // The id is never smaller than its time says: so no index is needed, and a clock that was set back loses no row.
        try database.execute(
            "SELECT id,time,request,tenant,principal,kind,name,version,route,outcome,status,cold,queued,run,device,cpu,"
                + "memory,tokens_in,tokens_cached,tokens_out,bytes_in,bytes_out FROM call "
                + "WHERE id>=?1 AND id>?2 AND time>=?3 AND time<?4 AND (?5 IS NULL OR tenant=?5) "
                + "AND (?6 IS NULL OR principal=?6) ORDER BY id LIMIT ?7",
            [
                .integer(LedgerStore.firstID(at: query.since)), .integer(query.after), .integer(query.since),
                .integer(query.until), SQLValue(query.tenant), SQLValue(query.principal),
                .integer(Int64(query.limit + 1)),
            ]
        ) { row in
            guard page.rows.count < query.limit else { return page.next = last }
            last = row.integer(0)
            page.rows.append(usageRow(row))
        }
        return page
    }

    private static func usageRow(_ row: borrowing Row) -> UsageRow {
        var usage = UsageRow()
        usage.time = row.integer(1)
        usage.requestID = row.text(2)
        usage.tenant = row.text(3)
        usage.principal = row.text(4)
        usage.kind = UsageRow.Kind(rawValue: row.text(5)) ?? .invoke
        usage.name = row.text(6)
        usage.version = row.text(7)
        usage.route = row.text(8)
        usage.outcome = row.text(9)
        usage.status = Int(row.integer(10))
        usage.isCold = row.integer(11) != 0
        usage.queuedNanoseconds = count(row, 12)
        usage.runNanoseconds = count(row, 13)
        usage.deviceNanoseconds = count(row, 14)
        usage.cpuNanoseconds = row.isNull(15) ? nil : count(row, 15)
        usage.memoryPeakBytes = row.isNull(16) ? nil : count(row, 16)
        usage.tokensIn = count(row, 17)
        usage.tokensCached = count(row, 18)
        usage.tokensOut = count(row, 19)
        usage.bytesIn = count(row, 20)
        usage.bytesOut = count(row, 21)
        return usage
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
