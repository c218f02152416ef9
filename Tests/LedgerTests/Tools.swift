// Rows and ledgers as the tests want them.
import Core
import Platform
import TestSupport

@testable import Ledger

/// A running ledger forgets what is older than its retention, by the real clock.
let today = WallClock.milliseconds

func row(
    _ tenant: String = "acme", _ name: String = "f", kind: UsageRow.Kind = .invoke, outcome: String = "success",
    principal: String = "local", at time: Int64 = today, run: UInt64 = 7, tokens: UInt64 = 0
) -> UsageRow {
    var row = UsageRow()
    row.time = time
    row.requestID = "req-\(time)"
    row.tenant = tenant
    row.principal = principal
    row.kind = kind
    row.name = name
    row.version = "1.0"
    row.route = kind == .invoke ? "fn" : "chat"
    row.outcome = outcome
    row.status = outcome == "success" ? 200 : 502
    row.runNanoseconds = run
    row.tokensOut = tokens
    return row
}

func tapes(_ rows: [UsageRow]) -> [UsageTape] {
    var tapes = UsageTapes()
    for row in rows { tapes.append(row) }
    return tapes.tapes
}

/// All rows of a ledger, over its pages.
func rows(_ reader: UsageReader, _ change: (inout UsageQuery) -> Void = { _ in }) throws -> [UsageRow] {
    var query = UsageQuery(since: 0, until: .max)
    query.rows = true
    query.limit = UsageQuery.mostPerPage
    change(&query)
    var rows: [UsageRow] = []
    while true {
        let page = try reader.read(query)
        rows += page.rows
        guard let next = page.next else { return rows }
        query.after = next
    }
}

/// A ledger and the loop that writes it, on a thread of its own.
final class Running {
    let ledger: UsageLedger
    private let remote: LoopRemote
    private var thread: LoopThread?
    private var isStopped = false

    init(_ ledger: UsageLedger) throws {
        self.ledger = ledger
        let loop = try EventLoop(index: 0)
        remote = loop.remote
        ledger.start(on: loop)
        // SAFETY: the loop is touched by its own thread alone once that runs.
        nonisolated(unsafe) let own = loop
        thread = try LoopThread { unsafe own.run() }
    }

    func stop() {
        guard !isStopped else { return }
        isStopped = true
        remote.submit { $0.stop() }
        thread.take()?.join()
        ledger.close()
    }

    deinit { stop() }
}
