// One version of a model at work: its replicas, which of them answers, and when another is worth its memory. Loop-confined.
internal import Platform

final class ReplicaGroup {
    /// How long requests must have waited in every replica before another is loaded.
    private static let backlogMilliseconds: UInt64 = 1000

    private(set) var spec: ModelSpec
    private let loop: EventLoop
    private let cold: (ReplicaGroup) -> Void
    private var replicas: [ServedModel] = []
    private var choice = ReplicaChoice()
    private var isRetired = false
    private var backlogTimer: TimerToken?

    /// - Parameters:
    ///   - make: a replica by its number, which calls back after each change.
    ///   - cold: called when it was retired and no worker is left.
    init(
        _ spec: ModelSpec, loop: EventLoop, make: (Int, @escaping (ServedModel) -> Void) -> ServedModel,
        cold: @escaping (ReplicaGroup) -> Void
    ) {
        self.spec = spec
        self.loop = loop
        self.cold = cold
        for number in 0..<max(1, spec.maxReplicas) {
            replicas.append(make(number) { [weak self] _ in self?.noteChange() })
        }
    }

    var isCold: Bool { replicas.allSatisfy(\.isCold) }

    /// Takes in that the names of this version have changed: only the latest version is kept loaded, and one that is the
    /// latest no more goes when its last answer is over.
    func rename(_ spec: ModelSpec) {
        let was = self.spec.isLatest
        self.spec = spec
        for (number, replica) in replicas.enumerated() {
            replica.keep(spec.isLatest && number < spec.minReplicas)
            if was != spec.isLatest { replica.hurry(was) }
        }
    }

    /// The replica that should answer a request.
    func replica(for request: ModelRequest) -> ServedModel {
        guard replicas.count > 1 else { return replicas[0] }
        return replicas[
            choice.choose(
                among: replicas.map { ReplicaChoice.Candidate($0.readiness, load: $0.load) },
                beginnings: ReplicaChoice.beginnings(of: request))]
    }

    /// Unloads when nothing runs or waits, for good.
    func retire() {
        isRetired = true
        stopTimer()
        for replica in replicas { replica.retire() }
    }

    func shutDown() {
        stopTimer()
        for replica in replicas { replica.shutDown() }
    }

    // MARK: another replica

    private func noteChange() {
        if isRetired, isCold { return cold(self) }
        guard replicas.count > 1 else { return }
        guard sleeper != nil else { return stopTimer() }
        if backlogTimer == nil { startTimer() }
    }

    /// The replica that would help, when each that is loaded has requests waiting.
    private var sleeper: ServedModel? {
        guard !isRetired else { return nil }
        var candidate: ServedModel?
        var loaded = 0
        for replica in replicas {
            switch replica.readiness {
            case .ready:
                guard replica.status.waiting > 0 else { return nil }
                loaded += 1
            case .coming, .blocked: return nil
            case .asleep: candidate = candidate ?? replica
            }
        }
        return loaded > 0 ? candidate : nil
    }

    private func startTimer() {
        let due = MonotonicTime.now.adding(milliseconds: Self.backlogMilliseconds)
        backlogTimer = loop.schedule(at: due) { [weak self] in
            guard let self else { return }
            backlogTimer = nil
            guard let sleeper else { return }
            sleeper.warmAsSpare()
            // No memory for it now: asked again while the backlog lasts.
            if backlogTimer == nil, self.sleeper != nil { startTimer() }
        }
    }

    private func stopTimer() {
        if let backlogTimer { loop.cancel(backlogTimer) }
        backlogTimer = nil
    }
}
