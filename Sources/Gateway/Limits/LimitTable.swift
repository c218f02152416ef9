// The accounts of everybody who has limits: shared by all loops, each behind a lock of its own, found through few shards.
internal import Core
internal import Limits
internal import Synchronization

/// Whose account it is.
enum LimitSubject: Hashable, Sendable {
    case platform
    case tenant(String)
    /// By the principal's id.
    case key(String)
    case function(FunctionKey)
}

/// One account. A lock of it is held for tens of nanoseconds.
final class LimitCell: Sendable {
    let account = Mutex(LimitAccount())
}

final class LimitTable: Sendable {
    private final class Shard: Sendable {
        let cells = Mutex<[LimitSubject: LimitCell]>([:])
    }

    private let shards = (0..<16).map { _ in Shard() }
    /// Names can be made up by platform callers; nobody else brings new ones.
    private let perShard: Int

    init(bound: Int = 65_536) { perShard = max(1, bound / 16) }

    /// The same cell for the same subject for as long as anybody holds it or anything is counted in it.
    func cell(of subject: LimitSubject, now: LimitTime) -> LimitCell {
        let shard = shards[Int(truncatingIfNeeded: UInt(bitPattern: subject.hashValue) & 15)]
        return shard.cells.withLock { cells in
            if let known = cells[subject] { return known }
            if cells.count >= perShard { Self.prune(&cells, now: now) }
            let new = LimitCell()
            cells[subject] = new
            return new
        }
    }

    /// Forgets those that nobody holds and in which nothing is counted. All others stay: they are bounded by what is in use.
    private static func prune(_ cells: inout [LimitSubject: LimitCell], now: LimitTime) {
        for subject in Array(cells.keys) {
            guard var cell = cells.removeValue(forKey: subject) else { continue }
            let isForgotten = isKnownUniquelyReferenced(&cell) && cell.account.withLock { $0.isIdle(now: now) }
            if !isForgotten { cells[subject] = cell }
        }
    }

    /// How many accounts there are.
    var count: Int { shards.reduce(0) { $0 + $1.cells.withLock(\.count) } }
}
