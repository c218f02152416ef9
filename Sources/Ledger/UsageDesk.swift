// Where the calls of one loop leave their rows, so that the loops don't wait for each other; the ledger's writer comes by and clears it.
internal import Synchronization

/// How many more rows the ledger may hold. Desks take some at once and keep what they did not need.
final class RowRoom: Sendable {
    private static let atOnce = 256
    private let left: Atomic<Int>

    init(_ rows: Int) { left = Atomic(rows) }

    /// At most 256; none when there are none.
    func take() -> Int {
        var left = left.load(ordering: .relaxed)
        while left > 0 {
            let part = min(Self.atOnce, left)
            let (isTaken, now) = self.left.weakCompareExchange(
                expected: left, desired: left - part, ordering: .relaxed)
            if isTaken { return part }
            left = now
        }
        return 0
    }

    func giveBack(_ rows: Int) { left.wrappingAdd(rows, ordering: .relaxed) }
}

final class UsageDesk: Sendable {
    private struct State {
        var tapes = UsageTapes()
        /// Rows that may still be left here.
        var room = 0
        // A line of the cache of its own: the next desk is another core's.
        let padding = InlineArray<8, UInt64>(repeating: 0)
    }

    private let state = Mutex(State())
    private let page: CounterPage
    private let counter: Int

    /// - Parameter counter: whose lock is this desk's.
    init(_ page: CounterPage, counter: Int) {
        self.page = page
        self.counter = counter
    }

    /// Counts a row that will be left.
    func take() { state.withLock { _ in page.add(to: counter) } }

    /// False: there is no room, and the row was counted as taken only.
    func leave(_ row: UsageRow, isTaken: Bool, _ room: RowRoom) -> Bool {
        state.withLock { state in
            if !isTaken { page.add(to: counter) }
            if state.room == 0 { state.room = room.take() }
            guard state.room > 0 else { return false }
            state.room -= 1
            state.tapes.append(row)
            return true
        }
    }

    /// Takes what was left.
    func clear() -> [UsageTape] {
        state.withLock { state in
            defer { if !state.tapes.tapes.isEmpty { state.tapes = UsageTapes() } }
            return state.tapes.tapes
        }
    }

    var isClear: Bool { state.withLock(\.tapes.tapes.isEmpty) }
}
