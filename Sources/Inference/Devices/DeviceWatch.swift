// Who holds more of a device than its share. Pure: DeviceWatcher asks the driver, and ends whom this names.
package import Core
package import Platform

package struct DeviceWatch {
    /// A worker and its share of a device.
    package struct Share: Equatable, Sendable {
        package var worker: UInt32
        /// As the driver knows it; 0 while it isn't known.
        package var pid: Int32
        package var device: Device
        package var budget: UInt64

        package init(worker: UInt32, pid: Int32, device: Device, budget: UInt64) {
            self.worker = worker
            self.pid = pid
            self.device = device
            self.budget = budget
        }
    }

    package struct Verdict: Equatable, Sendable {
        package var worker: UInt32
        package var overuse: DeviceOveruse

        package init(worker: UInt32, overuse: DeviceOveruse) {
            self.worker = worker
            self.overuse = overuse
        }
    }

    /// A worker that was named is named again after this time: ending it may have failed.
    package static let againAfterMilliseconds: UInt64 = 5_000

    private var named: [UInt32: MonotonicTime] = [:]

    package init() {}

    /// - Parameter samples: by device; one that could not be asked is missing, and nobody on it is judged.
    package mutating func decide(
        _ samples: [Device: [NVML.Use]], shares: [Share], now: MonotonicTime
    ) -> [Verdict] {
        let live = Set(shares.map(\.worker))
        named = named.filter { live.contains($0.key) }
        return shares.compactMap { share in
            guard share.pid > 0, let uses = samples[share.device] else { return nil }
            // A process has an entry for each part of a divided device.
            let used = uses.filter { $0.pid == share.pid }.reduce(0 as UInt64) { sum, use in
                sum.addingReportingOverflow(use.bytes).partialValue
            }
            guard used > share.budget, mayName(share.worker, now) else { return nil }
            named[share.worker] = now
            return Verdict(
                worker: share.worker,
                overuse: DeviceOveruse(device: share.device, used: used, budget: share.budget))
        }
    }

    private func mayName(_ worker: UInt32, _ now: MonotonicTime) -> Bool {
        guard let before = named[worker] else { return true }
        return now.since(before) >= Self.againAfterMilliseconds * 1_000_000
    }
}
