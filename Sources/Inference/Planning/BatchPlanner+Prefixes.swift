// Prefixes that the engine keeps: what else is to become of them.

extension BatchPlanner {
    /// True while an answer is made that a pause would interrupt.
    var isAnswering: Bool { sequences.contains { $0.phase == .running } }

    /// True for one that is everybody's.
    func isPublished(_ slot: UInt32) -> Bool { prefixes.entries.contains { $0.slot == slot && $0.tenant == nil } }

    /// The last used of those that nobody has decided about yet.
    var unsettledPrefix: KeptPrefix? {
        prefixes.entries.filter { !$0.isSettled && $0.tenant != nil }.max { $0.lastUse < $1.lastUse }
    }

    mutating func settlePrefix(_ slot: UInt32) { prefixes.settle(slot) }

    /// Gives up all prefixes of a tenant. Returns slots that the engine must drop.
    mutating func forgetPrefixes(of tenant: String) -> [UInt32] {
        let slots = prefixes.forget(tenant)
        freeSlots += slots
        return slots
    }
}
