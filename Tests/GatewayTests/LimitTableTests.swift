// The accounts that all loops share: exact under many threads, and bounded whatever names come.
import Core
import HTTP
import Limits
import Platform
import Synchronization
import TestSupport
import Testing

@testable import Gateway

private func limits(_ text: String) throws -> LimitSet {
    try LimitSet(try JSON5.decode(Array(text.utf8), step: "test"), at: .tenant, name: "limits", step: "test")
}

private func path(_ table: LimitTable, tenant: LimitSet?, key: LimitSet?, platform: LimitSet = LimitSet()) -> LimitPath
{
    var file = PlatformLimits()
    file.platform = platform
    let tree = LimitTree(file, tenant: tenant, key: key.map { .some($0) }, function: nil)
    let now = LimitTime(monotonic: 0, unix: 0)
    return LimitPath(tree) { level in
        switch level {
        case .platform: table.cell(of: .platform, now: now)
        case .key: table.cell(of: .key("k"), now: now)
        case .tenant, .function: table.cell(of: .tenant("t"), now: now)
        }
    }
}

private var clock: LimitClock { LimitClock(monotonic: .now) }

private func enter(_ path: LimitPath) -> Bool {
    var standings = RateStandings()
    return path.enter(clock, &standings) == nil
}

@Suite struct LimitTableTests {

    @Test func neverMoreAtOnceThanAllowedFromManyThreads() throws {
        let table = LimitTable()
        let wide = try limits("{concurrency: 5}")
        let narrow = try limits("{concurrency: 3}")
        let inside = Atomic(0)
        let most = Atomic(0)
        let served = Atomic(0)
        try withThreads(8) { index in
            // Half of them pass the key as well.
            let path = path(table, tenant: wide, key: index % 2 == 0 ? narrow : nil)
            for _ in 0..<5000 {
                guard enter(path) else { continue }
                let now = inside.wrappingAdd(1, ordering: .sequentiallyConsistent).newValue
                _ = most.max(now, ordering: .relaxed)
                served.wrappingAdd(1, ordering: .relaxed)
                inside.wrappingSubtract(1, ordering: .sequentiallyConsistent)
                path.leave()
            }
        }
        #expect(most.load(ordering: .relaxed) <= 5 && served.load(ordering: .relaxed) > 1000)
        for subject in [LimitSubject.tenant("t"), .key("k")] {
            let cell = table.cell(of: subject, now: LimitTime(monotonic: 0, unix: 0))
            #expect(cell.account.withLock(\.running) == 0)
        }
    }

    @Test func aBurstIsTakenOnceFromManyThreads() throws {
        let table = LimitTable()
        let bucket = try limits("{requests_per_second: 0.001, burst: 1000}")
        let served = Atomic(0)
        try withThreads(8) { _ in
            let path = path(table, tenant: bucket, key: nil)
            for _ in 0..<1000 {
                guard enter(path) else { continue }
                served.wrappingAdd(1, ordering: .relaxed)
                path.leave()
            }
        }
        #expect(served.load(ordering: .relaxed) == 1000)
    }

    @Test func whatAWiderLevelRefusesIsGivenBack() throws {
        let table = LimitTable()
        let key = try limits("{requests_per_second: 0.001, burst: 10, concurrency: 10}")
        let path = path(table, tenant: try limits("{requests_per_second: 0.001, burst: 2}"), key: key)
        for _ in 0..<2 {
            var standings = RateStandings()
            #expect(path.enter(clock, &standings) == nil)
            #expect(standings.all.map(\.level) == [.key, .tenant])
            path.leave()
        }
        for _ in 0..<20 {
            var standings = RateStandings()
            guard let hit = path.enter(clock, &standings)?.hit else {
                Issue.record("admitted")
                return
            }
            #expect(hit.level == .tenant && hit.kind == .requestsPerSecond && standings.all.map(\.level) == [.tenant])
        }
        let left = table.cell(of: .key("k"), now: LimitTime(monotonic: 0, unix: 0)).account.withLock { account in
            account.admit(key, at: .key, now: LimitTime(monotonic: MonotonicTime.now.nanoseconds, unix: 0))
        }
        guard case .admitted(let standing?) = left else {
            Issue.record("refused")
            return
        }
        #expect(standing.remaining == 7, "two were served, this is the third")
    }

    @Test func namesWithoutEndAreForgottenAndCountsAreNot() throws {
        let table = LimitTable(bound: 160)
        let bucket = try limits("{requests_per_second: 0.001, burst: 1}")
        let now = LimitTime(monotonic: 1, unix: 1)
        for name in ["held", "spent"] {
            let cell = table.cell(of: .tenant(name), now: now)
            guard case .admitted = cell.account.withLock({ $0.admit(bucket, at: .tenant, now: now) }) else {
                Issue.record("refused")
                return
            }
            if name == "spent" { cell.account.withLock { $0.leave() } }
        }
        for number in 0..<10_000 { _ = table.cell(of: .tenant("made-up-\(number)"), now: now) }
        #expect(table.count <= 176)
        for name in ["held", "spent"] {
            let verdict = table.cell(of: .tenant(name), now: now).account.withLock {
                $0.admit(bucket, at: .tenant, now: now)
            }
            guard case .refused(.requestsPerSecond, _, _) = verdict else {
                Issue.record("\(name) is as new")
                return
            }
        }
    }

    @Test func theMostThatIsTold() throws {
        let standing = RateStanding(
            level: .function, rate: RequestRate(perSecond: 0.001, burst: 1_000_000), remaining: 1_000_000,
            resetMilliseconds: 1_000_000_000_000)
        var headers: HTTPHeaders = [:]
        var standings = RateStandings()
        for _ in 0..<3 { standings.append(standing) }
        RateFields.append(standings, nil, to: &headers)
        #expect(headers.first("ratelimit-policy")?.hasPrefix("\"function\";q=1000000;w=1000000000, ") == true)
        #expect(headers.first("ratelimit")?.hasSuffix("\"function\";r=1000000;t=1000000000") == true)
    }
}
