// Which prefixes stay in the host's memory, which go on to disk, and which are let go. Pure: PrefixStore does what it says.

/// The saved prefixes of all tenants and models, found by the digests of their tokens.
struct PrefixTiers {
    struct Limits: Equatable, Sendable {
        /// Bytes; 0: that tier is off.
        var memory: Int
        var disk: Int
    }

    struct Entry: Equatable {
        let tenant: String
        let digests: [PrefixDigest]
        let bytes: Int
        fileprivate(set) var inMemory: Bool
        fileprivate(set) var onDisk = false
        fileprivate var lastUse: UInt64
        fileprivate var isDouble: Bool { inMemory && onDisk }
    }

    enum Action: Equatable {
        /// To disk, from memory; it is still there.
        case write(UInt64)
        /// From memory.
        case release(UInt64)
        /// From disk.
        case delete(UInt64)
    }

    struct Match: Equatable {
        let id: UInt64
        let blocks: Int
        let inMemory: Bool
    }

    let limits: Limits
    private(set) var entries: [UInt64: Entry] = [:]
    private var index: [PrefixDigest: [UInt64]] = [:]
    private(set) var memoryBytes = 0
    private(set) var diskBytes = 0
    private var nextID: UInt64 = 1
    private var uses: UInt64 = 0

    init(limits: Limits) { self.limits = limits }

    /// The saved prefix that shares most blocks with a text; of several, one in memory, else the newest.
    func find(_ digests: [PrefixDigest]) -> Match? {
        for place in digests.indices.reversed() {
            let found = (index[digests[place]] ?? []).compactMap { id in entries[id].map { (id: id, entry: $0) } }
            let best = found.max { ($0.entry.inMemory ? 1 : 0, $0.id) < ($1.entry.inMemory ? 1 : 0, $1.id) }
            if let best { return Match(id: best.id, blocks: place + 1, inMemory: best.entry.inMemory) }
        }
        return nil
    }

    /// True when nothing would be gained by saving a text with these digests.
    func covers(_ digests: [PrefixDigest]) -> Bool {
        guard let last = digests.last else { return true }
        return index[last] != nil
    }

    /// Takes in a state that is in memory now; those that it covers are let go. Nil: it is too large.
    mutating func insert(tenant: String, digests: [PrefixDigest], bytes: Int) -> (id: UInt64, actions: [Action])? {
        guard bytes <= limits.memory, !digests.isEmpty else { return nil }
        var actions: [Action] = []
        for (place, digest) in digests.enumerated() {
            for old in index[digest] ?? [] where entries[old]?.digests.count == place + 1 { actions += remove(old) }
        }
        let id = nextID
        nextID += 1
        uses += 1
        entries[id] = Entry(tenant: tenant, digests: digests, bytes: bytes, inMemory: true, lastUse: uses)
        for digest in digests { index[digest, default: []].append(id) }
        memoryBytes += bytes
        return (id, actions + shrink(sparing: id))
    }

    /// It was used.
    mutating func touch(_ id: UInt64) {
        uses += 1
        entries[id]?.lastUse = uses
    }

    /// It was read from disk and is in memory, too.
    mutating func fetched(_ id: UInt64) -> [Action] {
        guard let entry = entries[id], !entry.inMemory else { return [] }
        entries[id]?.inMemory = true
        memoryBytes += entry.bytes
        touch(id)
        return shrink(sparing: id)
    }

    mutating func remove(_ id: UInt64) -> [Action] {
        guard let entry = entries.removeValue(forKey: id) else { return [] }
        for digest in entry.digests {
            index[digest]?.removeAll { $0 == id }
            if index[digest]?.isEmpty == true { index[digest] = nil }
        }
        if entry.inMemory { memoryBytes -= entry.bytes }
        if entry.onDisk { diskBytes -= entry.bytes }
        return (entry.inMemory ? [.release(id)] : []) + (entry.onDisk ? [.delete(id)] : [])
    }

    /// All that a tenant has.
    mutating func forget(_ tenant: String) -> [Action] {
        entries.filter { $0.value.tenant == tenant }.keys.sorted().flatMap { remove($0) }
    }

    private mutating func shrink(sparing spared: UInt64) -> [Action] {
        var actions: [Action] = []
        while memoryBytes > limits.memory, let id = victim(sparing: spared, \.inMemory), let entry = entries[id] {
            let goesOn = entry.onDisk || entry.bytes <= limits.disk
            guard goesOn else {
                actions += remove(id)
                continue
            }
            if !entry.onDisk {
                entries[id]?.onDisk = true
                diskBytes += entry.bytes
                actions.append(.write(id))
            }
            entries[id]?.inMemory = false
            memoryBytes -= entry.bytes
            actions.append(.release(id))
        }
        // What is in memory, too, loses nothing.
        while diskBytes > limits.disk, let id = victim(sparing: nil, \.isDouble) ?? victim(sparing: nil, \.onDisk),
            let entry = entries[id]
        {
            guard entry.inMemory else {
                actions += remove(id)
                continue
            }
            entries[id]?.onDisk = false
            diskBytes -= entry.bytes
            actions.append(.delete(id))
        }
        return actions
    }

    /// The one that was not used for longest, of the tenant that has most there: a flood pushes out its own.
    private func victim(sparing spared: UInt64?, _ isThere: KeyPath<Entry, Bool>) -> UInt64? {
        let there = entries.filter { $0.key != spared && $0.value[keyPath: isThere] }
        var held: [String: Int] = [:]
        for entry in there.values { held[entry.tenant, default: 0] += entry.bytes }
        return there.min {
            let (left, right) = ($0.value, $1.value)
            return (-held[left.tenant, default: 0], left.tenant, left.lastUse)
                < (-held[right.tenant, default: 0], right.tenant, right.lastUse)
        }?.key
    }
}
