// The usage ledger's door: any thread leaves rows here without waiting; one loop writes them down in batches.
package import Core
internal import Glibc
package import Platform
internal import Synchronization

/// Rows wait in memory for at most `batchMilliseconds` and are stored in one transaction. What is taken and not stored is counted:
/// by a page that survives `kill -9`, and by name when the disk is full.
package final class UsageLedger: Sendable {
    package struct Options: Sendable {
        /// Days that single rows are kept.
        package var rowDays = 7
        package var rollUpDays = 400
        /// Rows that may wait while the disk takes none.
        package var capacity = 65_536
        /// False: nothing is taken, and the ledger stays as it is.
        package var isOn = true
        package init() {}
    }

    private static let batchMilliseconds: UInt64 = 50
    private static let rowsPerBatch = 8192
    private static let retryMilliseconds: UInt64 = 1000
    private static let tidyMilliseconds: UInt64 = 10_000

    private struct State {
        var waiting: [UsageRow] = []
        /// Dropped and not yet written down as lost.
        var dropped: UInt64 = 0
        /// Rows that were taken and will never be stored, in all the ledger's life.
        var lost: UInt64 = 0
        var totals = UsageTotals()
        var remote: LoopRemote?
        var isScheduled = false
        var loggedAt: MonotonicTime?
    }

    private let state: Mutex<State>
    /// Under the lock of `state`.
    private let page: CounterPage
    /// Under `writing`.
    private let store: LedgerStore
    private let writing = Mutex(())
    private let options: Options
    package let reader: UsageReader

    /// Opens the ledger of a state directory and counts what an earlier life lost.
    ///
    /// - Parameter stateDirectory: one that `Registry` has claimed.
    package init(stateDirectory: String, options: Options = Options(), now: Int64 = WallClock.milliseconds)
        throws(RuntimeError)
    {
        let path = "\(stateDirectory)/usage.db"
        self.options = options
        store = try LedgerStore(path: path)
        page = try CounterPage(path: "\(stateDirectory)/usage.taken")
        let accounted = try store.accounted()
        if page.taken > accounted {
            try store.write([], lost: page.taken - accounted, reason: "the host was killed", now: now)
        }
        // After a power cut, or without its file, the page may be the older one.
        page.taken = max(page.taken, accounted)
        var state = State()
        state.lost = try store.lost()
        self.state = Mutex(state)
        reader = UsageReader(path: path)
    }

    // MARK: from any thread

    /// Counts a row that will be recorded: from here on it is stored, or counted as lost. Call it before the caller is answered.
    package func take() {
        guard options.isOn else { return }
        state.withLock { _ in page.taken += 1 }
    }

    /// Leaves a row to be stored.
    ///
    /// - Parameter isTaken: `take` was called for it.
    package func record(_ row: UsageRow, isTaken: Bool = false) {
        guard options.isOn else { return }
        let remote = state.withLock { state -> LoopRemote? in
            if !isTaken { page.taken += 1 }
            state.totals.add(row)
            guard state.waiting.count < options.capacity else {
                state.dropped += 1
                state.lost += 1
                return nil
            }
            state.waiting.append(row)
            guard !state.isScheduled, let remote = state.remote else { return nil }
            state.isScheduled = true
            return remote
        }
        remote?.submit { [self] loop in schedule(on: loop, after: Self.batchMilliseconds) }
    }

    package var totals: UsageTotals { state.withLock(\.totals) }

    /// Rows that were taken and will never be stored.
    package var lost: UInt64 { state.withLock(\.lost) }

    // MARK: the writer

    /// Writes on this loop from now on, which does nothing that others wait for.
    package func start(on loop: EventLoop) {
        state.withLock {
            $0.remote = loop.remote
            $0.isScheduled = true
        }
        loop.remote.submit { [self] loop in
            write(on: loop)
            tidy(on: loop)
        }
    }

    /// Stores what waits, after the loop has ended.
    package func close() {
        state.withLock { $0.remote = nil }
        flush()
    }

    /// Deletes what there is of a tenant: rows, sums and counters. Returns how many rows and sums. Blocks.
    package func erase(_ tenant: String) throws(RuntimeError) -> Int {
        // What waits is stored first, so that nothing of it comes behind.
        flush()
        state.withLock { $0.totals.forget(tenant) }
        let result = writing.withLock { _ in
            Result { () throws(RuntimeError) in try store.erase(tenant) }
        }
        return try result.get()
    }

    /// Stores all that waits, however much that is, unless it can't.
    private func flush() {
        while writeBatch() != .failed, state.withLock({ !$0.waiting.isEmpty }) {}
    }

    private enum Progress { case more, nothing, failed }

    private func schedule(on loop: EventLoop, after milliseconds: UInt64) {
        loop.schedule(at: .now.adding(milliseconds: milliseconds)) { [self] in write(on: loop) }
    }

    private func write(on loop: EventLoop) {
        switch writeBatch() {
        case .more: schedule(on: loop, after: 0)
        case .failed: schedule(on: loop, after: Self.retryMilliseconds)
        case .nothing:
            let more = state.withLock { state in
                state.isScheduled = !state.waiting.isEmpty
                return state.isScheduled
            }
            if more { schedule(on: loop, after: Self.batchMilliseconds) }
        }
    }

    private func writeBatch() -> Progress { writing.withLock { _ in writeNext() } }

    private func writeNext() -> Progress {
        let (rows, dropped) = state.withLock { state -> ([UsageRow], UInt64) in
            var batch: [UsageRow] = []
            if state.waiting.count <= Self.rowsPerBatch {
                swap(&batch, &state.waiting)
            } else {
                batch = Array(state.waiting[..<Self.rowsPerBatch])
                state.waiting.removeFirst(Self.rowsPerBatch)
            }
            defer { state.dropped = 0 }
            return (batch, state.dropped)
        }
        guard !rows.isEmpty || dropped > 0 else { return .nothing }
        do throws(RuntimeError) {
            try store.write(rows, lost: dropped, reason: "there was no room to keep them", now: WallClock.milliseconds)
            return state.withLock { $0.waiting.count } >= Self.rowsPerBatch ? .more : .nothing
        } catch {
            takeBack(rows, dropped, error)
            return .failed
        }
    }

    /// What could not be stored waits on, before what came since; beyond the bound the newest are lost.
    private func takeBack(_ rows: [UsageRow], _ dropped: UInt64, _ error: RuntimeError) {
        let now = MonotonicTime.now
        let words = state.withLock { state -> [(String, String)]? in
            state.waiting.insert(contentsOf: rows, at: 0)
            state.dropped += dropped
            let over = state.waiting.count - options.capacity
            if over > 0 {
                state.waiting.removeLast(over)
                state.dropped += UInt64(over)
                state.lost += UInt64(over)
            }
            guard state.loggedAt.map({ now.since($0) >= 60_000_000_000 }) ?? true else { return nil }
            state.loggedAt = now
            return [
                ("cause", "\(error)"), ("waiting", "\(state.waiting.count)"), ("dropped", "\(state.dropped)"),
            ]
        }
        if let words { Log.error("the usage ledger can't be written; rows wait in memory, and calls go on", words) }
    }

    /// Lets old rows go, a bounded number at a time.
    private func tidy(on loop: EventLoop) {
        let isMore = writing.withLock { _ in
            do throws(RuntimeError) {
                return try store.tidy(
                    rowsBefore: WallClock.milliseconds - Int64(options.rowDays) * 86_400_000,
                    rollUpsBefore: WallClock.milliseconds - Int64(options.rollUpDays) * 86_400_000)
            } catch {
                Log.error("the usage ledger can't be tidied", [("cause", "\(error)")])
                return false
            }
        }
        loop.schedule(at: .now.adding(milliseconds: isMore ? 200 : Self.tidyMilliseconds)) { [self] in tidy(on: loop) }
    }
}
