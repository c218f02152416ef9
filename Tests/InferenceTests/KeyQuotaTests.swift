// Quotas of keys beside their tenant's: both give or neither does, the tighter one ends it, and rotation opens no new account.
import Core
import TestSupport
import Testing

@testable import Inference

private let nowhere: @Sendable ([QuotaRow]) throws(RuntimeError) -> Void = { _ in }

private func key(_ name: String, _ quotas: [QuotaMeter: Int64]) -> QuotaAccount {
    QuotaAccount(.key(name), ModelQuotas(quotas))
}

private func tenant(_ quotas: [QuotaMeter: Int64]) -> QuotaAccount {
    QuotaAccount(.tenant("acme"), ModelQuotas(quotas))
}

@Suite struct AccountsTogetherTests {
    @Test func whatOneAccountRefusesTakesNothingFromTheOther() throws {
        var ledger = QuotaLedger()
        let (own, shared) = (key("k", [.tokensTotal: 10]), tenant([.tokensTotal: 100]))
        #expect(try ledger.reserve(30, least: 1, from: [own, shared], now: 0, store: nowhere).count == 10)
        #expect(
            throws: QuotaFailure.refused(
                QuotaRefusal(meter: .tokensTotal, level: .key, limit: 10, waitMilliseconds: nil))
        ) { _ = try ledger.reserve(1, least: 1, from: [own, shared], now: 0, store: nowhere) }
        #expect(ledger.remaining([shared], now: 0) == 90)
        let other = key("other", [.tokensTotal: 1000])
        #expect(try ledger.reserve(500, least: 1, from: [other, shared], now: 0, store: nowhere).count == 90)
        #expect(
            throws: QuotaFailure.refused(
                QuotaRefusal(meter: .tokensTotal, level: .tenant, limit: 100, waitMilliseconds: nil))
        ) { _ = try ledger.reserve(1, least: 1, from: [other, shared], now: 0, store: nowhere) }
        #expect(ledger.remaining([other], now: 0) == 910)
    }

    @Test func whatWasNotNeededGoesBackToBoth() throws {
        var ledger = QuotaLedger()
        let both = [key("k", [.tokensTotal: 50]), tenant([.tokensPerMinute: 80])]
        let held = try ledger.reserve(40, least: 1, from: both, now: 0, store: nowhere)
        ledger.giveBack(30, of: held)
        #expect(ledger.remaining([both[0]], now: 0) == 40 && ledger.remaining([both[1]], now: 0) == 70)
    }

    @Test func whatCannotBeWrittenIsTakenFromNeither() {
        var ledger = QuotaLedger()
        let both = [key("k", [.tokensTotal: 50]), tenant([.tokensTotal: 80])]
        let error = RuntimeError(.insufficientStorage, step: "s", cause: "c", next: "n")
        #expect(throws: QuotaFailure.notStored(error)) {
            _ = try ledger.reserve(5, least: 1, from: both, now: 0) { (rows) throws(RuntimeError) in
                #expect(rows.count == 2, "both in one write")
                throw error
            }
        }
        #expect(ledger.remaining([both[0]], now: 0) == 50 && ledger.remaining([both[1]], now: 0) == 80)
    }

    @Test func theRefusalThatLastsLongestIsTold() throws {
        var ledger = QuotaLedger()
        let both = [key("k", [.tokensPerMinute: 5]), tenant([.tokensPerDay: 5])]
        _ = try ledger.reserve(5, least: 1, from: both, now: 0, store: nowhere)
        #expect(ledger.exhausted(both, now: 1)?.level == .tenant)
        #expect(ledger.exhausted([both[0]], now: 1)?.level == .key)
    }

    @Test func nobodyIsToldHowThePlatformStands() throws {
        var ledger = QuotaLedger()
        let platform = QuotaAccount(.platform, ModelQuotas([.tokensTotal: 3]))
        let all = [key("k", [.tokensTotal: 9]), platform]
        #expect(try ledger.reserve(7, least: 1, from: all, now: 0, store: nowhere).count == 3)
        #expect(ledger.standing(all, now: 0)?.limit == 9 && ledger.exhausted(all, now: 0)?.level == .platform)
    }

    /// Many answers of several keys of one tenant at once, and hosts that die in between: neither limit is ever passed, and
    /// nothing is refused while both have some left.
    @Test(arguments: 0..<80) func neitherLimitIsPassedAndNothingIsHeldBack(_ seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        var limits: [QuotaOwner: Int64] = [.tenant("acme"): Int64.random(in: 0...900, using: &random)]
        for name in ["k0", "k1", "k2"] { limits[.key(name)] = Int64.random(in: 0...500, using: &random) }
        func accounts(_ name: String) -> [QuotaAccount] {
            [key(name, [.tokensTotal: limits[.key(name)] ?? 0]), tenant([.tokensTotal: limits[.tenant("acme")] ?? 0])]
        }
        var stored: [QuotaOwner: QuotaRow] = [:]
        var ledger = QuotaLedger()
        var used: [QuotaOwner: Int64] = [:]
        var held: [(key: String, reservation: QuotaLedger.Reservation, left: Int64)] = []
        for _ in 0..<1200 {
            switch Int.random(in: 0..<40, using: &random) {
            case 0..<15:
                let name = "k\(Int.random(in: 0...2, using: &random))"
                let before = limits.map {
                    ledger.remaining([QuotaAccount($0, ModelQuotas([.tokensTotal: $1]))], now: 0)
                }
                let got = try? ledger.reserve(
                    Int64.random(in: 1...40, using: &random), least: 1, from: accounts(name), now: 0
                ) { (rows) throws(RuntimeError) in for row in rows { stored[row.owner] = row } }
                if let got {
                    held.append((name, got, got.count))
                } else {
                    #expect(ledger.remaining(accounts(name), now: 0) == 0, "refused while both had some left")
                    let after = limits.map {
                        ledger.remaining([QuotaAccount($0, ModelQuotas([.tokensTotal: $1]))], now: 0)
                    }
                    #expect(before == after, "a refusal took something")
                }
            case 15..<30:
                guard let index = held.indices.randomElement(using: &random), held[index].left > 0 else { continue }
                held[index].left -= 1
                used[.key(held[index].key), default: 0] += 1
                used[.tenant("acme"), default: 0] += 1
            case 30..<39:
                guard let index = held.indices.randomElement(using: &random) else { continue }
                let one = held.remove(at: index)
                ledger.giveBack(one.left, of: one.reservation)
            default:
                // kill -9: what was held is gone, and so is what was not stored.
                held = []
                ledger = QuotaLedger(stored: Array(stored.values))
            }
            for (owner, count) in used { #expect(count <= limits[owner] ?? 0, "\(owner)") }
        }
        for one in held { ledger.giveBack(one.left, of: one.reservation) }
        // Nothing leaks while no host dies: what is used and what is left is all there is, less what the dead ones lost.
        for (owner, limit) in limits {
            let left = ledger.remaining([QuotaAccount(owner, ModelQuotas([.tokensTotal: limit]))], now: 0) ?? 0
            #expect(left + (used[owner] ?? 0) <= limit)
        }
    }
}

