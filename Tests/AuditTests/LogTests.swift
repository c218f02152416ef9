// The log of a running host: many writers, floods, pages, and texts that somebody else chose.
import Core
import Glibc
import Platform
import Synchronization
import TestSupport
import Testing

@testable import Audit

/// Runs jobs one after another on a thread of its own.
private final class Jobs: Sendable {
    let remote: LoopRemote
    private let thread: Mutex<LoopThread?>

    init() throws {
        // SAFETY: the loop is touched by its own thread alone once that runs; nobody else keeps it.
        nonisolated(unsafe) let loop = try EventLoop(index: 0)
        remote = unsafe loop.remote
        thread = Mutex(try LoopThread { unsafe loop.run() })
    }

    var run: @Sendable (@escaping @Sendable () -> Void) -> Void {
        { [remote] job in remote.submit { _ in job() } }
    }

    func finish() {
        remote.submit { $0.stop() }
        thread.withLock { $0.take() }?.join()
    }
}

private final class Flag: Sendable {
    let isSet = Atomic<Bool>(false)
}

@Suite struct LogTests {
    @Test func whatWasAcknowledgedIsOnDiskInOneChain() throws {
        let scratch = try Scratch()
        let jobs = try Jobs()
        let log = try AuditLog(stateDirectory: scratch.path, run: jobs.run, reading: jobs.run)
        let done = Mutex<[AuditPoint]>([])
        let faults = Mutex<[String]>([])
        try withThreads(5) { thread in
            guard thread < 4 else {
                // Looked at while it is written, it is never taken for damaged.
                while done.withLock({ $0.count }) < 200 {
                    do {
                        let report = try AuditVerification.run(state: scratch.path)
                        let files = try AuditTransfer.files(of: scratch.path)
                        guard report.end.count > 200 || files.end.count < report.start.count else { continue }
                        faults.withLock { $0.append("\(report)") }
                    } catch {
                        faults.withLock { $0.append("\(error)") }
                    }
                }
                return
            }
            for number in 0..<50 {
                let flag = Flag()
                log.record(Bench.event(thread * 100 + number)) { result in
                    if let point = try? result.get() { done.withLock { $0.append(point) } }
                    flag.isSet.store(true, ordering: .releasing)
                }
                while !flag.isSet.load(ordering: .acquiring) { usleep(100) }
            }
        }
        #expect(faults.withLock { $0 } == [])
        jobs.finish()
        let report = try AuditVerification.run(state: scratch.path)
        #expect(report.end.count == 200 && log.head == report.end)
        // Every point that somebody was told of is one of the chain.
        for point in Set(done.withLock { $0.map(\.description) }) {
            #expect(try AuditVerification.run(state: scratch.path, expected: AuditPoint(point)).end == report.end)
        }
        let again = try AuditLog(stateDirectory: scratch.path, run: { $0() }, reading: { $0() })
        again.record(Bench.event(1))
        #expect(again.head.count == 201)
    }

    @Test func aFloodIsFewEntriesAndAnExactCount() {
        var random = SeededGenerator(seed: 7)
        for attackers in [1, 3, 500, 100_000] {
            var flood = AuditFlood()
            var written: [AuditEvent] = []
            var now: Int64 = 1_000_000
            let total = 20_000
            for number in 0..<total {
                now += number.isMultiple(of: 20) ? 1 : 0
                let who = Int.random(in: 0..<attackers, using: &random)
                written += flood.add(
                    AuditEvent(
                        actor: "-", tenant: "t\(who % 7)",
                        peer: "10.\(who >> 8 & 255).\(who & 255).9:\(number % 60_000)",
                        act: AuditAct.denied, target: "GET /\(who)", status: 401), now: now)
            }
            written += flood.expire(now: now + AuditFlood.windowMilliseconds)
            #expect(written.reduce(0) { $0 + Int($1.count) } == total, "\(attackers) attackers")
            #expect(written.count <= 4 * AuditFlood.kinds + 2, "\(attackers) attackers: \(written.count) entries")
            if attackers == 1 {
                #expect(written.map(\.count) == [1, UInt32(total - 1)])
                #expect(written[1].peer == "10.0.0.0/24" && written[1].requestID.isEmpty)
            }
        }
    }

