// Prefixes beyond the engine: what a runner fetches, saves and publishes. PrefixStore holds them, TransferCost says what pays.
internal import Ledger
internal import Platform
internal import SwiftletABI
internal import SwiftletWire
internal import Workers

/// What a runner remembers of its requests' prefixes.
struct RunnerPrefixes {
    /// Nil: the engine can't, or the tier is off.
    let store: PrefixStore?
    /// States are of one artefact: the same file, opened in the same way.
    let model: String
    let publishedTexts: [String]
    var cost = TransferCost()
    var digests: [GenerationID: [PrefixDigest]] = [:]
    /// Whose prefix came from disk.
    var fromDisk: Set<GenerationID> = []
    /// When a state was sent to the engine, and its bytes.
    var restoring: [GenerationID: (since: MonotonicTime, bytes: Int)] = [:]
    var timer: TimerToken?

    init(_ store: PrefixStore?, _ spec: ModelSpec) {
        self.store = store?.isOn == true ? store : nil
        model = spec.worker.directory
        publishedTexts = spec.publishedPrefixes
    }

    /// Numbers that no request gets.
    func publishedID(_ index: Int) -> GenerationID { GenerationID(.max - UInt64(index)) }
    func isPublished(_ id: GenerationID) -> Bool { UInt64.max - id.value < UInt64(publishedTexts.count) }

    mutating func leave(_ id: GenerationID) {
        digests[id] = nil
        fromDisk.remove(id)
        restoring[id] = nil
    }
}

extension ModelRunner {
    /// How long nobody must have asked for anything before prefixes are saved in advance.
    private static var idleMilliseconds: UInt64 { 500 }
    /// Who pays for what is published.
    private static var platform: String { "platform" }

    func beginPrefixes() {
        tiers.store?.watch(self) { [weak self] tenant in self?.forgetPrefixes(of: tenant) }
        if !tiers.publishedTexts.isEmpty { publish() }
    }

    func endPrefixes() {
        tiers.store?.unwatch(self)
        if let timer = tiers.timer { tiers.store?.loop.cancel(timer) }
        tiers.timer = nil
        answers = answers.filter { !tiers.isPublished($0.key) }
    }

    private func forgetPrefixes(of tenant: String) {
        for slot in planner.forgetPrefixes(of: tenant) { drop(slot) }
    }

    // MARK: using

    /// Takes a request to the planner, once what is on disk for it is in memory.
    func add(_ sequence: SequenceRequest) {
        guard !tiers.isPublished(sequence.id) else { return addPublished(sequence) }
        guard let store = tiers.store, sequence.prompt.count > PrefixSeal.block else { return planner.add(sequence) }
        // One token is always left to be read.
        let digests = store.digests(of: sequence.prompt.dropLast(), tenant: sequence.tenant, model: tiers.model)
        tiers.digests[sequence.id] = digests
        let beyond = planner.prefixes.find(sequence.prompt, tenant: sequence.tenant)?.tokens ?? 0
        guard let found = store.find(digests), found.tokens > beyond else { return planner.add(sequence) }
        let pays = pays(found, beyond: beyond, planner.cost.perRead)
        if !pays { tiers.cost.relax() }
        guard pays, !found.inMemory else { return planner.add(sequence) }
        store.fetch(found.id) { [weak self] good in
            // It may have been cancelled in the meantime.
            guard let self, answers[sequence.id] != nil else { return }
            if good { tiers.fromDisk.insert(sequence.id) }
            planner.add(sequence)
            pump()
        }
    }

    func place() -> [Placement] {
        let perRead = planner.cost.perRead
        // It must not touch the planner, which is at work.
        return planner.place { request, beyond in
            guard let store = tiers.store, let digests = tiers.digests[request.id], let found = store.find(digests),
                found.inMemory, pays(found, beyond: beyond, perRead)
            else { return nil }
            return found
        }
    }

    private func pays(_ found: StoredPrefix, beyond tokens: Int, _ perRead: Double) -> Bool {
        tiers.cost.paysToRestore(bytes: found.bytes, tokens: found.tokens - tokens, perRead: perRead)
    }

    func sendStored(_ stored: UInt64, tokens: Int, _ start: SequenceStart) {
        // None any more: the engine refuses it, and all is read.
        let state = tiers.store?.use(stored) ?? []
        tiers.restoring[start.id] = (.now, state.count)
        hit(start.id, tokens: tokens, tiers.fromDisk.contains(start.id) ? \.disk : \.memory)
        let payload = OperationPayload.restorePrefix(slot: start.slot, tokens: tokens, state)
        send(WIRE_OP_SEQ_RESTORE_PREFIX, payload, .fill(start))
    }

    func noteFilled(_ start: SequenceStart, _ status: Int32) {
        guard case .stored(let stored, _) = start.source else { return }
        if status == 0, let sent = tiers.restoring[start.id] {
            tiers.cost.learn(restored: sent.bytes, nanoseconds: MonotonicTime.now.since(sent.since))
        }
        if status == Int32(SWIFTLET_INVALID) { tiers.store?.remove(stored) }
        tiers.restoring[start.id] = nil
    }

