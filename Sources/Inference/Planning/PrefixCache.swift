// What the engine still holds of prompts that are over, so that the same tenant need not have it read again. Pure.

/// Sequences that ended and were left in the engine, each of one tenant.
///
/// A tenant finds its own only: how fast an answer begins must not tell what another tenant asked.
struct PrefixCache {
    struct Entry {
        let slot: UInt32
        let tenant: String
        let tokens: [Int32]
        var lastUse: UInt64
    }

    /// Shorter ones are not worth their slot.
    static let shortest = 16

    private(set) var entries: [Entry] = []
    private var uses: UInt64 = 0

    /// Tokens that the engine holds for later.
    var tokens: Int { entries.reduce(0) { $0 + $1.tokens.count } }

    /// Keeps what a sequence holds. An entry that it begins with is worth nothing more: its slot is returned, to be dropped.
    mutating func insert(slot: UInt32, tenant: String, tokens: [Int32]) -> [UInt32] {
        uses += 1
        let covered = entries.filter { $0.tenant == tenant && tokens.starts(with: $0.tokens) }.map(\.slot)
        entries.removeAll { covered.contains($0.slot) }
        entries.append(Entry(slot: slot, tenant: tenant, tokens: tokens, lastUse: uses))
        return covered
    }

    /// The longest prefix of `prompt` that this tenant may use. One token is always left to be read: the answer's first is
    /// picked behind it.
    func find(_ prompt: [Int32], tenant: String) -> (slot: UInt32, tokens: Int)? {
        var best: (slot: UInt32, tokens: Int)?
        for entry in entries where entry.tenant == tenant {
            let most = min(entry.tokens.count, prompt.count - 1)
            var shared = 0
            while shared < most, entry.tokens[shared] == prompt[shared] { shared += 1 }
            if shared >= max(Self.shortest, (best?.tokens ?? 0) + 1) { best = (entry.slot, shared) }
        }
        return best
    }

    mutating func touch(_ slot: UInt32) {
        uses += 1
        if let index = entries.firstIndex(where: { $0.slot == slot }) { entries[index].lastUse = uses }
    }

    /// Gives up the one that was not used for longest.
    mutating func evict(sparing spared: UInt32? = nil) -> UInt32? {
        let candidates = entries.filter { $0.slot != spared }
        guard let oldest = candidates.min(by: { $0.lastUse < $1.lastUse }) else { return nil }
        entries.removeAll { $0.slot == oldest.slot }
        return oldest.slot
    }
}
