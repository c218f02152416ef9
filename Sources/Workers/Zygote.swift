// One zygote as the host knows it: adopted by one trust key at most, and the parent of that key's workers.
internal import CLinux
internal import Core
internal import Glibc
internal import Platform
internal import SwiftletWire
internal import Synchronization

final class Zygote: Sendable {
    let number: UInt32
    let socket: ControlSocket
    private let state = Mutex(State())

    /// A worker that waits: for a job, with limits in force, or with its job for work.
    struct Prepared {
        let number: UInt32
        let pid: Int32
        let memoryBytes: UInt64
        let threads, cpuPercent, cpuWeight: UInt32
        /// Which of the known jobs it has; 0: none.
        let job: UInt32
        /// Owned; closed by whoever takes this.
        let channel: CInt

        func fits(_ limits: Limits) -> Bool {
            memoryBytes == limits.memoryBytes && threads == limits.threads && cpuPercent == limits.cpuPercent
                && cpuWeight == limits.cpuWeight
        }

        /// Looks without waiting: its end of the channel is closed once it has ended.
        var isAlive: Bool {
            var first: UInt8 = 0
            return unsafe recv(channel, &first, 1, CInt(MSG_PEEK | MSG_DONTWAIT)) != 0
        }
    }

    /// A job that was done lately: a worker waits that has it already, or is asked for.
    private struct KnownJob {
        let number: UInt32
        let pool: WorkerSpec.Pool
        let limits: Limits
        var askedAt: MonotonicTime?
    }

    private struct State {
        var ready = false
        /// By wire number.
        var workers: [UInt32: Worker] = [:]
        var prepared: [Prepared] = []
        /// The last one is the latest.
        var jobs: [KnownJob] = []
        var nextJob: UInt32 = 1
        var idleSince: MonotonicTime? = .now
        var adoptedAt: MonotonicTime?
        /// It gets no more workers: it was let go, or its socket is dead.
        var leaving = false
        var failure = ""
    }

    init(number: UInt32, socket: ControlSocket) {
        self.number = number
        self.socket = socket
    }

    var isReady: Bool { state.withLock(\.ready) }
    var isLeaving: Bool { state.withLock(\.leaving) }
    var workers: [Worker] { state.withLock { Array($0.workers.values) } }

    func has(_ worker: Worker) -> Bool { state.withLock { $0.workers[worker.wireNumber] === worker } }

    func adopt(root: String, nodes: [DeviceNode]) throws(SystemError) {
        let directory = try FileDescriptor.open(root, flags: O_RDONLY | O_DIRECTORY)
        var frame = FrameBuilder(FrameHead(WIRE_ADOPT), capacity: 16)
        frame.append(UInt32(WIRE_VERSION))
        frame.append(UInt32(1))
        frame.append(UInt32(nodes.count))
        frame.append(UInt32(0))
        nodes.append(to: &frame)
        try socket.send(frame.finish(), descriptors: [directory.raw])
        state.withLock { $0.adoptedAt = .now }
    }

    /// Takes a worker that waits: if possible one that has this job, else one with these limits, else any without a job.
    func takePrepared(for spec: WorkerSpec) -> Prepared? {
        state.withLock { state in
            let job =
                spec.purpose == .handler ? state.jobs.last { $0.pool == spec.pool && $0.limits == spec.limits } : nil
            let index =
                state.prepared.firstIndex { $0.job != 0 && $0.job == job?.number }
                ?? state.prepared.firstIndex { $0.job == 0 && $0.fits(spec.limits) }
                ?? state.prepared.firstIndex { $0.job == 0 }
            return index.map { state.prepared.remove(at: $0) }
        }
    }

    /// Starts a worker through the zygote; `prepared` names one that waits with other limits.
    ///
    /// - Returns: false when it is leaving; ask another zygote.
    func start(_ worker: Worker, prepared: UInt32 = 0, workerEnd: CInt) throws(SystemError) -> Bool {
        guard accept(worker) else { return false }
        do {
            try socket.send(
                worker.spec.startPacket(worker: worker.number, prepared: prepared), descriptors: [workerEnd])
        } catch {
            forget(worker.wireNumber)
            throw error
        }
        return true
    }

