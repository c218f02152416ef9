// The loop on the test's own thread: jobs, timers, descriptors, and the order inside one batch.
import CLinux
import Glibc
import Platform
import Synchronization
import TestSupport
import Testing

/// What happened, in order, from any thread.
private final class Diary: Sendable {
    private let lines = Mutex<[String]>([])
    func note(_ line: String) { lines.withLock { $0.append(line) } }
    var all: [String] { lines.withLock(\.self) }
}

private final class Handler: EventHandler {
    private let body: (UInt32) -> Void
    init(_ body: @escaping (UInt32) -> Void) { self.body = body }
    func handle(events: UInt32) { body(events) }
}

/// Two connected sockets; the first belongs to a loop.
private final class Pair {
    private let ours: FileDescriptor
    private let theirs: CInt

    init() throws {
        var pair = try ChannelPair()
        ours = pair.takeOurs()
        theirs = dup(pair.theirs.raw)
    }

    var raw: CInt { ours.raw }

    deinit { close(theirs) }

    func send() { _ = unsafe Glibc.send(theirs, "x", 1, CInt(MSG_NOSIGNAL)) }
}

extension EventLoop {
    /// Runs until `stop`; a loop that hangs fails by name instead of for ever.
    fileprivate func runGuarded() {
        let guarded = schedule(at: MonotonicTime.now.adding(milliseconds: 60_000)) { [unowned self] in
            Issue.record("the loop hangs")
            stop()
        }
        run()
        cancel(guarded)
    }
}

@Suite struct EventLoopTests {
    @Test func jobsRunInTheOrderTheyWereSubmitted() throws {
        let loop = try EventLoop(index: 3)
        let diary = Diary()
        #expect(!loop.remote.isCurrent && loop.index == 3)
        for number in 0..<5 {
            loop.remote.submit { loop in
                #expect(loop.remote.isCurrent)
                diary.note("\(number)")
                // A job may submit another: that one runs later, never inside this one.
                loop.remote.submit { _ in diary.note("then \(number)") }
            }
        }
        loop.remote.submit { loop in loop.remote.submit { loop in loop.stop() } }
        loop.runGuarded()
        #expect(diary.all == (0..<5).map { "\($0)" } + (0..<5).map { "then \($0)" })
    }

