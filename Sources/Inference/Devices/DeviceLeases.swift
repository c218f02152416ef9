// The devices of the machine, lent to models from step to step. DeviceShares decides; all models of a host share one.
package import Core
package import Platform

/// Lends every device to the models that compute on it. Loop-confined.
package final class DeviceLeases {
    private let loop: EventLoop
    private let cores: Int
    /// Nil: the processor.
    private var shares: [Device?: DeviceShares] = [:]
    /// For those that wait behind one that hangs.
    private var timers: [Device?: TimerToken] = [:]
    private var granted: [Device?: [DeviceShares.Party: () -> Void]] = [:]

    /// - Parameter cores: threads that may compute at the same time on the processor.
    package init(loop: EventLoop, cores: Int = Processors.usable) {
        self.loop = loop
        self.cores = cores
    }

    /// A part in a device for a model that was loaded.
    ///
    /// - Parameters:
    ///   - device: nil: the processor, of which a step takes `threads`.
    ///   - granted: the device is the model's, some time after `take` said no.
    package func lease(of device: Device?, threads: Int, granted: @escaping () -> Void) -> DeviceLease {
        let capacity = device == nil ? cores : 1
        let party = shares[device, default: DeviceShares(capacity: capacity)].join(threads: device == nil ? threads : 1)
        self.granted[device, default: [:]][party] = granted
        return DeviceLease(self, device, party)
    }

    fileprivate func setWeight(_ weight: Double, _ device: Device?, _ party: DeviceShares.Party) {
        shares[device]?.setWeight(weight, of: party)
    }

    fileprivate func take(_ device: Device?, _ party: DeviceShares.Party) -> Bool {
        let isHis = shares[device]?.take(party, now: .now) ?? false
        if !isHis { watchOver(device) }
        return isHis
    }

    fileprivate func giveBack(_ device: Device?, _ party: DeviceShares.Party) -> UInt64 {
        shares[device]?.giveBack(party, now: .now) ?? 0
    }

    fileprivate func renew(_ device: Device?, _ party: DeviceShares.Party) -> UInt64 {
        shares[device]?.renew(party, now: .now) ?? 0
    }

    fileprivate func othersWait(_ device: Device?) -> Bool { shares[device]?.waiting ?? 0 > 0 }

    fileprivate func passOn(_ device: Device?) {
        for party in shares[device]?.next(now: .now) ?? [] { granted[device]?[party]?() }
        watchOver(device)
    }

    private func watchOver(_ device: Device?) {
        guard timers[device] == nil, let time = shares[device]?.nextOverdue else { return }
        timers[device] = loop.schedule(at: time) { [weak self] in
            self?.timers[device] = nil
            self?.passOn(device)
        }
    }

    fileprivate func end(_ device: Device?, _ party: DeviceShares.Party) {
        shares[device]?.leave(party, now: .now)
        granted[device]?[party] = nil
        passOn(device)
    }
}

/// One loaded model's part in its device. Loop-confined.
package final class DeviceLease {
    private let leases: DeviceLeases
    private let device: Device?
    private let party: DeviceShares.Party

    fileprivate init(_ leases: DeviceLeases, _ device: Device?, _ party: DeviceShares.Party) {
        self.leases = leases
        self.device = device
        self.party = party
    }

    /// - Parameter weight: of all tenants that have work in the model; 0: nobody has.
    package func setWeight(_ weight: Double) { leases.setWeight(weight, device, party) }

    /// True: the device is the model's now. False: `granted` says when it is.
    package func take() -> Bool { leases.take(device, party) }

    /// The step is over. Nobody else gets the device before `passOn`, so that who gives it back can ask for it again and be weighed
    /// with the others. Returns for how long it was held, in nanoseconds.
    package func giveBack() -> UInt64 { leases.giveBack(device, party) }

    /// One step is over and the next one runs already. Returns for how long the device was held, in nanoseconds.
    package func renew() -> UInt64 { leases.renew(device, party) }

    package var othersWait: Bool { leases.othersWait(device) }

    /// Lets others have what is free.
    package func passOn() { leases.passOn(device) }

    /// The worker is gone.
    package func end() { leases.end(device, party) }
}
