// The levels that one request passes, with the accounts that they count in; made once and used by every such request.
internal import Core
internal import Limits
internal import Synchronization

final class LimitPath: Sendable {
    /// A class, because the limits are many words and each request comes by.
    private final class Node: Sendable {
        let level: LimitLevel
        let limits: LimitSet
        let cell: LimitCell

        init(_ level: LimitLevel, _ limits: LimitSet, _ cell: LimitCell) {
            self.level = level
            self.limits = limits
            self.cell = cell
        }
    }

    /// The narrow ones first.
    private let nodes: [Node]
    /// The largest body, and who says so.
    let body: (level: LimitLevel, most: UInt64)?
    let boundsCPU: Bool
    let boundsEgress: Bool
    private let boundsQueue: Bool
    private let usesWindows: Bool

    init(_ tree: LimitTree, cell: (LimitLevel) -> LimitCell) {
        nodes = tree.levels.map { Node($0.level, $0.limits, cell($0.level)) }
        let all = tree.levels.map(\.limits)
        body = tree.tightest(\.bodyBytes)
        boundsCPU = all.contains { $0.cpuPerMinute != nil || $0.cpuPerDay != nil }
        boundsEgress = all.contains { $0.egressPerMinute != nil || $0.egressPerDay != nil }
        boundsQueue = all.contains { $0.queue != nil }
        usesWindows = boundsCPU || boundsEgress
    }

    /// A class, so that those who come in don't carry its many words.
    final class Refusal {
        let hit: LimitHit
        /// Of the level that refused.
        let limits: LimitSet

        init(_ hit: LimitHit, _ limits: LimitSet) {
            self.hit = hit
            self.limits = limits
        }
    }

    /// Counts a request in at each level, or at none: then says who refused it.
    ///
    /// - Parameter standings: how the caller stands with the levels' rates; with the one that refused, when one did.
    func enter(_ clock: LimitClock, _ standings: inout RateStandings) -> Refusal? {
        let now = clock.now(withDate: usesWindows)
        for index in nodes.indices {
            let node = nodes[index]
            switch node.cell.account.withLock({ $0.admit(node.limits, at: node.level, now: now) }) {
            case .admitted(let standing): if let standing { standings.append(standing) }
            case .refused(let kind, let wait, let standing):
                for passed in nodes[..<index] { passed.cell.account.withLock { $0.undo() } }
                standings = RateStandings()
                if let standing { standings.append(standing) }
                return Refusal(LimitHit(node.level, kind, retryAfterMilliseconds: wait), node.limits)
            }
        }
        return nil
    }

    func leave(sending bytes: UInt64 = 0, now: Int64 = 0) {
        for node in nodes {
            node.cell.account.withLock {
                $0.leave()
                if bytes > 0 { $0.send(bytes, now: now) }
            }
        }
    }

    /// A place in each level's queue, or in none: then who refused it.
    func enterQueue() -> LimitHit? {
        guard boundsQueue else { return nil }
        for (index, node) in nodes.enumerated() where !node.cell.account.withLock({ $0.enterQueue(node.limits.queue) })
        {
            for passed in nodes[..<index] { passed.cell.account.withLock { $0.leaveQueue() } }
            return LimitHit(node.level, .queue, retryAfterMilliseconds: 1000)
        }
        return nil
    }

    func leaveQueue() {
        guard boundsQueue else { return }
        for node in nodes { node.cell.account.withLock { $0.leaveQueue() } }
    }

    func useCPU(_ nanoseconds: UInt64, now: Int64) {
        for node in nodes { node.cell.account.withLock { $0.useCPU(nanoseconds, now: now) } }
    }

    func send(_ bytes: UInt64, now: Int64) {
        for node in nodes { node.cell.account.withLock { $0.send(bytes, now: now) } }
    }
}

/// How a caller stands with the request rates of its levels; in place, since each answer carries it.
struct RateStandings {
    private(set) var first: RateStanding?
    private(set) var second: RateStanding?
    private(set) var third: RateStanding?

    mutating func append(_ standing: RateStanding) {
        // What all others do together is nobody's business.
        guard standing.level != .platform else { return }
        if first == nil { first = standing } else if second == nil { second = standing } else { third = standing }
    }

    var isEmpty: Bool { first == nil }

    func forEach(_ body: (RateStanding, _ isFirst: Bool) -> Void) {
        if let first { body(first, true) }
        if let second { body(second, false) }
        if let third { body(third, false) }
    }

    var all: [RateStanding] { [first, second, third].compactMap(\.self) }
}