    @Test func networks() {
        for (peer, network) in [
            ("10.1.2.3:99", "10.1.2.0/24"), ("[2001:db8:7:8::1]:99", "[2001:db8:7::/48]"), ("[::1]:5", "[::/48]"),
            ("", ""), ("?", "?"),
        ] {
            #expect(AuditFlood.network(of: peer) == network)
        }
    }

    @Test func deniedAccessesAreWrittenSoonAndWithTheirNumber() throws {
        let scratch = try Scratch()
        let log = try AuditLog(stateDirectory: scratch.path, run: { $0() }, reading: { $0() })
        for _ in 0..<1000 {
            log.deny(AuditEvent(actor: "-", peer: "10.0.0.1:7", act: AuditAct.denied, target: "GET /x", status: 401))
        }
        #expect(log.head.count == 1 && log.deniedCount == 1000)
        log.close()
        #expect(log.head.count == 2)
        let page = try page(log, AuditQuery())
        #expect(page.entries.map(\.event.count) == [999, 1])
    }

    private func page(_ log: AuditLog, _ query: AuditQuery) throws -> AuditPage {
        let result = Mutex<Result<AuditPage, RuntimeError>?>(nil)
        log.page(query) { page in result.withLock { $0 = page } }
        return try #require(result.withLock { $0 }).get()
    }

    @Test func pagesHoldEachEntryOnceNewestFirst() throws {
        for segmentBytes in [1 << 20, 300] {
            let scratch = try Scratch()
            defer { withExtendedLifetime(scratch) {} }
            var limits = AuditLimits()
            limits.segmentBytes = segmentBytes
            let log = try AuditLog(
                stateDirectory: scratch.path, limits: limits, run: { $0() }, reading: { $0() })
            for number in 1...100 { log.record(Bench.event(number)) }
            for (change, expected) in [
                ({ (_: inout AuditQuery) in }, (1...100).reversed().map { $0 }),
                ({ $0.act = "key" }, (1...100).filter { !$0.isMultiple(of: 2) }.reversed()),
                ({ $0.act = "key.create" }, (1...100).filter { !$0.isMultiple(of: 2) }.reversed()),
                ({ $0.act = "ke" }, []),
                ({ $0.tenant = "other" }, (1...100).filter { $0.isMultiple(of: 3) }.reversed()),
                ({ $0.tenant = "acme" }, (1...100).filter { !$0.isMultiple(of: 3) || $0.isMultiple(of: 2) }.reversed()),
                ({ $0.tenant = "" }, (1...100).filter { !$0.isMultiple(of: 2) }.reversed()),
                ({ $0.since = .max }, []),
                ({ $0.before = 50 }, (1...49).reversed()),
            ] as [((inout AuditQuery) -> Void, [Int])] {
                var query = AuditQuery()
                query.limit = 7
                change(&query)
                var got: [Int] = []
                while true {
                    let page = try page(log, query)
                    #expect(page.entries.count <= 7)
                    got += page.entries.map { Int($0.number) }
                    guard let next = page.next else { break }
                    query.before = next
                }
                #expect(got == expected)
            }
        }
    }

    @Test func textsAreCutAndHaveNothingThatATerminalObeys() throws {
        let scratch = try Scratch()
        let log = try AuditLog(stateDirectory: scratch.path, run: { $0() }, reading: { $0() })
        let evil = "\u{1B}[2J\r\n\u{0}\u{202E}é" + String(repeating: "ü", count: 5000)
        log.record(
            AuditEvent(
                actor: evil, actorTenant: evil, role: evil, tenant: evil, peer: evil, requestID: evil, act: evil,
                target: evil, status: .max, detail: evil))
        let event = try #require(try page(log, AuditQuery()).entries.first).event
        for text in [
            event.actor, event.actorTenant, event.role, event.tenant, event.peer, event.requestID, event.act,
            event.target,
        ] {
            #expect(text.utf8.count <= AuditEvent.longest && text.utf8.count > AuditEvent.longest - 4)
            #expect(text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x202E && $0.value != 0x1B })
        }
        #expect(event.detail.utf8.count <= AuditEvent.longestDetail)
        #expect(try AuditVerification.run(state: scratch.path).end.count == 1)
    }
}
