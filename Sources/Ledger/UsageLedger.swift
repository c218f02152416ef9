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
    private static let retryMilliseconds: UInt64 = 1000
    private static let tidyMilliseconds: UInt64 = 10_000

    private struct State {
        /// Rows that came since somebody needed `totals`: summing is left to those, so that callers don't wait for it.
        var fresh = UsageTapes()
        var waiting: [UsageTape] = []
        /// Rows in both, and in the batch that is being written.
        var held = 0
        /// Dropped and not yet written down as lost.
        var dropped: UInt64 = 0
        /// Rows that were taken and will never be stored, in all the ledger's life.
        var lost: UInt64 = 0
        var totals = UsageTotals()
        var remote: LoopRemote?
        var isScheduled = false
        var loggedAt: MonotonicTime?

        mutating func sum() {
            for tape in fresh.tapes { totals.add(tape) }
            waiting += fresh.tapes
            fresh = UsageTapes()
        }
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
            guard state.held < options.capacity else {
                state.totals.add(row)
                state.dropped += 1
                state.lost += 1
                return nil
            }
            state.fresh.append(row)
            state.held += 1
            guard !state.isScheduled, let remote = state.remote else { return nil }
            state.isScheduled = true
            return remote
        }
        remote?.submit { [self] loop in schedule(on: loop, after: Self.batchMilliseconds) }
    }

    package var totals: UsageTotals {
        state.withLock { state in
            state.sum()
            return state.totals
        }
    }

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
        state.withLock { state in
            state.sum()
            state.totals.forget(tenant)
        }
        let result = writing.withLock { _ in
            Result { () throws(RuntimeError) in try store.erase(tenant) }
        }
        return try result.get()
    }

    /// Stores all that waits, however much that is, unless it can't.
    private func flush() {
        while state.withLock({ $0.held > 0 || $0.dropped > 0 }), writeBatch() {}
    }

    private func schedule(on loop: EventLoop, after milliseconds: UInt64) {
        loop.schedule(at: .now.adding(milliseconds: milliseconds)) { [self] in write(on: loop) }
    }

    private func write(on loop: EventLoop) {
        let isWritten = writeBatch()
        let isMore = state.withLock { state in
            state.isScheduled = state.held > 0 || state.dropped > 0
            return state.isScheduled
        }
        if isMore { schedule(on: loop, after: isWritten ? Self.batchMilliseconds : Self.retryMilliseconds) }
    }

    /// Stores what waits now. False: it can't be stored, and waits on.
    private func writeBatch() -> Bool {
        writing.withLock { _ in
            let (tapes, dropped) = state.withLock { state in
                state.sum()
                defer { (state.waiting, state.dropped) = ([], 0) }
                return (state.waiting, state.dropped)
            }
            guard !tapes.isEmpty || dropped > 0 else { return true }
            do throws(RuntimeError) {
                try store.write(
                    tapes, lost: dropped, reason: "there was no room to keep them", now: WallClock.milliseconds)
                state.withLock { $0.held -= tapes.reduce(0) { $0 + $1.count } }
                return true
            } catch {
                takeBack(tapes, dropped, error)
                return false
            }
        }
    }

    /// What could not be stored waits on, before what came since.
    private func takeBack(_ tapes: [UsageTape], _ dropped: UInt64, _ error: RuntimeError) {
        let now = MonotonicTime.now
        let words = state.withLock { state -> [(String, String)]? in
            state.waiting = tapes + state.waiting
            state.dropped += dropped
            guard state.loggedAt.map({ now.since($0) >= 60_000_000_000 }) ?? true else { return nil }
            state.loggedAt = now
            return [("cause", "\(error)"), ("waiting", "\(state.held)"), ("dropped", "\(state.dropped)")]
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
