// The keys of one issuer, shared by all loops: readers ask without waiting, the loop of keys gets new ones.
internal import Core
internal import Platform
internal import Synchronization

final class IssuerKeys: Sendable {
    enum Answer {
        /// `generation` names the set that the key is of.
        case key(VerificationKey, generation: UInt64)
        case unknown
        case ambiguous
        /// Ask again after so many seconds.
        case notYet(Int)
    }

    private struct State {
        var schedule: KeySchedule
        var set: KeySet?
        var generation: UInt64 = 0
        var timer: TimerToken?
        var isClosed = false
    }

    let source: KeySource
    let keep: UInt64
    private let issuer: String
    private let loop: LoopRemote
    private let state: Mutex<State>
    /// Used on the loop of keys only, once that runs.
    private let reader: Mutex<KeyReader>

    /// A file is read at once; an address is asked by the loop.
    init(_ policy: IssuerPolicy, loop: LoopRemote) throws(RuntimeError) {
        source = policy.source
        keep = policy.keepsKeys
        issuer = policy.issuer
        self.loop = loop
        let rules =
            switch policy.source {
            case .file:
                KeySchedule.Rules(unknownKeyPause: nil, longestPause: KeyReader.filePause, keep: policy.keepsKeys)
            case .url: KeySchedule.Rules(unknownKeyPause: 30_000, longestPause: 60_000, keep: policy.keepsKeys)
            }
        state = Mutex(State(schedule: KeySchedule(rules, now: .now)))
        reader = Mutex(KeyReader(policy.source))
        if case .file(let path) = source {
            guard state.withLock({ $0.schedule.begin(.now) }) else { return }
            if let fault = fetch() {
                throw RuntimeError(
                    .badRequest, step: "read the keys of the issuer \(Names.quoted(policy.issuer)) from \(path)",
                    cause: fault.words,
                    next: "give a JSON Web Key Set that the user of the host may read; see docs/jwt.md")
            }
        }
        loop.submit { [weak self] loop in self?.refresh(loop) }
    }

    func close() { state.withLock { $0.isClosed = true } }

    // MARK: any thread

    func key(_ id: String?, _ algorithm: JWTAlgorithm, now: MonotonicTime) -> Answer {
        let (answer, wasMissed) = state.withLock { state -> (Answer, Bool) in
            guard let set = state.set, state.schedule.isUsable(now) else { return (.notYet(1), false) }
            switch set.key(id, algorithm) {
            case .key(let key): return (.key(key, generation: state.generation), false)
            case .ambiguous: return (.ambiguous, false)
            case .none:
                let wasMissed = state.schedule.missed(now)
                return (state.schedule.isAwaited(now) ? .notYet(1) : .unknown, wasMissed)
            }
        }
        if wasMissed { loop.submit { [weak self] loop in self?.refresh(loop) } }
        return answer
    }

    /// Whether what was found in that set still holds.
    func holds(_ generation: UInt64, now: MonotonicTime) -> Bool {
        state.withLock { $0.generation == generation && $0.schedule.isUsable(now) }
    }

    // MARK: the loop of keys

    private func refresh(_ loop: EventLoop) {
        guard !state.withLock(\.isClosed) else { return }
        if state.withLock({ $0.schedule.begin(.now) }) { _ = fetch() }
        let due = state.withLock { state in
            if let timer = state.timer { loop.cancel(timer) }
            return state.schedule.due
        }
        let timer = loop.schedule(at: due) { [weak self, unowned loop] in self?.refresh(loop) }
        state.withLock { $0.timer = timer }
    }

    /// Gets the keys; what fails leaves the old ones.
    private func fetch() -> KeySet.Fault? {
        do throws(KeySet.Fault) {
            let isClosed: @Sendable () -> Bool = { [weak self] in self?.state.withLock(\.isClosed) ?? true }
            let text = try reader.withLock { (reader) throws(KeySet.Fault) in try reader.read(isClosed: isClosed) }
            switch text {
            case .same: accept(nil, lifetime: KeyReader.filePause)
            case .text(let bytes, let lifetime): accept(try KeySet(bytes), lifetime: lifetime)
            }
            return nil
        } catch {
            reader.withLock { $0.forget() }
            refuse(error)
            return error
        }
    }

    private func accept(_ set: KeySet?, lifetime: UInt64) {
        let (isNew, failures) = state.withLock { state in
            let failures = state.schedule.failures
            state.schedule.succeeded(.now, lifetime: lifetime)
            guard let set, state.set?.digest != set.digest else { return (false, failures) }
            state.set = set
            state.generation += 1
            return (true, failures)
        }
        if let set, isNew {
            var fields = [("issuer", issuer), ("keys", "\(set.keys.count)")]
            let ignored = set.ignored.sorted { $0.key < $1.key }.map { "\($0.value) because \($0.key)" }
            if !ignored.isEmpty { fields.append(("left_out", ignored.joined(separator: "; "))) }
            Log.info("an issuer's keys are in use", fields)
        } else if failures > 0 {
            Log.info("an issuer's keys can be had again", [("issuer", issuer)])
        }
    }

    private func refuse(_ fault: KeySet.Fault) {
        let (failures, hasKeys) = state.withLock { state in
            state.schedule.failed(.now)
            return (state.schedule.failures, state.set != nil && state.schedule.isUsable(.now))
        }
        // Once in a while: a file is looked at every second.
        guard failures & (failures - 1) == 0 else { return }
        Log.error(
            "an issuer's keys can't be refreshed",
            [
                ("issuer", issuer), ("cause", fault.words), ("tries", "\(failures)"),
                ("until_then", hasKeys ? "the old keys are used" : "its tokens are answered by 503"),
            ])
    }
}
