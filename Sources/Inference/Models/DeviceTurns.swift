// Which of a loaded model's runners computes next, while the model has its device: a worker does one thing at a time.
internal import Platform
internal import Workers

/// The runners' turns at the model's part in its device. Loop-confined.
final class DeviceTurns {
    /// A runner that has the device, or wants it.
    private struct Claim {
        let runner: ObjectIdentifier
        let since: MonotonicTime
        let granted: () -> Void
    }

    private let counters: ModelCounters
    private var lease: DeviceLease?
    /// The first has the device, or is the one for which it was asked.
    private var claims: [Claim] = []
    private(set) var isHeld = false

    init(_ leases: DeviceLeases, _ spec: ModelSpec, counters: ModelCounters) {
        self.counters = counters
        lease = leases.lease(of: spec.worker.device, threads: spec.stepThreads) { [unowned self] in granted() }
    }

    /// - Parameter weight: of all tenants that have work in the model.
    func setWeight(_ weight: Double) { lease?.setWeight(weight) }

    /// True: the runner has the device. False: `granted` is called when it has.
    func take(_ runner: AnyObject, granted: @escaping () -> Void) -> Bool {
        guard lease != nil else { return false }
        let runner = ObjectIdentifier(runner)
        if let index = claims.firstIndex(where: { $0.runner == runner }) { return index == 0 && isHeld }
        claims.append(Claim(runner: runner, since: .now, granted: granted))
        if claims.count == 1 { ask() }
        return claims[0].runner == runner && isHeld
    }

    /// The runner has the device and nothing to compute after all.
    func leave(_ runner: AnyObject) {
        guard isHeld, claims.first?.runner == ObjectIdentifier(runner) else { return }
        giveBack()
        passOn()
    }

    /// Somebody else computes next, in this model or another.
    var othersWait: Bool { claims.count > 1 || lease?.othersWait ?? false }

    /// What was computed is there, and what was sent behind it runs already: the part is held on, and weighed anew.
    func renew() {
        guard isHeld, let lease else { return }
        let held = lease.renew()
        counters.update { $0.deviceHeldNanoseconds += held }
    }

    /// What was computed is there. Others are told by `passOn`, when the runner has had the chance to ask again.
    func giveBack() {
        guard isHeld, let lease else { return }
        isHeld = false
        if !claims.isEmpty { claims.removeFirst() }
        let held = lease.giveBack()
        counters.update { $0.deviceHeldNanoseconds += held }
    }

    /// First this model's other runner asks, so that it is weighed with the other models.
    func passOn() {
        if !isHeld, let next = claims.first {
            ask()
            if isHeld { next.granted() }
        }
        lease?.passOn()
    }

    /// The worker is gone.
    func end() {
        claims = []
        isHeld = false
        let lease = lease
        self.lease = nil
        lease?.end()
    }

    private func ask() {
        guard let lease, lease.take() else { return }
        noteTurn()
    }

    private func granted() {
        noteTurn()
        claims.first?.granted()
    }

    private func noteTurn() {
        isHeld = true
        guard let since = claims.first?.since else { return }
        let waited = MonotonicTime.now.since(since)
        counters.update {
            $0.deviceTurns += 1
            $0.deviceWaitNanoseconds += waited
        }
    }
}
