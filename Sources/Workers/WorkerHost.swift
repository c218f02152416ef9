// Starts and ends workers: keeps zygotes ready, lets each trust key adopt its own, and lets them go when it sleeps.
internal import CLinux
package import Core
internal import Glibc
package import Platform
internal import SwiftletWire
internal import Synchronization

/// Where the pieces are and how many are kept ready.
package struct WorkerHostConfiguration: Sendable {
    package var zygotePath: String
    package var kitPath: String
    package var swiftRuntimePath: String
    /// A plugin of ours from which zygotes learn what a first invocation writes to.
    package var rehearsalPath: String?
    /// Zygotes that are started ahead, not yet adopted.
    package var spareZygotes = 1
    /// Workers that each zygote keeps confined and waiting; all but one of them with the job of a function called lately.
    package var preparedWorkers: UInt32 = 3
    /// How long an adopted zygote without workers is kept.
    package var zygoteIdleMilliseconds: UInt64 = 1000
    /// After this time a tenant gets a new zygote, and with it a new address layout.
    package var zygoteLifeMilliseconds: UInt64 = 600_000
    /// Layers of the sandbox to leave out, for tests.
    package var withoutLayers = ""

    package init(zygotePath: String, kitPath: String, swiftRuntimePath: String) {
        self.zygotePath = zygotePath
        self.kitPath = kitPath
        self.swiftRuntimePath = swiftRuntimePath
    }
}