    /// Starts a worker that waits, without the zygote in between; it is told by `settle`, off the path.
    ///
    /// - Returns: false when it is leaving, or the worker has ended: try the next.
    func startPrepared(_ worker: Worker, pid: Int32) -> Bool {
        guard accept(worker) else { return false }
        worker.noteStarted(pid: pid)
        let packet = worker.spec.startPacket(worker: worker.number)
        let sent = unsafe packet.withUnsafeBytes { bytes in
            // Without the head: it is what the zygote would have passed on.
            let start = Int(WIRE_HEAD_SIZE)
            guard let base = unsafe bytes.baseAddress?.advanced(by: start) else { return -1 }
            return unsafe send(worker.channel.raw, base, bytes.count - start, CInt(MSG_NOSIGNAL | MSG_DONTWAIT))
        }
        if sent < 0 { forget(worker.wireNumber) }
        return sent >= 0
    }

    /// Begins with a worker that has its job: its first invocation has it load.
    ///
    /// - Returns: false when the zygote is leaving, or the worker has ended: try the next.
    func begin(_ worker: Worker, prepared: Prepared) -> Bool {
        guard prepared.isAlive, accept(worker) else { return false }
        worker.noteStarted(pid: prepared.pid)
        return true
    }

    /// Has another worker prepared in the place of this one, with the same job as long as at most `jobs` are known.
    func settle(_ worker: Worker, jobs: Int) {
        guard worker.wireNumber & UInt32(WIRE_PREPARED_BIT) != 0 else { return }
        let job = worker.spec.purpose == .handler && jobs > 0 ? askFor(worker.spec, most: jobs) : 0
        let start = job == 0 ? [] : worker.spec.startPacket(worker: worker.number).dropFirst(Int(WIRE_HEAD_SIZE))
        tellTaken(worker.wireNumber, job: job, start: start)
    }

    /// - Returns: the job's number, or 0 when somebody has it already, or will have it in a moment.
    private func askFor(_ spec: WorkerSpec, most: Int) -> UInt32 {
        let now = MonotonicTime.now
        let (number, forgotten) = state.withLock { state -> (UInt32, [UInt32]) in
            var job: KnownJob
            if let index = state.jobs.firstIndex(where: { $0.pool == spec.pool && $0.limits == spec.limits }) {
                job = state.jobs.remove(at: index)
            } else {
                job = KnownJob(number: state.nextJob, pool: spec.pool, limits: spec.limits)
                state.nextJob &+= 1
            }
            let isComing = job.askedAt.map { now.since($0) < 1_000_000_000 } ?? false
            let asks = !isComing && !state.prepared.contains { $0.job == job.number }
            if asks { job.askedAt = now }
            state.jobs.append(job)
            let forgotten = state.jobs.dropLast(most).map(\.number)
            state.jobs.removeFirst(forgotten.count)
            return (asks ? job.number : 0, forgotten)
        }
        if !forgotten.isEmpty { dropPrepared(sendAway: true) { forgotten.contains($0.job) } }
        return number
    }

    private func accept(_ worker: Worker) -> Bool {
        state.withLock { state in
            guard !state.leaving else { return false }
            state.workers[worker.wireNumber] = worker
            state.idleSince = nil
            return true
        }
    }

    /// Lets it go when it has had no worker for so long. No worker can be given to it from then on.
    func retire(idleFor limit: UInt64, now: MonotonicTime) -> Bool {
        state.withLock { state in
            guard let since = state.idleSince, now.since(since) >= limit else { return false }
            state.leaving = true
            return true
        }
    }

    /// True when it is time for a new one. A model is not loaded again for that: its engine is the platform's.
    func hasLived(_ life: UInt64, now: MonotonicTime) -> Bool {
        state.withLock { state in
            guard let begin = state.adoptedAt, now.since(begin) >= life else { return false }
            return !state.workers.values.contains { $0.spec.purpose == .backend }
        }
    }

    func kill(_ worker: UInt32) {
        var frame = FrameBuilder(FrameHead(WIRE_KILL), capacity: 8)
        frame.append(worker)
        frame.append(UInt32(0))
        // A zygote that can't be told is gone, and its workers with it.
        try? socket.send(frame.finish())
    }

    // MARK: what the zygote says, on the control loop