/// Keeps rows as a table would.
private final class Rows: QuotaStore {
    private(set) var rows: [QuotaRow] = []

    func write(_ new: [QuotaRow]) throws(RuntimeError) {
        rows.removeAll { old in new.contains { $0.owner == old.owner && $0.meter == old.meter } }
        rows += new
    }

    func forget(_ owners: Set<QuotaOwner>) throws(RuntimeError) { rows.removeAll { owners.contains($0.owner) } }
}

@Suite struct QuotaKeeperTests {
    /// - Parameter keys: their account and tokens in all, by the key's id.
    private func policies(tenant: Int64? = nil, keys: [String: (account: String, tokens: Int64)], atOnce: Int? = nil)
        -> QuotaPolicies
    {
        var own = TenantPolicy()
        own.quotas.meters[.tokensTotal] = tenant
        return QuotaPolicies(
            tenants: TenantPolicies().overridden(by: ["acme": own]),
            keys: Dictionary(
                uniqueKeysWithValues: keys.map {
                    (
                        "key:" + $0.key,
                        QuotaPolicies.Key(
                            account: $0.value.account,
                            quotas: ModelQuotas([.tokensTotal: $0.value.tokens], requestsAtOnce: atOnce))
                    )
                }), issued: Dictionary(uniqueKeysWithValues: keys.map { ("key:" + $0.key, $0.value.account) }))
    }

    private func payer(_ key: String) -> QuotaPayer { QuotaPayer(tenant: "acme", principal: "key:" + key) }

    private struct Drained: Equatable {
        var tokens: Int
        var quota: QuotaName?

        init(_ tokens: Int, _ quota: QuotaName?) {
            self.tokens = tokens
            self.quota = quota
        }
    }

    /// Tokens of an answer until a quota ends it, and which one that was.
    private func drain(_ keeper: QuotaKeeper, _ key: String, prompt: Int) -> Drained {
        do throws(OpenAIError) {
            var grant = try keeper.begin(payer(key), promptTokens: prompt)
            var tokens = prompt
            defer { keeper.settle(grant, promptTokens: prompt, wasRead: true) }
            do throws(OpenAIError) {
                while tokens < 100_000 {
                    try keeper.take(&grant)
                    tokens += 1
                }
                return Drained(tokens, nil)
            } catch {
                return Drained(tokens, error.quota)
            }
        } catch {
            return Drained(0, error.quota)
        }
    }