    func hit(_ id: GenerationID, tokens: Int, _ tier: WritableKeyPath<PrefixHits, UInt64>) {
        answers[id]?.usage.cachedTokens = tokens
        counters.update { $0.prefixTiers[keyPath: tier] += 1 }
    }

    // MARK: saving

    /// Its place is somebody else's: saves it on the way out, when that pays.
    func evict(_ prefix: KeptPrefix) {
        // Whoever runs now waits for it; where nobody does, whoever gets the place.
        let stall = planner.isAnswering ? planner.limits.stall : planner.limits.longestRead
        if paysToSave(prefix, stall: stall) { save(prefix) } else { tiers.cost.relax() }
        drop(prefix.slot)
    }

    private func paysToSave(_ prefix: KeptPrefix, stall: Double?) -> Bool {
        guard let store = tiers.store, let tenant = prefix.tenant, !prefix.isSettled else { return false }
        let tokens = prefix.tokens.count / PrefixSeal.block * PrefixSeal.block
        let bytes = prefix.tokens.count * Int(info.bytesPerToken)
        return tokens > 0
            && tiers.cost.paysToSave(
                bytes: bytes, tokens: tokens, hits: prefix.hits, perRead: planner.cost.perRead, stall: stall)
            && !store.covers(store.digests(of: prefix.tokens[...], tenant: tenant, model: tiers.model))
    }

    private func save(_ prefix: KeptPrefix) {
        send(WIRE_OP_SEQ_SAVE, OperationPayload.drop(slot: prefix.slot), .keep(prefix, since: .now))
    }

    func kept(_ prefix: KeptPrefix, since: MonotonicTime, _ status: Int32, _ payload: [UInt8]) {
        guard status == 0, let tenant = prefix.tenant else { return }
        tiers.cost.learn(saved: payload.count, nanoseconds: MonotonicTime.now.since(since))
        tiers.store?.insert(payload, of: prefix.tokens, tenant: tenant, model: tiers.model)
    }

    /// Nothing to do for a while: prefixes are saved one by one, so that they leave the engine at no cost, and outlive it.
    func rest() {
        guard let store = tiers.store else { return }
        let isIdle = planner.isEmpty && operations == 0 && stepsOut == 0 && prompts.isEmpty
        guard isIdle, planner.unsettledPrefix != nil else {
            if let timer = tiers.timer { store.loop.cancel(timer) }
            tiers.timer = nil
            return
        }
        guard tiers.timer == nil else { return }
        tiers.timer = store.loop.schedule(at: .now.adding(milliseconds: Self.idleMilliseconds)) { [weak self] in
            guard let self else { return }
            tiers.timer = nil
            saveInAdvance()
            rest()
        }
    }

    private func saveInAdvance() {
        while let prefix = planner.unsettledPrefix {
            planner.settlePrefix(prefix.slot)
            if paysToSave(prefix, stall: nil) { return save(prefix) }
        }
    }

    // MARK: publishing

    /// Reads what the platform published, behind whoever waits already.
    private func publish() {
        guard info.can(SWIFTLET_CAN_GENERATE | SWIFTLET_CAN_COPY_PREFIX) else {
            return Log.error("a model's engine can't share prefixes: none is published", [("model", spec.name)])
        }
        for (index, text) in tiers.publishedTexts.enumerated() {
            let id = tiers.publishedID(index)
            var options = GenerationOptions()
            options.maxTokens = 1
            options.priority = .batch
            let prompt: GenerationRequest.Prompt =
                info.can(SWIFTLET_CAN_CHAT) ? .chat([ChatMessage(role: "system", content: text)]) : .text(text)
            var request = GenerationRequest(tenant: Self.platform, prompt: prompt, options: options)
            request.meter = counters.usage.map { CallMeter(ownCall, ledger: $0) }
            answers[id] = Answer(
                id: id, request: request,
                sink: { _ in }, arrived: .now, assembler: TextAssembler(stops: []))
            prompts.append(id)
        }
        pump()
    }

    /// What the host asks its model by itself.
    private var ownCall: UsageRow {
        var row = UsageRow()
        row.tenant = Self.platform
        row.principal = "host"
        row.kind = .model
        row.name = spec.name
        row.version = spec.version
        row.route = "publish"
        return row
    }

    private func addPublished(_ sequence: SequenceRequest) {
        let others = planner.prefixes.entries.filter { $0.tenant == nil }.reduce(0) { $0 + $1.tokens.count }
        guard others + sequence.prompt.count <= planner.limits.contextTokens / 2 else {
            answers[sequence.id] = nil
            return unpublished(sequence.id, "published prefixes take more than half of context_tokens; shorten them")
        }
        planner.add(sequence)
    }

    func unpublished(_ id: GenerationID, _ cause: String) {
        leave(id)
        Log.error("a prefix can't be published", [("model", spec.name), ("cause", cause)])
    }
}
