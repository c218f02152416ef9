// The audit log of the host with its two threads: one that writes, for which acts wait, and one that reads.
internal import Audit
internal import Core
internal import Glibc
internal import Platform

struct Auditing {
    let log: AuditLog
    private let loops: [EventLoop]
    private let threads = Threads()

    /// - Parameter options: of a host that holds the registry's lock.
    init(_ options: ServeOptions, firstLoop: Int) throws {
        let loops = try (0..<2).map { index in try EventLoop(index: firstLoop + index) }
        let (writing, reading) = (loops[0].remote, loops[1].remote)
        var limits = AuditLimits()
        limits.archiveDays = options.auditDays
        log = try AuditLog(
            stateDirectory: options.state, limits: limits, run: { job in writing.submit { _ in job() } },
            reading: { job in reading.submit { _ in job() } })
        self.loops = loops
    }

    /// - Parameter madeFirstKey: the host has made itself a key, which is an act.
    func start(madeFirstKey: Bool) throws {
        // A start without a stop before it tells of a kill: an act of its last moment may be in effect and have no entry.
        log.record(AuditEvent(actor: "host", act: "host.start", detail: "swiftlet \(Help.version), pid \(getpid())"))
        if madeFirstKey {
            log.record(
                AuditEvent(actor: "host", act: "platform-key.create", target: "keys", detail: "made by the first start")
            )
        }
        log.archiveOld()
        Self.tick(loops[0], log, 1)
        for loop in loops {
            // SAFETY: the loop is touched by its own thread alone once that runs; nobody else keeps it.
            nonisolated(unsafe) let loop = loop
            threads.append(try LoopThread { unsafe loop.run() })
        }
    }

    /// Writes what is held back. Call it when nobody records any more.
    func finish() {
        loops[0].remote.submit { [log] loop in
            log.record(AuditEvent(actor: "host", act: "host.stop"))
            log.close()
            loop.stop()
        }
        loops[1].remote.submit { $0.stop() }
        threads.join()
    }

    private static func tick(_ loop: EventLoop, _ log: AuditLog, _ count: Int) {
        loop.schedule(at: MonotonicTime.now.adding(milliseconds: 1000)) { [unowned loop] in
            log.tick()
            if count.isMultiple(of: 3600) { log.archiveOld() }
            tick(loop, log, count + 1)
        }
    }
}

/// Threads that run, to be waited for.
private final class Threads {
    private var first: LoopThread?
    private var second: LoopThread?

    func append(_ thread: consuming LoopThread) {
        if first == nil { first = consume thread } else { second = consume thread }
    }

    func join() {
        first.take()?.join()
        second.take()?.join()
    }
}