    @Test func anAnswerEndsAtTheVeryTokenOfWhicheverIsUsedUpFirst() {
        let keeper = QuotaKeeper(policies: policies(tenant: 150, keys: ["a": ("a", 100), "b": ("b", 1000)]))
        #expect(drain(keeper, "a", prompt: 7) == Drained(100, QuotaName(.tokensTotal, .key)))
        #expect(drain(keeper, "b", prompt: 7) == Drained(50, QuotaName(.tokensTotal, .tenant)))
        #expect(drain(keeper, "a", prompt: 1) == Drained(0, QuotaName(.tokensTotal, .key)))
    }

    @Test func aKeyWithoutQuotasHasItsTenantsOnly() {
        let keeper = QuotaKeeper(policies: policies(tenant: 60, keys: ["a": ("a", 10)]))
        #expect(drain(keeper, "free", prompt: 5) == Drained(60, QuotaName(.tokensTotal, .tenant)))
    }

    @Test func aKeyThatTookAnothersPlaceGoesOnInItsAccount() throws {
        let rows = Rows()
        let keeper = QuotaKeeper(policies: policies(keys: ["old": ("old", 100)]), store: rows)
        keeper.settle(try keeper.begin(payer("old"), promptTokens: 30), promptTokens: 30, wasRead: true)
        _ = keeper.replace(policies(keys: ["old": ("old", 100), "new": ("old", 100)]))
        #expect(drain(keeper, "new", prompt: 1) == Drained(70, QuotaName(.tokensTotal, .key)))
        #expect(drain(keeper, "old", prompt: 1).tokens == 0)
        // The old one is revoked, and its account stays.
        _ = keeper.replace(policies(keys: ["new": ("old", 100)]))
        #expect(drain(keeper, "new", prompt: 1).tokens == 0 && rows.rows.count == 1)
        _ = keeper.replace(policies(keys: [:]))
        #expect(rows.rows.isEmpty, "an account outlived its last key")
    }

    @Test func aRevokedKeysAnswersEndWhereTheyWouldHave() throws {
        let rows = Rows()
        let keeper = QuotaKeeper(policies: policies(keys: ["a": ("a", 50)]), store: rows)
        let entry = try keeper.enter(payer("a"))
        var grant = try keeper.begin(payer("a"), promptTokens: 10)
        _ = keeper.replace(policies(keys: [:]))
        for _ in 0..<40 { try keeper.take(&grant) }
        #expect(throws: OpenAIError.self) { try keeper.take(&grant) }
        keeper.settle(grant, promptTokens: 10, wasRead: true)
        #expect(rows.rows.count == 1)
        keeper.leave(entry)
        #expect(rows.rows.isEmpty)
    }

    @Test func aChangeHoldsFromTheNextToken() throws {
        let keeper = QuotaKeeper(policies: policies(keys: ["a": ("a", 1000)]))
        var grant = try keeper.begin(payer("a"), promptTokens: 10)
        _ = keeper.replace(policies(keys: ["a": ("a", 20)]))
        var tokens = 10
        while (try? keeper.take(&grant)) != nil { tokens += 1 }
        #expect(tokens <= 10 + 16, "more than what was reserved before the change")
        keeper.settle(grant, promptTokens: 10, wasRead: true)
        _ = keeper.replace(policies(keys: ["a": ("a", 500)]))
        #expect(drain(keeper, "a", prompt: 1).tokens == 500 - tokens)
    }

    @Test func placesAreCountedForKeyAndTenantAndGivenBackToBoth() throws {
        let keeper = QuotaKeeper(policies: policies(tenant: 1000, keys: ["a": ("a", 9)], atOnce: 2))
        let first = try keeper.enter(payer("a"))
        _ = try keeper.enter(payer("a"))
        do throws(OpenAIError) {
            _ = try keeper.enter(payer("a"))
            Issue.record("a third was let in")
        } catch {
            #expect(error.quota == .requestsAtOnce(.key) && error.retryAfterMilliseconds == 1000)
        }
        _ = try keeper.enter(payer("b"))
        keeper.leave(first)
        _ = try keeper.enter(payer("a"))
    }

    @Test func aTenantThatIsDeletedBeginsAnew() {
        let rows = Rows()
        let keeper = QuotaKeeper(policies: policies(tenant: 40, keys: [:]), store: rows)
        #expect(drain(keeper, "x", prompt: 1).tokens == 40)
        keeper.forget("acme")
        #expect(rows.rows.isEmpty)
        #expect(drain(keeper, "x", prompt: 1).tokens == 40)
    }

    @Test func whatWasTakenIsKnownToTheNextLife() {
        let rows = Rows()
        let both = policies(tenant: 500, keys: ["a": ("a", 100)])
        #expect(drain(QuotaKeeper(policies: both, store: rows), "a", prompt: 1).tokens == 100)
        let next = QuotaKeeper(policies: both, stored: rows.rows, store: rows)
        #expect(drain(next, "a", prompt: 1) == Drained(0, QuotaName(.tokensTotal, .key)))
        #expect(drain(next, "b", prompt: 1).tokens <= 400)
    }
}
