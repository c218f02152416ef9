// Asks a plugin what it is, in a jailed throw-away worker: the host itself never loads one.
package import Core
internal import Glibc
internal import Platform
internal import SwiftletWire
package import Workers

/// Loads a plugin once, far from the host, and reports what went wrong.
package struct PluginProbe: Sendable {
    private let host: WorkerHost
    /// How long constructors and the entry function may take.
    package var timeoutMilliseconds: Int32 = 10_000

    package init(host: WorkerHost) { self.host = host }

    /// Blocks: call it off the loops.
    /// - Parameter root: the directory whose child `deployment.directoryName` holds the files.
    package func check(_ deployment: Deployment, root: String) throws(RuntimeError) {
        var limits = Limits(defaultsFor: deployment.kind)
        limits.memoryBytes = max(limits.memoryBytes, 256 << 20)
        let spec = WorkerSpec(
            purpose: .probe, key: deployment.key, trust: "probe:\(deployment.tenant)/\(deployment.digest)", root: root,
            directory: deployment.directoryName, library: deployment.manifest.library ?? "plugin.so",
            limits: limits)
        let worker = try host.start(spec)
        defer { host.kill(worker) }
        let verdict = firstFrame(of: worker)
        if let verdict { throw failure(deployment, verdict) }
    }

    /// What is wrong with it; nil when it loaded.
    private func firstFrame(of worker: Worker) -> String? {
        let buffer = PacketBuffer()
        let deadline = MonotonicTime.now.adding(milliseconds: UInt64(timeoutMilliseconds))
        while true {
            var wait = pollfd(fd: worker.channel.raw, events: Int16(POLLIN), revents: 0)
            let rest = deadline.since(.now) / 1_000_000
            guard rest > 0, unsafe poll(&wait, 1, CInt(rest)) > 0 else {
                return "it did not finish loading within \(timeoutMilliseconds) ms; look at its constructors"
            }
            switch buffer.receive(from: worker.channel.raw) {
            case .packet(let count):
                var answer: String??
                buffer.withPacket(count) { packet in
                    guard let head = FrameHead(packet: packet) else { return }
                    if Int(head.type) == Int(WIRE_READY) { answer = .some(nil) }
                    if Int(head.type) == Int(WIRE_FAILED) { answer = packet.text(in: Int(WIRE_HEAD_SIZE)..<count) }
                }
                if let answer { return answer }
            case .wouldBlock: continue
            case .closed, .tooLong: return ending(of: worker)
            }
        }
    }

    private func ending(of worker: Worker) -> String {
        for _ in 0..<200 {
            if let exit = worker.exit { return exit.words(limits: worker.spec.limits) }
            usleep(10_000)
        }
        return "its worker ended while loading it"
    }

    private func failure(_ deployment: Deployment, _ text: String) -> RuntimeError {
        RuntimeError(
            .pluginInvalid, step: "probe \(deployment.manifest.library ?? "plugin.so") of \(deployment.key)",
            cause: text,
            next: "mend the plugin, build it again and deploy it again")
    }
}