    @Test func jobsOfManyThreadsAllRunOnTheLoopsThread() throws {
        let loop = try EventLoop(index: 0)
        let remote = loop.remote
        let diary = Diary()
        let thread = try LoopThread {
            try? withThreads(4) { thread in
                for _ in 0..<500 {
                    remote.submit { loop in diary.note(loop.remote.isCurrent ? "\(thread)" : "on a foreign thread") }
                }
            }
            remote.submit { loop in loop.stop() }
        }
        loop.runGuarded()
        thread.join()
        #expect(diary.all.count == 2000)
        for thread in 0..<4 { #expect(diary.all.count { $0 == "\(thread)" } == 500) }
    }

    @Test func timersRunAtTheirTimeNotBeforeAndInOrder() throws {
        let loop = try EventLoop(index: 0)
        let diary = Diary()
        let start = MonotonicTime.now
        for delay: UInt64 in [30, 10, 20] {
            loop.schedule(at: start.adding(milliseconds: delay)) {
                #expect(MonotonicTime.now.since(start) >= delay * 1_000_000)
                diary.note("\(delay)")
            }
        }
        let cancelled = loop.schedule(at: start.adding(milliseconds: 15)) { Issue.record("a cancelled timer ran") }
        loop.cancel(cancelled)
        loop.schedule(at: start.adding(milliseconds: 31)) { loop.stop() }
        loop.runGuarded()
        #expect(diary.all == ["10", "20", "30"])
    }

    @Test func aTimerMayCancelAnotherThatIsDueInTheSameBatch() throws {
        let loop = try EventLoop(index: 0)
        var tokens: [TimerToken] = []
        let diary = Diary()
        for name in ["a", "b"] {
            tokens.append(
                loop.schedule(at: MonotonicTime(nanoseconds: 1)) {
                    diary.note(name)
                    for token in tokens { loop.cancel(token) }
                    loop.remote.submit { loop in loop.stop() }
                })
        }
        loop.runGuarded()
        #expect(diary.all.count == 1)
    }

    @Test func afterBatchRunsOnceWhenAllEventsOfTheBatchAreDone() throws {
        let loop = try EventLoop(index: 0)
        let diary = Diary()
        loop.schedule(at: MonotonicTime(nanoseconds: 2)) { diary.note("timer") }
        loop.remote.submit { loop in
            loop.afterBatch {
                diary.note("after")
                loop.afterBatch {
                    diary.note("after that")
                    loop.remote.submit { loop in
                        diary.note("next batch")
                        loop.stop()
                    }
                }
            }
            diary.note("job")
        }
        loop.runGuarded()
        #expect(diary.all == ["job", "timer", "after", "after that", "next batch"])
    }

    @Test func readinessReachesTheHandlerUntilItIsRemoved() throws {
        let loop = try EventLoop(index: 0)
        let pair = try Pair()
        let diary = Diary()
        var token: EventToken?
        let handler = Handler { events in
            diary.note(events & EPOLLIN.rawValue != 0 ? "in" : "other")
            var byte: UInt8 = 0
            _ = unsafe recv(pair.raw, &byte, 1, 0)
            guard diary.all.count == 2, let token else { return pair.send() }
            loop.remove(pair.raw, token: token)
            loop.remove(pair.raw, token: token)
            pair.send()
            loop.schedule(at: MonotonicTime.now.adding(milliseconds: 20)) { loop.stop() }
        }
        token = try loop.add(pair.raw, events: EPOLLIN.rawValue, handler: handler)
        pair.send()
        loop.runGuarded()
        #expect(diary.all == ["in", "in"])
    }

    /// The event is in the batch already when the first handler removes the second.
    @Test func aRemovedHandlerGetsNothingMoreOfTheSameBatch() throws {
        let loop = try EventLoop(index: 0)
        let pairs = try (0..<2).map { _ in try Pair() }
        let diary = Diary()
        var tokens: [EventToken] = []
        for pair in pairs {
            let handler = Handler { _ in
                diary.note("handled")
                for (pair, token) in zip(pairs, tokens) { loop.remove(pair.raw, token: token) }
                loop.stop()
            }
            tokens.append(try loop.add(pair.raw, events: EPOLLIN.rawValue, handler: handler))
            pair.send()
        }
        loop.runGuarded()
        #expect(diary.all == ["handled"])
    }

    @Test func interestCanBeChanged() throws {
        let loop = try EventLoop(index: 0)
        let pair = try Pair()
        let diary = Diary()
        let handler = Handler { events in
            diary.note(events & EPOLLOUT.rawValue != 0 ? "out" : "in")
            loop.stop()
        }
        let token = try loop.add(pair.raw, events: 0, handler: handler)
        pair.send()
        let raw = pair.raw
        loop.remote.submit { loop in loop.modify(raw, events: EPOLLOUT.rawValue, token: token) }
        loop.runGuarded()
        #expect(diary.all == ["out"])
    }

    @Test func aDescriptorThatCantBeWatchedIsAnError() throws {
        let loop = try EventLoop(index: 0)
        #expect(throws: SystemError(call: "epoll_ctl(add)", code: EBADF)) {
            try loop.add(-1, events: EPOLLIN.rawValue, handler: Handler { _ in })
        }
        let file = try FileDescriptor.open("/dev/null", flags: O_RDONLY)
        #expect(throws: SystemError(call: "epoll_ctl(add)", code: EPERM)) {
            try loop.add(file.raw, events: EPOLLIN.rawValue, handler: Handler { _ in })
        }
    }
}