    func received(_ head: FrameHead, _ payload: RawSpan, _ passed: consuming FileDescriptor?) {
        var offset = 0
        switch Int(head.type) {
        case Int(WIRE_ZYGOTE_READY):
            state.withLock { $0.ready = true }
        case Int(WIRE_STARTED):
            guard let number = payload.u32(&offset), let pid = payload.i32(&offset) else { return }
            state.withLock { $0.workers[number] }?.noteStarted(pid: pid)
        case Int(WIRE_PREPARED):
            guard let descriptor = passed.take(), let waiting = Self.parsePrepared(payload, descriptor) else { return }
            let isWanted = state.withLock { state in
                let index = state.jobs.firstIndex { $0.number == waiting.job }
                if let index { state.jobs[index].askedAt = nil }
                guard index != nil || waiting.job == 0 else { return false }
                state.prepared.append(waiting)
                return true
            }
            if !isWanted { drop(waiting, sendAway: true) }
        case Int(WIRE_ADOPTED): break
        case Int(WIRE_EXITED):
            guard let (number, exit) = Self.parseExit(payload) else { return }
            dropPrepared { $0.number == number }
            forget(number)?.noteExit(exit)
        case Int(WIRE_ZYGOTE_FAILED):
            state.withLock { $0.failure = payload.text(in: 0..<payload.byteCount) }
            Log.error("zygote failed", [("zygote", "\(number)"), ("cause", payload.text(in: 0..<payload.byteCount))])
        default:
            Log.error("unknown frame from a zygote", [("type", "\(head.type)")])
        }
    }

    private func dropPrepared(sendAway: Bool = false, where isGone: (Prepared) -> Bool) {
        let gone = state.withLock { state in
            let gone = state.prepared.filter(isGone)
            state.prepared.removeAll(where: isGone)
            return gone
        }
        for one in gone { drop(one, sendAway: sendAway) }
    }

    /// `sendAway`: one that lives, and ends when both ends of its channel but its own are closed.
    private func drop(_ one: Prepared, sendAway: Bool) {
        _ = close(one.channel)
        if sendAway { tellTaken(one.number) }
    }

    private func tellTaken(_ worker: UInt32, job: UInt32 = 0, start: ArraySlice<UInt8> = []) {
        var frame = FrameBuilder(FrameHead(WIRE_TAKEN), capacity: 8 + start.count)
        frame.append(worker)
        frame.append(job)
        frame.append(start)
        // A zygote that can't be told is gone.
        try? socket.send(frame.finish())
    }

    /// The zygote is gone, and with it every worker whose end it hasn't told.
    func ended() {
        dropPrepared { _ in true }
        let (orphans, failure) = state.withLock { state in
            defer { state.workers = [:] }
            return (Array(state.workers.values), state.failure)
        }
        for worker in orphans {
            var exit = WorkerExit(status: nil)
            exit.lastWords = failure
            worker.noteExit(exit)
        }
    }

    @discardableResult
    private func forget(_ number: UInt32) -> Worker? {
        state.withLock { state in
            defer { if state.workers.isEmpty { state.idleSince = .now } }
            return state.workers.removeValue(forKey: number)
        }
    }

    private static func parsePrepared(_ payload: RawSpan, _ channel: consuming FileDescriptor) -> Prepared? {
        var offset = 0
        guard let number = payload.u32(&offset), let pid = payload.i32(&offset), let memory = payload.u64(&offset),
            let threads = payload.u32(&offset), let cpu = payload.u32(&offset), let weight = payload.u32(&offset),
            let job = payload.u32(&offset)
        else { return nil }
        return Prepared(
            number: number, pid: pid, memoryBytes: memory, threads: threads, cpuPercent: cpu, cpuWeight: weight,
            job: job, channel: channel.release())
    }

    private static func parseExit(_ payload: RawSpan) -> (UInt32, WorkerExit)? {
        var offset = 0
        guard let number = payload.u32(&offset), let status = payload.i32(&offset), let oom = payload.u32(&offset),
            payload.u32(&offset) != nil, let peak = payload.u64(&offset), let cpu = payload.u64(&offset),
            let words = payload.u32(&offset), payload.i32(&offset) != nil,
            let throttled = payload.u64(&offset), let refused = payload.u32(&offset), payload.u32(&offset) != nil,
            let text = payload.text(words, &offset)
        else { return nil }
        var exit = WorkerExit(status: status)
        exit.outOfMemory = oom != 0
        exit.memoryPeak = peak
        exit.cpuMicroseconds = cpu
        exit.throttledMicroseconds = throttled
        exit.processesRefused = Int(refused)
        exit.lastWords = text
        return (number, exit)
    }
}
