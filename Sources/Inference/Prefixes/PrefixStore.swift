// The prefixes that left the engines: holds their states for all models, does what PrefixTiers decides, and never waits for a disk.
package import Platform

/// What a model may ask for: the first tokens of a saved state.
package struct StoredPrefix: Equatable, Sendable {
    package let id: UInt64
    package let tokens: Int
    /// Of the whole state.
    package let bytes: Int
    package let inMemory: Bool
}

/// Loop-confined; one for all models.
package final class PrefixStore {
    package struct Options: Sendable {
        package var memoryBytes = 256 << 20
        package var diskBytes = 0
        package var saltMilliseconds: UInt64 = 24 * 3_600_000

        package init() {}
    }

    /// Files that are read at once.
    private static let mostFetches = 4

    let loop: EventLoop
    private let disk: LoopRemote
    private let files: PrefixFiles
    private var tiers: PrefixTiers
    private var seals: PrefixSeals
    private var states: [UInt64: [UInt8]] = [:]
    /// Bytes on their way to disk.
    private var writing = 0
    private var fetching: [UInt64: [(Bool) -> Void]] = [:]
    /// Engines that hold prefixes of tenants.
    private var holders: [ObjectIdentifier: (_ tenant: String) -> Void] = [:]
    private var rotation: TimerToken?

    /// - Parameter disk: of a loop where work may block.
    package init(_ options: Options, loop: EventLoop, disk: LoopRemote, files: PrefixFiles) {
        self.loop = loop
        self.disk = disk
        self.files = files
        tiers = PrefixTiers(limits: .init(memory: options.memoryBytes, disk: options.diskBytes))
        seals = PrefixSeals(lifetimeNanoseconds: options.saltMilliseconds * 1_000_000)
    }

    var isOn: Bool { tiers.limits.memory > 0 }

    // MARK: finding

    /// What a text's first tokens are found by.
    func digests(of tokens: ArraySlice<Int32>, tenant: String, model: String) -> [PrefixDigest] {
        seal(of: tenant).digests(of: tokens, model: model)
    }

    func find(_ digests: [PrefixDigest]) -> StoredPrefix? {
        guard let match = tiers.find(digests), let entry = tiers.entries[match.id] else { return nil }
        return StoredPrefix(
            id: match.id, tokens: match.blocks * PrefixSeal.block, bytes: entry.bytes, inMemory: match.inMemory)
    }

    func covers(_ digests: [PrefixDigest]) -> Bool { tiers.covers(digests) }

    /// The bytes of one in memory, which is used now.
    func use(_ id: UInt64) -> [UInt8]? {
        tiers.touch(id)
        return states[id]
    }

    // MARK: coming and going

    func insert(_ state: [UInt8], of tokens: [Int32], tenant: String, model: String) {
        // Now, because the salt may have changed while the state was on its way.
        let digests = digests(of: tokens[...], tenant: tenant, model: model)
        guard !tiers.covers(digests),
            let (id, actions) = tiers.insert(tenant: tenant, digests: digests, bytes: state.count)
        else { return }
        states[id] = state
        perform(actions)
    }

    /// An engine would not take it.
    func remove(_ id: UInt64) { perform(tiers.remove(id)) }

    /// Brings one from disk into memory.
    func fetch(_ id: UInt64, done: @escaping (Bool) -> Void) {
        guard let tenant = tiers.entries[id]?.tenant else { return done(false) }
        let seal = seal(of: tenant)
        // A salt that is past its time took the entry with it.
        guard let entry = tiers.entries[id] else { return done(false) }
        if entry.inMemory { return done(true) }
        guard fetching[id] == nil else {
            fetching[id]?.append(done)
            return
        }
        guard fetching.count < Self.mostFetches else { return done(false) }
        fetching[id] = [done]
        let (own, remote, files) = (LoopBound(self, on: loop), loop.remote, files)
        disk.submit { _ in
            let state = files.read(name: "\(id)", bytes: entry.bytes, seal: seal)
            remote.submit { _ in own.value.fetched(id, state) }
        }
    }

    private func fetched(_ id: UInt64, _ state: [UInt8]?) {
        let waiting = fetching.removeValue(forKey: id) ?? []
        // Forgotten meanwhile, when it is no entry.
        let good = state != nil && tiers.entries[id] != nil
        if let state, good {
            states[id] = state
            perform(tiers.fetched(id))
        } else {
            remove(id)
        }
        for done in waiting { done(good) }
    }

    private func perform(_ actions: [PrefixTiers.Action]) {
        for action in actions {
            switch action {
            case .write(let id): write(id)
            case .release(let id): states[id] = nil
            case .delete(let id): disk.submit { [files] _ in files.delete(name: "\(id)") }
            }
        }
    }

    private func write(_ id: UInt64) {
        guard let state = states[id], let tenant = tiers.entries[id]?.tenant else { return }
        // A disk that can't follow must not fill the memory.
        guard writing + state.count <= max(tiers.limits.memory, state.count) else { return lose(id) }
        writing += state.count
        let (own, remote, files, seal) = (LoopBound(self, on: loop), loop.remote, files, seal(of: tenant))
        disk.submit { _ in
            let good = files.write(state, name: "\(id)", seal: seal)
            let count = state.count
            remote.submit { _ in own.value.wrote(id, count, good) }
        }
    }

    private func wrote(_ id: UInt64, _ bytes: Int, _ good: Bool) {
        writing -= bytes
        if !good { remove(id) }
    }

    /// After the actions that are being performed.
    private func lose(_ id: UInt64) {
        loop.afterBatch { [weak self] in self?.remove(id) }
    }

    // MARK: salts

    private func seal(of tenant: String) -> PrefixSeal {
        rotate()
        let seal = seals.seal(of: tenant, now: .now)
        awaitRotation()
        return seal
    }

    private func rotate() {
        for tenant in seals.expired(now: .now) { forget(tenant) }
    }

    private func awaitRotation() {
        guard rotation == nil, let next = seals.nextExpiry else { return }
        rotation = loop.schedule(at: next) { [weak self] in
            guard let self else { return }
            rotation = nil
            rotate()
            awaitRotation()
        }
    }

    /// The tenant is gone, or its salt is old: nothing that it had is found again, on any tier.
    func forget(_ tenant: String) {
        seals.forget(tenant)
        perform(tiers.forget(tenant))
        for drop in holders.values { drop(tenant) }
    }

    /// Tells an engine's runner when a tenant's prefixes have to go.
    func watch(_ holder: AnyObject, drop: @escaping (_ tenant: String) -> Void) {
        holders[ObjectIdentifier(holder)] = drop
    }
    func unwatch(_ holder: AnyObject) { holders[ObjectIdentifier(holder)] = nil }
}
