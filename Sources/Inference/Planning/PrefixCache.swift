// What the engine still holds of prompts that are over, so that the same tenant need not have it read again. Pure.

/// A sequence that ended and was left in the engine.
package struct KeptPrefix: Equatable, Sendable {
    package let slot: UInt32
    /// Nil: the platform published it, and it is everybody's.
    package let tenant: String?
    package let tokens: [Int32]
    /// How often it was of use.
    package internal(set) var hits = 0
    /// Another tier has it, too, or it isn't worth that.
    var isSettled = false
    var lastUse: UInt64 = 0
}

/// Sequences that ended and were left in the engine, each of one tenant.
///
/// A tenant finds its own, and what the platform published: how fast an answer begins must not tell what another tenant asked.
struct PrefixCache {
    /// Shorter ones are not worth their slot.
    static let shortest = 16

    private(set) var entries: [KeptPrefix] = []
    private var uses: UInt64 = 0

    /// Tokens that the engine holds for later.
    var tokens: Int { entries.reduce(0) { $0 + $1.tokens.count } }

    /// Keeps what a sequence holds. An entry that it begins with is worth nothing more: its slot is returned, to be dropped.
    /// - Parameter tenant: nil: for everybody, as long as the model is loaded.
    mutating func insert(slot: UInt32, tenant: String?, tokens: [Int32]) -> [UInt32] {
        uses += 1
        let covered = entries.filter { $0.tenant == tenant && tokens.starts(with: $0.tokens) }
        entries.removeAll { entry in covered.contains { $0.slot == entry.slot } }
        let hits = covered.map(\.hits).max() ?? 0
        entries.append(KeptPrefix(slot: slot, tenant: tenant, tokens: tokens, hits: hits, lastUse: uses))
        return covered.map(\.slot)
    }

    /// The longest prefix of `prompt` that this tenant may use. One token is always left to be read: the answer's first is
    /// picked behind it.
    func find(_ prompt: [Int32], tenant: String) -> (slot: UInt32, tokens: Int)? {
        var best: (slot: UInt32, tokens: Int)?
        for entry in entries where entry.tenant == tenant || entry.tenant == nil {
            let most = min(entry.tokens.count, prompt.count - 1)
            var shared = 0
            while shared < most, entry.tokens[shared] == prompt[shared] { shared += 1 }
            if shared >= max(Self.shortest, (best?.tokens ?? 0) + 1) { best = (entry.slot, shared) }
        }
        return best
    }

    mutating func touch(_ slot: UInt32) {
        uses += 1
        guard let index = entries.firstIndex(where: { $0.slot == slot }) else { return }
        entries[index].lastUse = uses
        entries[index].hits += 1
    }

    mutating func settle(_ slot: UInt32) {
        if let index = entries.firstIndex(where: { $0.slot == slot }) { entries[index].isSettled = true }
    }

    /// Gives up the one that was not used for longest; never a published one.
    mutating func evict(sparing spared: UInt32? = nil) -> KeptPrefix? {
        let candidates = entries.filter { $0.slot != spared && $0.tenant != nil }
        guard let oldest = candidates.min(by: { $0.lastUse < $1.lastUse }) else { return nil }
        entries.removeAll { $0.slot == oldest.slot }
        return oldest
    }

    /// Gives up all that a tenant has. Returns the slots.
    mutating func forget(_ tenant: String) -> [UInt32] {
        let slots = entries.filter { $0.tenant == tenant }.map(\.slot)
        entries.removeAll { $0.tenant == tenant }
        return slots
    }
}
