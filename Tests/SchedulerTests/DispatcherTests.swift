// Dispatcher without a sandbox: its workers never run, and the test says when each of them ends.
import Core
import Glibc
import Platform
import Scheduler
import Synchronization
import TestSupport
import Testing

@testable import Workers

/// A host whose forker sleeps, so that every start succeeds and no process comes of it.
private final class IdleHost {
    let dispatcher: Dispatcher
    let loop: EventLoop
    private let host: WorkerHost
    private let scratch = try? Scratch()

    init() throws {
        let script = try #require(scratch?.path) + "/forker"
        // By a shell: while this process has the file open for writing, a child forked elsewhere makes it "text file busy".
        let made = unsafe system("printf '#!/bin/sh\\nexec sleep 600\\n' > \(script) && chmod 755 \(script)")
        try #require(made == 0)
        loop = try EventLoop(index: 0)
        host = try WorkerHost(WorkerHostConfiguration(zygotePath: script, kitPath: "", swiftRuntimePath: ""))
        dispatcher = Dispatcher(host: host, control: loop.remote, restartRate: 0.001)
    }

    deinit {
        kill(host.forkerPid, SIGKILL)
        var status: CInt = 0
        _ = unsafe waitpid(host.forkerPid, &status, 0)
    }

    func spec(concurrency: Int, queue: Int) -> WorkerSpec {
        var limits = Limits(defaultsFor: .handler)
        limits.concurrency = concurrency
        limits.queue = queue
        return WorkerSpec(
            purpose: .handler, key: FunctionKey(tenant: "t", name: "f"), trust: "t", root: "/", directory: "d",
            library: "plugin.so", limits: limits)
    }

    /// Asks for a worker; the box is filled at once or when `turn` runs what was submitted.
    func acquire(_ spec: WorkerSpec) -> Box {
        let box = Box()
        dispatcher.acquire(spec, idleMilliseconds: 1000, on: loop) { _, result, _ in box.put(result) }
        return box
    }

    /// Runs the loop until everything submitted so far has run.
    func turn() {
        loop.remote.submit { loop in loop.stop() }
        loop.run()
    }
}

private final class Box: Sendable {
    private let content = Mutex<[Result<Lease, RuntimeError>]>([])
    func put(_ result: Result<Lease, RuntimeError>) { content.withLock { $0.append(result) } }
    var answers: Int { content.withLock(\.count) }
    var lease: Lease? { content.withLock { try? $0.first?.get() } }
    var error: RuntimeError? {
        content.withLock { results in
            guard case .failure(let error) = results.first else { return nil }
            return error
        }
    }
}

@Suite struct DispatcherTests {
    @Test func aReleasedWorkerIsLentAgain() throws {
        let host = try IdleHost()
        let spec = host.spec(concurrency: 2, queue: 1)
        let first = try #require(host.acquire(spec).lease)
        host.dispatcher.release(first.worker, channel: nil, on: host.loop)
        let second = try #require(host.acquire(spec).lease)
        #expect(first.isCold && !second.isCold && second.worker === first.worker)
    }

    @Test func aFullQueueSaysWhatToRaise() throws {
        let host = try IdleHost()
        let spec = host.spec(concurrency: 1, queue: 1)
        #expect(host.acquire(spec).lease != nil)
        let waits = host.acquire(spec)
        let error = try #require(host.acquire(spec).error)
        #expect(waits.answers == 0 && error.code == .queueFull && error.next.contains("limits.concurrency"))
        #expect(host.dispatcher.load.waiting == 1 && host.dispatcher.load.live == 1)
    }

    @Test func aWorkerThatEndsMakesWayForWhoeverWaits() throws {
        let host = try IdleHost()
        let spec = host.spec(concurrency: 1, queue: 1)
        let first = try #require(host.acquire(spec).lease)
        let waits = host.acquire(spec)
        first.worker.noteExit(WorkerExit(status: 9))
        host.turn()
        let lease = try #require(waits.lease)
        #expect(waits.answers == 1 && lease.isCold && lease.worker !== first.worker)
    }

    /// No wake-up of the loop lies between a release and the next invocation of the same loop.
    @Test func aReleaseServesAWaitingInvocationOfItsLoopAtOnce() throws {
        let host = try IdleHost()
        let spec = host.spec(concurrency: 1, queue: 2)
        let first = try #require(host.acquire(spec).lease)
        let waits = host.acquire(spec)
        host.dispatcher.release(first.worker, channel: nil, on: host.loop)
        #expect(waits.lease?.worker === first.worker && waits.lease?.isCold == false)
    }

    /// The end of a worker is told on another loop than its last answer, so either may come first.
    @Test func aWorkerThatEndedBeforeItsReleaseIsNotLentAgain() throws {
        let host = try IdleHost()
        let spec = host.spec(concurrency: 2, queue: 1)
        let first = try #require(host.acquire(spec).lease)
        let second = try #require(host.acquire(spec).lease)
        first.worker.noteExit(WorkerExit(status: 9))
        host.dispatcher.release(first.worker, channel: nil, on: host.loop)
        let third = host.acquire(spec)
        #expect(third.lease?.isCold == true && third.lease?.worker !== second.worker)
        #expect(host.dispatcher.load.live == 2)
    }

    @Test func aFunctionThatEndedWhollyIsForgottenAndStartsAnew() throws {
        let host = try IdleHost()
        let spec = host.spec(concurrency: 1, queue: 0)
        let first = try #require(host.acquire(spec).lease)
        first.worker.noteExit(WorkerExit(status: 0))
        #expect(host.dispatcher.load.live == 0)
        #expect(host.acquire(spec).lease?.isCold == true)
    }

    @Test func aFunctionWhoseWorkersDieIsHeldBackWithAllThatWait() throws {
        let host = try IdleHost()
        let spec = host.spec(concurrency: 1, queue: 100)
        for _ in 0..<19 {
            let lease = try #require(host.acquire(spec).lease)
            lease.worker.noteExit(WorkerExit(status: 11))
        }
        let last = try #require(host.acquire(spec).lease)
        let waiting = (0..<50).map { _ in host.acquire(spec) }
        last.worker.noteExit(WorkerExit(status: 11))
        host.turn()
        for one in waiting {
            #expect(one.error?.code == .crashLoop && one.error?.cause.contains("SIGSEGV") == true && one.answers == 1)
        }
        #expect(host.acquire(spec).error?.code == .crashLoop)
        #expect(host.dispatcher.load == (0, 0) && host.dispatcher.refusedStarts == 51)
    }

    @Test func workersThatWereAskedToEndCostNothing() throws {
        let host = try IdleHost()
        let spec = host.spec(concurrency: 1, queue: 1)
        for _ in 0..<60 {
            let lease = try #require(host.acquire(spec).lease)
            host.dispatcher.release(lease.worker, channel: nil, on: host.loop)
            host.dispatcher.outdate([lease.worker])
            lease.worker.noteExit(WorkerExit(status: 0))
        }
        #expect(host.dispatcher.refusedStarts == 0)
    }

    @Test func aClosedDispatcherRefuses() throws {
        let host = try IdleHost()
        host.dispatcher.close()
        #expect(host.acquire(host.spec(concurrency: 1, queue: 1)).error != nil)
    }
}
