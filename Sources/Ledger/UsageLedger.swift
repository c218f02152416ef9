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
        /// What was on the desks, summed already.
        var waiting: [UsageTape] = []
        /// Dropped and not yet written down as lost.
        var dropped: UInt64 = 0
        /// Rows that were taken and will never be stored, in all the ledger's life.
        var lost: UInt64 = 0
        var totals = UsageTotals()
        var remote: LoopRemote?
        var loggedAt: MonotonicTime?
    }

    /// Where rows are left: each loop has its own, because what two cores write by turns costs each of them more than the row.
    private let desks: [UsageDesk]
    /// How many more rows may be held, on desks, waiting, or in the batch that is being written.
    private let room: RowRoom
    /// Taken before the lock of a desk, never after it.
    private let state: Mutex<State>
    /// Somebody is about to write, or nobody ever will.
    private let isScheduled = Atomic<Bool>(true)
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
        let page = try CounterPage(path: "\(stateDirectory)/usage.taken")
        let accounted = try store.accounted()
        if page.taken > accounted {
            try store.write([], lost: page.taken - accounted, reason: "the host was killed", now: now)
        }
        // After a power cut, or without its file, the page may be the older one.
        page.raise(to: accounted)
        desks = (0..<CounterPage.counters).map { UsageDesk(page, counter: $0) }
        room = RowRoom(options.capacity)
        var state = State()
        state.lost = try store.lost()
        self.state = Mutex(state)
        reader = UsageReader(path: path)
    }

    // MARK: from any thread

    /// Counts a row that will be recorded: from here on it is stored, or counted as lost. Call it before the caller is answered.
    package func take() {
        if options.isOn { desks[0].take() }
    }

    /// Leaves a row to be stored.
    ///
    /// - Parameters:
    ///   - isTaken: `take` was called for it.
    ///   - loop: the number of the loop that calls.
    package func record(_ row: UsageRow, isTaken: Bool = false, from loop: Int = 0) {
        guard options.isOn else { return }
        guard desks[loop % desks.count].leave(row, isTaken: isTaken, room) else {
            return state.withLock { state in
                state.totals.add(row)
                state.dropped += 1
                state.lost += 1
            }
        }
        if !isScheduled.load(ordering: .relaxed) { wakeWriter() }
    }

    private func wakeWriter() {
        guard !isScheduled.exchange(true, ordering: .acquiringAndReleasing) else { return }
        let remote = state.withLock(\.remote)
        remote?.submit { [self] loop in schedule(on: loop, after: Self.batchMilliseconds) }
    }

    package var totals: UsageTotals {
        state.withLock { state in
            clearDesks(&state)
            return state.totals
        }
    }

    /// Sums what lies on the desks, so that callers need not.
    private func clearDesks(_ state: inout State) {
        for desk in desks {
            let tapes = desk.clear()
            for tape in tapes { state.totals.add(tape) }
            state.waiting += tapes
        }
    }

    /// Rows that were taken and will never be stored.
    package var lost: UInt64 { state.withLock(\.lost) }

    // MARK: the writer

    /// Writes on this loop from now on, which does nothing that others wait for.
    package func start(on loop: EventLoop) {
        state.withLock { $0.remote = loop.remote }
        loop.remote.submit { [self] loop in
            write(on: loop)
            tidy(on: loop)
        }
    }

    /// Stores what waits, after the loop has ended.
    package func close() {
        isScheduled.store(true, ordering: .relaxed)
        state.withLock { $0.remote = nil }
        flush()
    }

    /// Deletes what there is of a tenant: rows, sums and counters. Returns how many rows and sums. Blocks.
    package func erase(_ tenant: String) throws(RuntimeError) -> Int {
        // What waits is stored first, so that nothing of it comes behind.
        flush()
        state.withLock { state in
            clearDesks(&state)
            state.totals.forget(tenant)
        }
        let result = writing.withLock { _ in
            Result { () throws(RuntimeError) in try store.erase(tenant) }
        }
        return try result.get()
    }

    /// Stores all that waits, however much that is, unless it can't.
    private func flush() {
        while isAnythingHeld, writeBatch() {}
    }

    private var isAnythingHeld: Bool {
        state.withLock { !$0.waiting.isEmpty || $0.dropped > 0 } || desks.contains { !$0.isClear }
    }

    private func schedule(on loop: EventLoop, after milliseconds: UInt64) {
        loop.schedule(at: .now.adding(milliseconds: milliseconds)) { [self] in write(on: loop) }
    }

    private func write(on loop: EventLoop) {
        let isWritten = writeBatch()
        // Before the look at the desks: a row that comes after it finds this, and wakes the writer itself.
        isScheduled.store(false, ordering: .relaxed)
        guard isAnythingHeld, !isScheduled.exchange(true, ordering: .acquiringAndReleasing) else { return }
        schedule(on: loop, after: isWritten ? Self.batchMilliseconds : Self.retryMilliseconds)
    }

    /// Stores what waits now. False: it can't be stored, and waits on.
    private func writeBatch() -> Bool {
        writing.withLock { _ in
            let (tapes, dropped) = state.withLock { state in
                clearDesks(&state)
                defer { (state.waiting, state.dropped) = ([], 0) }
                return (state.waiting, state.dropped)
            }
            guard !tapes.isEmpty || dropped > 0 else { return true }
            do throws(RuntimeError) {
                try store.write(
                    tapes, lost: dropped, reason: "there was no room to keep them", now: WallClock.milliseconds)
                room.giveBack(tapes.reduce(0) { $0 + $1.count })
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
            return [
                ("cause", "\(error)"), ("waiting", "\(state.waiting.reduce(0) { $0 + $1.count })"),
                ("dropped", "\(state.dropped)"),
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