/// The processes of this host. Any thread may start a worker; the control loop reads what the zygotes say.
package final class WorkerHost: Sendable {
    private struct State {
        var spares: [Zygote] = []
        var adopted: [String: Zygote] = [:]
        /// Replaced by younger ones; they end when their last worker has.
        var aged: [Zygote] = []
        var all: [UInt32: Zygote] = [:]
        var nextZygote: UInt32 = 1
        var nextWorker: UInt32 = 1
        var layers: SandboxLayers?
        var closing = false
        var forkerEnded = false
        var sweeping = false
        var controlLoop: LoopRemote?
        var whenAged: @Sendable ([Worker]) -> Void = { _ in }
    }

    package let configuration: WorkerHostConfiguration
    package let forkerPid: Int32
    private let forker: ControlSocket
    private let state = Mutex(State())

    /// Starts the forker, the one process that keeps privileges. Call it before the first thread and before dropping root.
    package init(_ configuration: WorkerHostConfiguration) throws(RuntimeError) {
        self.configuration = configuration
        do {
            var pair = try ChannelPair()
            forkerPid = try Self.spawnForker(configuration, control: pair.theirs.raw)
            forker = ControlSocket(pair.takeOurs(), name: "forker")
        } catch {
            throw RuntimeError(
                .unavailable, step: "start \(configuration.zygotePath)", cause: "\(error)",
                next: "check that the file exists and may be executed: run `make build`")
        }
    }

    private static func spawnForker(_ configuration: WorkerHostConfiguration, control: CInt) throws(SystemError)
        -> Int32
    {
        var arguments = [
            configuration.zygotePath, "forker", "--control", "3", "--kit", configuration.kitPath, "--swift-runtime",
            configuration.swiftRuntimePath, "--cgroup-name", "swiftlet-\(getpid())",
        ]
        if let rehearsal = configuration.rehearsalPath { arguments += ["--rehearsal", rehearsal] }
        if !configuration.withoutLayers.isEmpty { arguments += ["--without", configuration.withoutLayers] }
        let environment = ["PATH=/usr/bin:/bin", "SWIFT_BACKTRACE=enable=no", "LANG=C.UTF-8"]
        return try unsafe withCStrings(arguments) { argv throws(SystemError) in
            try unsafe withCStrings(environment) { envp throws(SystemError) in
                try check(
                    unsafe clinux_spawn(configuration.zygotePath, argv, envp, [control], 1),
                    "posix_spawn(\(configuration.zygotePath))")
            }
        }
    }

    /// What the forker found; nil until it has told.
    package var layers: SandboxLayers? { state.withLock(\.layers) }

    /// True when a zygote waits to be adopted.
    package var isPrepared: Bool { state.withLock { $0.spares.contains(where: \.isReady) } }

    /// Every live worker.
    package var workers: [Worker] { state.withLock { Array($0.all.values) }.flatMap(\.workers) }

    /// Adopted zygotes; 0 when every tenant sleeps.
    package var adoptedZygotes: Int { state.withLock(\.adopted.count) }

    // MARK: workers

    /// Starts a worker. Its channel may be written at once: what waits there is read when it is ready.
    package func start(_ spec: WorkerSpec) throws(RuntimeError) -> Worker {
        var spec = spec
        if let device = spec.device { spec = spec.with(try device.nodes(for: spec.key)) }
        do {
            for _ in 0..<Self.attempts { if let worker = try tryStart(spec) { return worker } }
        } catch {
            throw Self.cannotStart(spec, cause: "\(error)")
        }
        let cause = state.withLock(\.forkerEnded) ? "the forker has ended: restart the host" : "its zygotes end at once"
        throw Self.cannotStart(spec, cause: cause)
    }

    /// A zygote that was killed, or that leaves at this moment, costs its successor's start and not the invocation.
    private static var attempts: Int { 5 }

    /// - Returns: nil when the zygote had ended, or leaves at this moment.
    private func tryStart(_ spec: WorkerSpec) throws(SystemError) -> Worker? {
        guard let (zygote, prepared) = try Self.unlessGone({ () throws(SystemError) in try adopt(spec) }) else {
            return nil
        }
        let number = state.withLock { state in
            defer { state.nextWorker &+= 1 }
            return state.nextWorker
        }
        // Only these load filters are chosen ahead.
        let isPrepared = spec.purpose == .handler || spec.purpose == .probe
        let waiting = isPrepared ? zygote.takePrepared(for: spec) : nil
        if let waiting, waiting.job != 0 || waiting.fits(spec.limits) {
            let worker = Worker(
                number: number, wireNumber: waiting.number, spec: spec,
                channel: FileDescriptor(owning: waiting.channel), fromPreparedZygote: prepared)
            let begun =
                waiting.job != 0
                ? zygote.begin(worker, prepared: waiting) : zygote.startPrepared(worker, pid: waiting.pid)
            if begun { return worker }
            if !zygote.isLeaving { return nil }  // that one had ended
        } else {
            if let waiting { _ = Glibc.close(waiting.channel) }
            var pair = try ChannelPair()
            let worker = Worker(
                number: number, wireNumber: number, spec: spec, channel: pair.takeOurs(), fromPreparedZygote: prepared)
            let theirs = pair.theirs.raw
            let started = try Self.unlessGone { () throws(SystemError) in
                try zygote.start(worker, prepared: waiting?.number ?? 0, workerEnd: theirs)
            }
            if started == true { return worker }
        }
        drop(zygote, key: spec.zygoteKey)
        return nil
    }

    /// What follows a start when there is time: the zygote prepares another worker. Once for each, soon after `start`.
    package func settle(_ worker: Worker) {
        let zygote = state.withLock { state in state.all.values.first { $0.has(worker) } }
        zygote?.settle(worker, jobs: Int(configuration.preparedWorkers) - 1)
    }

    /// Nil when the peer of a socket is gone.
    private static func unlessGone<Value>(_ body: () throws(SystemError) -> Value) throws(SystemError) -> Value? {
        do {
            return try body()
        } catch  where [EPIPE, ECONNRESET, ENOTCONN].contains(error.code) {
            return nil
        }
    }

    private static func cannotStart(_ spec: WorkerSpec, cause: String) -> RuntimeError {
        RuntimeError(
            .unavailable, step: "start a worker for \(spec.key)", cause: cause,
            next: "see the host's log; `swiftlet doctor` shows what this machine lacks")
    }

    /// Ends a worker that doesn't end by itself.
    package func kill(_ worker: Worker) {
        let zygote = state.withLock { state in state.all.values.first { $0.has(worker) } }
        zygote?.kill(worker.wireNumber)
    }

    /// Asks an idle worker to end: it reads the end of its channel.
    package func retire(_ worker: Worker) { _ = shutdown(worker.channel.raw, CInt(SHUT_RDWR)) }

    /// Ends everything: the forker ends the zygotes, they end their workers, and it removes the cgroups.
    package func close() {
        state.withLock { $0.closing = true }
        forker.hangUp()
        var status: CInt = 0
        for _ in 0..<500 where unsafe clinux_try_wait(forkerPid, &status) == 0 { usleep(10_000) }
    }

    /// Calls `outdate` on the control loop with the workers of a zygote that was replaced: they should get no more work.
    package func whenZygoteAges(_ outdate: @escaping @Sendable ([Worker]) -> Void) {
        state.withLock { $0.whenAged = outdate }
    }

    // MARK: zygotes

    private func adopt(_ spec: WorkerSpec) throws(SystemError) -> (Zygote, prepared: Bool) {
        let key = spec.zygoteKey
        if let zygote = state.withLock({ $0.adopted[key] }) { return (zygote, true) }
        let spare = state.withLock { state -> Zygote? in
            let index = state.spares.firstIndex(where: \.isReady) ?? state.spares.indices.first
            guard let index else { return nil }
            return state.spares.remove(at: index)
        }
        let prepared = spare?.isReady ?? false
        let zygote: Zygote
        if let spare { zygote = spare } else { zygote = try launch() }
        // Two loops may wake one trust key at once: the second gives its zygote back.
        let winner = try state.withLock { state throws(SystemError) -> Zygote in
            if let other = state.adopted[key] {
                state.spares.append(zygote)
                return other
            }
            // Under the lock: nobody may send it work before this.
            try zygote.adopt(root: spec.root, nodes: spec.nodes)
            state.adopted[key] = zygote
            return zygote
        }
        if winner === zygote { wakeControlLoop() }
        return (winner, prepared)
    }

    /// Forgets a zygote that can't be used, and makes sure that it ends.
    private func drop(_ zygote: Zygote, key: String) {
        state.withLock { state in
            if state.adopted[key] === zygote { state.adopted[key] = nil }
            state.spares.removeAll { $0 === zygote }
        }
        zygote.socket.hangUp()
        wakeControlLoop()
    }

    private func launch() throws(SystemError) -> Zygote {
        let (number, loop) = state.withLock { state in
            defer { state.nextZygote &+= 1 }
            return (state.nextZygote, state.controlLoop)
        }
        var pair = try ChannelPair()
        let zygote = Zygote(number: number, socket: ControlSocket(pair.takeOurs(), name: "zygote"))
        var frame = FrameBuilder(FrameHead(WIRE_SPAWN), capacity: 8)
        frame.append(number)
        frame.append(configuration.preparedWorkers)
        try forker.send(frame.finish(), descriptors: [pair.theirs.raw])
        state.withLock { $0.all[number] = zygote }
        loop?.submit { loop in
            try? zygote.socket.read(on: loop, buffer: PacketBuffer(), received: zygote.received, ended: zygote.ended)
        }
        return zygote
    }

    // MARK: the control loop

    /// Gives the sockets to the loop that reads them, and starts the spare zygotes.
    package func attach(to loop: EventLoop) throws(RuntimeError) {
        state.withLock { $0.controlLoop = loop.remote }
        do {
            try forker.read(on: loop, buffer: PacketBuffer(), received: received, ended: noteForkerEnd)
        } catch {
            throw RuntimeError(
                .internalError, step: "watch the forker", cause: "\(error)", next: "raise the limit of open files")
        }
        refillSpares()
    }

    private func received(_ head: FrameHead, _ payload: RawSpan, _ passed: consuming FileDescriptor?) {
        var offset = 0
        switch Int(head.type) {
        case Int(WIRE_FORKER_READY):
            guard payload.u32(&offset) != nil, let have = payload.u32(&offset), let cgroup = payload.u32(&offset) else {
                return
            }
            let layers = SandboxLayers(have: have, cgroup: cgroup)
            state.withLock { $0.layers = layers }
            guard !layers.missing.isEmpty else { return }
            Log.info(
                "this machine does not give every layer of the sandbox; `swiftlet doctor` says how to get them",
                [("missing", layers.missing.joined(separator: ","))])
        case Int(WIRE_ZYGOTE_GONE):
            guard let number = payload.u32(&offset) else { return }
            remove(number)
        default:
            Log.error("the forker reports a failure", [("cause", payload.text(in: 0..<payload.byteCount))])
        }
    }

    private func noteForkerEnd() {
        let closing = state.withLock { state in
            state.forkerEnded = true
            return state.closing
        }
        if !closing { Log.error("the forker ended: no new worker can start; restart the host") }
    }

    private func remove(_ number: UInt32) {
        let zygote = state.withLock { state in
            state.spares.removeAll { $0.number == number }
            state.aged.removeAll { $0.number == number }
            for (key, zygote) in state.adopted where zygote.number == number { state.adopted[key] = nil }
            return state.all.removeValue(forKey: number)
        }
        zygote?.ended()
        refillSpares()
    }

    private static var refillDelay: UInt64 { 20 }

    private func wakeControlLoop() {
        state.withLock(\.controlLoop)?.submit { [self] loop in
            // Not beside the invocation that took the last one: a zygote starts for 60 ms.
            loop.schedule(at: loop.now.adding(milliseconds: Self.refillDelay)) { [self] in refillSpares() }
            let begins = state.withLock { state in
                defer { state.sweeping = true }
                return !state.sweeping
            }
            if begins { sweep(on: loop) }
        }
    }

    private func refillSpares() {
        while state.withLock({ !$0.closing && !$0.forkerEnded && $0.spares.count < configuration.spareZygotes }) {
            do throws(SystemError) {
                let zygote = try launch()
                state.withLock { $0.spares.append(zygote) }
            } catch {
                return Log.error("could not start a zygote", [("cause", "\(error)")])
            }
        }
    }

    /// Lets zygotes go whose trust key has slept for long enough; runs only while one is adopted.
    private func sweep(on loop: EventLoop) {
        let limit = configuration.zygoteIdleMilliseconds &* 1_000_000
        let now = MonotonicTime.now
        let life = configuration.zygoteLifeMilliseconds &* 1_000_000
        let (retired, aged, outdate, again) = state.withLock { state in
            let idle = state.adopted.filter { $0.value.retire(idleFor: limit, now: now) }
            for key in idle.keys { state.adopted[key] = nil }
            let old = state.adopted.filter { $0.value.hasLived(life, now: now) }
            for key in old.keys { state.adopted[key] = nil }
            state.aged += old.values
            let emptied = state.aged.filter { $0.retire(idleFor: 0, now: now) }
            state.aged.removeAll { zygote in emptied.contains { $0 === zygote } }
            state.sweeping = !(state.adopted.isEmpty && state.aged.isEmpty) && !state.closing
            return (Array(idle.values) + emptied, state.aged, state.whenAged, state.sweeping)
        }
        // Each time anew: a start may have been on its way while it aged.
        for zygote in aged { outdate(zygote.workers) }
        for zygote in retired { zygote.socket.hangUp() }
        guard again else { return }
        loop.schedule(at: now.adding(nanoseconds: max(limit / 4, 50_000_000))) { [self, unowned loop] in sweep(on: loop)
        }
    }
}
