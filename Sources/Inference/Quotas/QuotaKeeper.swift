// The quotas at work: who may begin, how far an answer may go, what was used. Loop-confined, for all models of the host.
package import Core
internal import Platform

/// What an answer may still take without asking again.
struct TokenGrant {
    let payer: QuotaPayer
    fileprivate var reservation = QuotaLedger.Reservation()
    fileprivate(set) var left: Int64 = 0
    /// The prompt's own reservation, given back when it was never read.
    fileprivate var prompt = QuotaLedger.Reservation()

    fileprivate init(_ payer: QuotaPayer) { self.payer = payer }
}

/// A request that was let in, and where it is counted.
struct QuotaEntry: Sendable {
    fileprivate let tenant: String
    fileprivate let key: String?
    fileprivate let isBoundByPlatform: Bool
}

/// Where what was taken is kept for the host's next life.
package protocol QuotaStore {
    /// Returns when rows will be found there: all, or none.
    func write(_ rows: [QuotaRow]) throws(RuntimeError)
    /// Forgets everything of these.
    func forget(_ owners: Set<QuotaOwner>) throws(RuntimeError)
}

package final class QuotaKeeper {
    /// Tokens that an answer asks for at a time.
    private static let step: Int64 = 16

    private let store: (any QuotaStore)?
    private var ledger: QuotaLedger
    private var policies: QuotaPolicies
    private var running: [QuotaOwner: Int] = [:]
    /// Gone, and forgotten when the last of their requests is over: what runs must not begin an account anew.
    private var leaving: Set<QuotaOwner> = []
    private var entries = 0

    /// - Parameters:
    ///   - stored: rows that an earlier life of the host wrote.
    ///   - store: keeps rows for the next life; nil: nothing does.
    package init(
        policies: QuotaPolicies = QuotaPolicies(), stored: [QuotaRow] = [], store: (any QuotaStore)? = nil
    ) {
        self.policies = policies
        self.store = store
        ledger = QuotaLedger(stored: stored)
    }

    private var now: Int64 { WallClock.milliseconds }

    private func write(_ rows: [QuotaRow]) throws(RuntimeError) { try store?.write(rows) }

    /// Returns the tenants that had a policy of their own and have none any more.
    func replace(_ next: QuotaPolicies) -> Set<String> {
        let old = policies
        policies = next
        for (principal, key) in old.keys where next.issued[principal] == nil && isRunning(.key(key.account)) {
            // It was revoked while its answers are on their way: they end where they would have.
            policies.keys[principal] = key
        }
        forget(Set(Set(old.issued.values).subtracting(next.issued.values).map(QuotaOwner.key)))
        return old.tenants.names.subtracting(next.tenants.names)
    }

    /// A tenant was deleted: what it took is forgotten.
    func forget(_ tenant: String) { forget([.tenant(tenant)]) }

    private func forget(_ owners: Set<QuotaOwner>) {
        leaving.formUnion(owners)
        let idle = leaving.filter { !isRunning($0) }
        guard !idle.isEmpty else { return }
        leaving.subtract(idle)
        policies.keys = policies.keys.filter { !idle.contains(.key($0.value.account)) }
        ledger.forget(idle)
        do throws(RuntimeError) {
            try store?.forget(idle)
        } catch {
            Log.error("what a key or tenant that is gone took of the models is still stored", [("cause", "\(error)")])
        }
    }

    private func isRunning(_ owner: QuotaOwner) -> Bool { running[owner] != nil }

    /// Its share of the models beside others'.
    func weight(of tenant: String) -> Double { policies.tenants.policy(of: tenant).weight }

    func standing(of payer: QuotaPayer) -> QuotaStanding? { ledger.standing(policies.accounts(of: payer), now: now) }

    // MARK: requests

    /// A request came; `leave` when it is over, unless this throws.
    func enter(_ payer: QuotaPayer) throws(OpenAIError) -> QuotaEntry {
        let accounts = policies.accounts(of: payer)
        for account in accounts {
            guard let most = account.quotas.requestsAtOnce else { continue }
            if running[account.owner, default: 0] >= most { throw .tooManyAtOnce(account.owner, most) }
        }
        if let refusal = refusal(accounts) { throw refusal }
        let entry = QuotaEntry(
            tenant: payer.tenant, key: policies.key(of: payer)?.account, isBoundByPlatform: !policies.platform.isEmpty)
        count(entry, 1)
        entries += 1
        if entries.isMultiple(of: 4096) { ledger.forgetOld(now: now) }
        return entry
    }

    func leave(_ entry: QuotaEntry) {
        count(entry, -1)
        if !leaving.isEmpty { forget([]) }
    }

    private func count(_ entry: QuotaEntry, _ change: Int) {
        count(.tenant(entry.tenant), change)
        if let key = entry.key { count(.key(key), change) }
        if entry.isBoundByPlatform { count(.platform, change) }
    }

    private func count(_ owner: QuotaOwner, _ change: Int) {
        let sum = running[owner, default: 0] + change
        running[owner] = sum == 0 ? nil : sum
    }

    // MARK: tokens

    /// Reserves a prompt and the first token behind it.
    func begin(_ payer: QuotaPayer, promptTokens: Int) throws(OpenAIError) -> TokenGrant {
        var grant = try begin(payer, textTokens: promptTokens)
        do throws(OpenAIError) {
            try extend(&grant)
        } catch {
            ledger.giveBack(Int64(promptTokens), of: grant.prompt)
            throw error
        }
        return grant
    }

    /// Reserves texts that get no answer; what is not read of them is given back by `settle`.
    func begin(_ payer: QuotaPayer, textTokens: Int) throws(OpenAIError) -> TokenGrant {
        var grant = TokenGrant(payer)
        let accounts = policies.accounts(of: payer)
        grant.prompt = try reserve(Int64(textTokens), least: Int64(textTokens), accounts)
        return grant
    }

    /// What keeps somebody from going on, when something does.
    func refusal(of payer: QuotaPayer) -> OpenAIError? { refusal(policies.accounts(of: payer)) }

    private func refusal(_ accounts: [QuotaAccount]) -> OpenAIError? {
        ledger.exhausted(accounts, now: now).map { .quota($0, ledger.standing(accounts, now: now)) }
    }

    /// Takes one token of an answer. Throws where a quota ends.
    func take(_ grant: inout TokenGrant) throws(OpenAIError) {
        if grant.left == 0 { try extend(&grant) }
        grant.left -= 1
    }

    private func extend(_ grant: inout TokenGrant) throws(OpenAIError) {
        let accounts = policies.accounts(of: grant.payer)
        // Near the end one at a time, so that no answer stops for what others hold and may not need.
        var wanted = Self.step
        for account in accounts {
            guard let left = ledger.remaining([account], now: now) else { continue }
            wanted = min(wanted, left / Int64(4 * max(1, running[account.owner, default: 1])))
        }
        grant.reservation = try reserve(max(1, wanted), least: 1, accounts)
        grant.left = grant.reservation.count
    }

    private func reserve(_ wanted: Int64, least: Int64, _ accounts: [QuotaAccount]) throws(OpenAIError)
        -> QuotaLedger.Reservation
    {
        do throws(QuotaFailure) {
            return try ledger.reserve(wanted, least: least, from: accounts, now: now, store: write)
        } catch {
            switch error {
            case .refused(let refusal): throw .quota(refusal, ledger.standing(accounts, now: now))
            case .notStored(let cause): throw .quotaNotStored(cause)
            }
        }
    }

    /// An answer is over.
    func settle(_ grant: TokenGrant, promptTokens: Int, wasRead: Bool) {
        ledger.giveBack(grant.left, of: grant.reservation)
        if !wasRead { ledger.giveBack(Int64(promptTokens), of: grant.prompt) }
    }

    // MARK: device time

    /// Books device time. Returns true when somebody's is used up now.
    func useDevice(_ nanoseconds: UInt64, _ payer: QuotaPayer) -> Bool {
        // What can't be written is still booked in memory at the next success; the device was used either way.
        let refusal = try? ledger.useDevice(
            Int64(clamping: nanoseconds), from: policies.accounts(of: payer), now: now, store: write)
        return (refusal ?? nil) != nil
    }

    /// The quota of device time that ends what somebody has running, when one does.
    func spentDevice(of payer: QuotaPayer) -> QuotaName? {
        ledger.exhausted(policies.accounts(of: payer), now: now, where: { !$0.countsTokens }).map {
            QuotaName($0.meter, $0.level)
        }
    }
}
