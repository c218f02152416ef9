// Tokens that were good a moment ago, by their SHA-256: one that comes again costs a hash and a look-up.
internal import Core
internal import Platform
internal import Synchronization

/// Bounded: when the young half is full it becomes the old one, and what was old is gone.
final class VerifiedTokens: Sendable {
    struct Entry: Sendable {
        let principal: Principal
        /// Unix milliseconds, the skew of the clocks included.
        let expires: Int64
        let keys: IssuerKeys
        /// The key set it was checked with; another drops it.
        let generation: UInt64
    }

    private struct Halves {
        var young: [TokenDigest: Entry] = [:]
        var old: [TokenDigest: Entry] = [:]
    }

    private let half: Int
    private let halves = Mutex(Halves())

    init(most: Int = 8192) { half = max(1, most / 2) }

    var count: Int { halves.withLock { $0.young.count + $0.old.count } }

    func principal(_ digest: TokenDigest, now: Int64, clock: MonotonicTime) -> Principal? {
        halves.withLock { halves in
            guard let entry = halves.young[digest] ?? halves.old[digest] else { return nil }
            guard now < entry.expires, entry.keys.holds(entry.generation, now: clock) else {
                halves.young[digest] = nil
                halves.old[digest] = nil
                return nil
            }
            if halves.young[digest] == nil { insert(entry, digest, &halves) }
            return entry.principal
        }
    }

    func add(_ entry: Entry, for digest: TokenDigest) { halves.withLock { insert(entry, digest, &$0) } }

    private func insert(_ entry: Entry, _ digest: TokenDigest, _ halves: inout Halves) {
        halves.old[digest] = nil
        if halves.young.count >= half, halves.young[digest] == nil {
            halves.old = halves.young
            halves.young = [:]
        }
        halves.young[digest] = entry
    }
}
