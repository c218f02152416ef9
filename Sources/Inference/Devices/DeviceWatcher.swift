// Asks the driver, while a model has a device, who holds how much of it, and has those ended whom DeviceWatch names.
internal import Core
package import Platform
internal import Synchronization
package import Workers

/// Works on a loop where blocking is fine: the driver's calls take their time.
package final class DeviceWatcher: Sendable {
    private struct Watched {
        let worker: Worker
        let end: @Sendable (DeviceOveruse) -> Void
    }

    /// What only the loop touches.
    private final class Desk {
        let library: String
        var watched: [UInt32: Watched] = [:]
        var watch = DeviceWatch()
        var driver: NVML?
        var isTicking = false
        /// What was said last about a driver that can't be asked: each complaint is logged once.
        var complaint = ""

        init(library: String) { self.library = library }
    }

    private let remote: LoopRemote
    private let desk: LoopBound<Desk>
    private let intervalMilliseconds: UInt64

    /// - Parameters:
    ///   - loop: of a thread that may block.
    ///   - library: another one in NVIDIA's place, for tests.
    package init(loop: EventLoop, library: String = NVML.library, intervalMilliseconds: UInt64 = 500) {
        remote = loop.remote
        desk = LoopBound(Desk(library: library), on: loop)
        self.intervalMilliseconds = intervalMilliseconds
    }

    /// Watches a worker until it is gone. One without a device, or whose device's driver keeps the limit itself, is no work.
    ///
    /// - Parameter end: called, on another thread, when it is over its budget.
    package func watch(_ worker: Worker, end: @escaping @Sendable (DeviceOveruse) -> Void) {
        guard case .gpu = worker.spec.device else { return }
        remote.submit { [self] loop in
            desk.value.watched[worker.number] = Watched(worker: worker, end: end)
            if !desk.value.isTicking { tick(on: loop) }
        }
    }

    private func tick(on loop: EventLoop) {
        let desk = desk.value
        desk.watched = desk.watched.filter { $0.value.worker.exit == nil }
        desk.isTicking = !desk.watched.isEmpty
        guard desk.isTicking else { return desk.driver = nil }
        judge(desk)
        loop.schedule(at: .now.adding(milliseconds: intervalMilliseconds)) { [self, unowned loop] in tick(on: loop) }
    }

    private func judge(_ desk: Desk) {
        let shares = desk.watched.values.compactMap { one in
            one.worker.spec.device.map {
                DeviceWatch.Share(
                    worker: one.worker.number, pid: one.worker.pid, device: $0,
                    budget: one.worker.spec.limits.deviceMemoryBytes)
            }
        }
        let samples = ask(desk, Set(shares.map(\.device)))
        for verdict in desk.watch.decide(samples, shares: shares, now: .now) {
            desk.watched[verdict.worker]?.end(verdict.overuse)
        }
    }

    /// A device that can't be asked now is missing.
    private func ask(_ desk: Desk, _ devices: Set<Device>) -> [Device: [NVML.Use]] {
        var samples: [Device: [NVML.Use]] = [:]
        do throws(NVMLError) {
            if desk.driver == nil {
                desk.driver = try NVML(library: desk.library)
                if !PidNamespace.isFirst {
                    Log.error(
                        "gpu-memory-watch may see nobody: this is a pid namespace, and drivers count in the machine's")
                }
            }
            for device in devices {
                guard case .gpu(let number) = device else { continue }
                samples[device] = try desk.driver?.uses(ofDevice: number)
            }
            desk.complaint = ""
        } catch {
            complain(desk, error)
        }
        return samples
    }

    private func complain(_ desk: Desk, _ error: NVMLError) {
        guard desk.complaint != error.description else { return }
        desk.complaint = error.description
        Log.error(
            "gpu-memory-watch is absent: models are not held to limits.device_memory_mb while they run",
            [("cause", error.description)])
    }
}
