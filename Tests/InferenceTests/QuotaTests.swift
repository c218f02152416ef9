// Quotas as reservations: never over a limit, whatever runs at once, and across lives of the host.
import Core
import TestSupport
import Testing

@testable import Inference

private func account(_ tenant: String, _ quotas: [QuotaMeter: Int64]) -> [QuotaAccount] {
    [QuotaAccount(.tenant(tenant), ModelQuotas(quotas))]
}

private let nowhere: @Sendable ([QuotaRow]) throws(RuntimeError) -> Void = { _ in }

@Suite struct QuotaLedgerTests {
    private static func both(_ tenant: String) -> [QuotaAccount] {
        account(tenant, [.tokensPerMinute: 100, .tokensPerDay: 250])
    }

    @Test func aReservationIsCutToWhatIsLeftAndRefusedBelowItsLeast() throws {
        var ledger = QuotaLedger()
        let (a, b) = (Self.both("a"), Self.both("b"))
        #expect(try ledger.reserve(80, least: 1, from: a, now: 0, store: nowhere).count == 80)
        #expect(try ledger.reserve(80, least: 1, from: a, now: 1, store: nowhere).count == 20)
        #expect(
            throws: QuotaFailure.refused(QuotaRefusal(meter: .tokensPerMinute, limit: 100, waitMilliseconds: 59_998))
        ) {
            _ = try ledger.reserve(1, least: 1, from: a, now: 2, store: nowhere)
        }
        #expect(try ledger.reserve(80, least: 1, from: b, now: 2, store: nowhere).count == 80)
        #expect(try ledger.reserve(100, least: 1, from: a, now: 60_000, store: nowhere).count == 100)
        #expect(
            try ledger.reserve(100, least: 1, from: a, now: 120_000, store: nowhere).count == 50,
            "the day's rest")
        #expect(ledger.exhausted(a, now: 180_000)?.meter == .tokensPerDay)
    }

    @Test func whatWasNotNeededIsGivenBackInItsWindowOnly() throws {
        var ledger = QuotaLedger()
        let a = account("a", [.tokensPerMinute: 100])
        let held = try ledger.reserve(60, least: 1, from: a, now: 0, store: nowhere)
        ledger.giveBack(50, of: held)
        #expect(ledger.standing(a, now: 0)?.remaining == 90)
        _ = try ledger.reserve(10, least: 1, from: a, now: 60_000, store: nowhere)
        ledger.giveBack(10, of: held)
        #expect(ledger.standing(a, now: 60_000)?.remaining == 90)
    }

    @Test func aClockThatIsSetBackOpensNoOldWindow() throws {
        var ledger = QuotaLedger()
        let a = account("a", [.tokensPerMinute: 10])
        _ = try ledger.reserve(10, least: 1, from: a, now: 120_000, store: nowhere)
        #expect(ledger.exhausted(a, now: 0) != nil)
    }

    @Test func nothingIsGivenThatCannotBeWrittenDown() {
        var ledger = QuotaLedger()
        let error = RuntimeError(.insufficientStorage, step: "s", cause: "c", next: "n")
        #expect(throws: QuotaFailure.notStored(error)) {
            _ = try ledger.reserve(1, least: 1, from: account("a", [.tokensTotal: 5]), now: 0) {
                (_) throws(RuntimeError) in
                throw error
            }
        }
        #expect(ledger.standing(account("a", [.tokensTotal: 5]), now: 0)?.remaining == 5)
    }

    @Test func deviceTimeEndsWhenItIsUsed() throws {
        var ledger = QuotaLedger()
        let a = account("a", [.deviceSecondsPerMinute: 1_000_000_000])
        #expect(try ledger.useDevice(600_000_000, from: a, now: 0, store: nowhere) == nil)
        #expect(try ledger.useDevice(600_000_000, from: a, now: 1, store: nowhere)?.meter == .deviceSecondsPerMinute)
        #expect(ledger.exhausted(a, now: 2)?.waitMilliseconds == 59_998)
        #expect(ledger.exhausted(a, now: 60_000) == nil)
    }

    /// Many answers of several tenants at once, and hosts that die in between: what was used never passes a limit.
    @Test(arguments: 0..<60) func nobodyPassesALimit(_ seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let limits: [QuotaMeter: Int64] = [
            .tokensPerMinute: Int64.random(in: 0...500, using: &random),
            .tokensPerDay: Int64.random(in: 0...2000, using: &random),
        ]
        var stored: [String: QuotaRow] = [:]
        var ledger = QuotaLedger()
        var used: [String: Int64] = [:]
        var held: [(tenant: String, reservation: QuotaLedger.Reservation, left: Int64)] = []
        var now: Int64 = 1_000_000
        for _ in 0..<800 {
            now += Int64.random(in: 0...400, using: &random)
            switch Int.random(in: 0..<12, using: &random) {
            case 0..<5:
                let tenant = ["a", "b"][Int.random(in: 0...1, using: &random)]
                let wanted = Int64.random(in: 1...40, using: &random)
                let got = try? ledger.reserve(wanted, least: 1, from: account(tenant, limits), now: now) {
                    (rows) throws(RuntimeError) in
                    for row in rows { stored["\(row.owner)" + row.meter.rawValue] = row }
                }
                if let got { held.append((tenant, got, got.count)) }
            case 5..<9:
                guard let index = held.indices.randomElement(using: &random), held[index].left > 0 else { continue }
                held[index].left -= 1
                used[held[index].tenant, default: 0] += 1
            case 9..<11:
                guard let index = held.indices.randomElement(using: &random) else { continue }
                let one = held.remove(at: index)
                ledger.giveBack(one.left, of: one.reservation)
            default:
                // kill -9: what was held is gone, and so is what was not stored.
                held = []
                ledger = QuotaLedger(stored: Array(stored.values))
            }
            let minutes = (now - 1_000_000) / 60_000 + 2
            for count in used.values {
                #expect(count <= (limits[.tokensPerMinute] ?? 0) * minutes && count <= (limits[.tokensPerDay] ?? 0))
            }
        }
    }

    @Test func oldWindowsAreForgotten() throws {
        var ledger = QuotaLedger()
        for number in 0..<100 {
            _ = try ledger.reserve(
                1, least: 1, from: account("t\(number)", [.tokensPerMinute: 9]), now: 0, store: nowhere)
        }
        ledger.forgetOld(now: 59_999)
        #expect(ledger.accountCount == 100)
        ledger.forgetOld(now: 60_000)
        #expect(ledger.accountCount == 0)
    }
}

