// Which models may be in memory at once: what each may take is reserved before it loads. Pure; NodeMemory does what it says.
package import Core
package import Platform

/// The reserved memory of one node and of its devices.
package struct ModelBudget {
    /// What a model may take while it is loaded: its limits, not what it happens to use.
    package struct Need: Equatable, Sendable {
        package var memory: UInt64
        package var device: Device?
        package var deviceMemory: UInt64

        package init(memory: UInt64, device: Device? = nil, deviceMemory: UInt64 = 0) {
            self.memory = memory
            self.device = device
            self.deviceMemory = deviceMemory
        }
    }

    /// Bytes; nil: not bounded.
    package struct Limits: Equatable, Sendable {
        package var memory: UInt64?
        /// Of each device.
        package var deviceMemory: UInt64?

        package init(memory: UInt64? = nil, deviceMemory: UInt64? = nil) {
            self.memory = memory
            self.deviceMemory = deviceMemory
        }
    }

    package struct Use: Equatable, Sendable {
        package var memory: UInt64 = 0
        package var devices: [Device: UInt64] = [:]

        mutating func add(_ need: Need) {
            memory += need.memory
            if let device = need.device { devices[device, default: 0] += need.deviceMemory }
        }

        mutating func subtract(_ need: Need) {
            memory -= need.memory
            if let device = need.device { devices[device, default: 0] -= need.deviceMemory }
        }
    }

    package enum Decision: Equatable {
        case grant(ReplicaID)
        /// It was used longest ago of those that nobody uses, and another needs its memory.
        case evict(ReplicaID)
    }

    private struct Holder {
        let need: Need
        /// Nil while it is in use, or kept.
        var idleSince: MonotonicTime?
        var isLeaving = false
    }

    package let limits: Limits
    /// What is reserved, that of models on their way out included.
    package private(set) var held = Use()
    private var holders: [ReplicaID: Holder] = [:]
    private var queue: [(id: ReplicaID, need: Need)] = []

    package init(limits: Limits) { self.limits = limits }

    package var waiting: Int { queue.count }

    /// Why a model never gets what it needs; nil: it may.
    package func impossible(_ need: Need) -> String? {
        if let most = limits.memory, need.memory > most {
            return "it needs \(need.memory >> 20) MiB (limits.memory_mb), and all models of this host together get "
                + "\(most >> 20) MiB; raise --models-memory-mb"
        }
        if let device = need.device, let most = limits.deviceMemory, need.deviceMemory > most {
            return
                "it needs \(need.deviceMemory >> 20) MiB of \(device) (limits.device_memory_mb), and all models there "
                + "together get \(most >> 20) MiB; raise --models-device-memory-mb"
        }
        return nil
    }

    /// Asks for memory. It is granted now or later, in the order of asking, with the exception of who fits all the same.
    package mutating func want(_ id: ReplicaID, _ need: Need) -> [Decision] {
        queue.append((id, need))
        return settle()
    }

    /// Asks for memory that nobody else wants: true when it is granted.
    package mutating func wantSpare(_ id: ReplicaID, _ need: Need) -> Bool {
        var taken = held
        for other in queue { taken.add(other.need) }
        guard fits(need, beside: taken) else { return false }
        hold(id, need)
        return true
    }

    /// It is wanted no more before it was granted.
    package mutating func giveUp(_ id: ReplicaID) -> [Decision] {
        queue.removeAll { $0.id == id }
        return settle()
    }

    package mutating func busy(_ id: ReplicaID) { holders[id]?.idleSince = nil }

    /// Nobody uses it, and it may go.
    package mutating func idle(_ id: ReplicaID, now: MonotonicTime) -> [Decision] {
        holders[id]?.idleSince = now
        return settle()
    }

    /// It was told to end; its memory is not free before `gone`.
    package mutating func leaving(_ id: ReplicaID) { holders[id]?.isLeaving = true }

    /// Its process has ended.
    package mutating func gone(_ id: ReplicaID) -> [Decision] {
        guard let holder = holders.removeValue(forKey: id) else { return [] }
        held.subtract(holder.need)
        return settle()
    }

    // MARK: deciding

    private mutating func settle() -> [Decision] {
        var decisions: [Decision] = []
        // What those before in the queue will take.
        var claimed = Use()
        var rest: [(id: ReplicaID, need: Need)] = []
        for (id, need) in queue {
            var taken = held
            taken.add(claimed)
            if fits(need, beside: taken) {
                hold(id, need)
                decisions.append(.grant(id))
                continue
            }
            decisions += makeRoom(for: need, behind: claimed)
            claimed.add(need)
            rest.append((id, need))
        }
        queue = rest
        return decisions
    }

    private mutating func hold(_ id: ReplicaID, _ need: Need) {
        holders[id] = Holder(need: need)
        held.add(need)
    }

    /// The idle ones that have to go, used longest ago first; none when even all of them would not be enough.
    private mutating func makeRoom(for need: Need, behind claimed: Use) -> [Decision] {
        var left = held
        for holder in holders.values where holder.isLeaving { left.subtract(holder.need) }
        left.add(claimed)
        var chosen: [ReplicaID] = []
        while !fits(need, beside: left) {
            guard let (id, holder) = oldest(helping: need, left, besides: chosen) else { return [] }
            chosen.append(id)
            left.subtract(holder.need)
        }
        for id in chosen { holders[id]?.isLeaving = true }
        return chosen.map { .evict($0) }
    }

    private func oldest(helping need: Need, _ left: Use, besides chosen: [ReplicaID]) -> (ReplicaID, Holder)? {
        let lacksMemory = !fits(Need(memory: need.memory), beside: left)
        var best: (id: ReplicaID, holder: Holder, since: MonotonicTime)?
        for (id, holder) in holders where !holder.isLeaving && !chosen.contains(id) {
            guard let since = holder.idleSince, lacksMemory || holder.need.device == need.device else { continue }
            if let best, (best.since, best.id) < (since, id) { continue }
            best = (id, holder, since)
        }
        return best.map { ($0.id, $0.holder) }
    }

    private func fits(_ need: Need, beside taken: Use) -> Bool {
        if let most = limits.memory, taken.memory + need.memory > most { return false }
        guard let device = need.device, let most = limits.deviceMemory else { return true }
        return taken.devices[device, default: 0] + need.deviceMemory <= most
    }
}

extension ModelBudget.Use {
    fileprivate mutating func add(_ other: Self) {
        memory += other.memory
        for (device, bytes) in other.devices { devices[device, default: 0] += bytes }
    }
}

/// One replica of one version of a model, as long as the host runs.
package struct ReplicaID: Hashable, Comparable, Sendable {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }

    package static func < (a: ReplicaID, b: ReplicaID) -> Bool { a.value < b.value }
}
