// What one call of a model takes, added up where it is spent, on whichever thread; its row is left in the ledger when nobody adds more.
internal import Platform
internal import Synchronization

/// Held by everybody who may still add to it: the last to let go records the row. So a step that was out when a caller left is in it.
package final class CallMeter: Sendable, Equatable {
    private struct State {
        var row: UsageRow
        var isOver = false
    }

    /// Who calls, as `UsageRow` has it.
    package let principal: String
    private let ledger: UsageLedger
    private let state: Mutex<State>

    /// - Parameter row: who calls what, and by which door.
    package init(_ row: UsageRow, ledger: UsageLedger) {
        principal = row.principal
        self.ledger = ledger
        state = Mutex(State(row: row))
    }

    /// Adds to the call. Nothing that /metrics counts by tenant is added anywhere else.
    package func add(_ change: (inout UsageRow) -> Void) { state.withLock { change(&$0.row) } }

    /// How it ended; the first word counts. Call it before the caller is answered, so that a host that is killed knows of the call.
    /// Returns true when this was it.
    @discardableResult
    package func end(_ outcome: String, status: Int) -> Bool {
        let isFirst = state.withLock { state in
            guard !state.isOver else { return false }
            state.isOver = true
            state.row.outcome = outcome
            state.row.status = status
            return true
        }
        if isFirst { ledger.take() }
        return isFirst
    }

    deinit {
        state.withLock { state in
            if !state.isOver { state.row.outcome = "cancelled" }
            state.row.time = WallClock.milliseconds
            ledger.record(state.row, isTaken: state.isOver)
        }
    }

    package static func == (left: CallMeter, right: CallMeter) -> Bool { left === right }
}