@Suite struct TenantPolicyTests {
    private func read(_ text: String) throws(RuntimeError) -> TenantPolicies {
        try TenantPolicies(json5: Array(text.utf8), file: "tenants.json5")
    }

    @Test func eachTenantHasItsOwnAndOthersTheStars() throws {
        let policies = try read(
            "{ acme: { weight: 2.5, tokens_per_minute: 1000, device_seconds_per_day: 1.5, requests_at_once: 3 }, '*': { tokens_total: 7 } }"
        )
        let acme = policies.policy(of: "acme")
        #expect(acme.weight == 2.5 && acme.quotas.requestsAtOnce == 3)
        #expect(acme.quotas.meters == [.tokensPerMinute: 1000, .deviceSecondsPerDay: 1_500_000_000])
        #expect(policies.policy(of: "anybody").quotas.meters == [.tokensTotal: 7])
    }

    @Test(arguments: [
        ("[]", "not an object"), ("{ A: {} }", "valid name"),
        ("{ a: { tokens_per_minutes: 1 } }", "tokens_per_minutes"),
        ("{ a: { weight: 0 } }", "weight"), ("{ a: { tokens_per_day: -1 } }", "tokens_per_day"),
        ("{ a: 1 }", "must be an object"),
    ])
    func mistakesAreNamed(_ text: String, _ words: String) {
        do throws(RuntimeError) {
            _ = try read(text)
            #expect(Bool(false), "\(text) was taken")
        } catch {
            #expect(error.description.contains(words) && !error.next.isEmpty, "\(error)")
        }
    }
}
