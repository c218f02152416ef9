// The quotas at work: who may begin, how far an answer may go, what was used. Loop-confined, for all models of the host.
package import Core
internal import Glibc

/// What an answer may still take without asking again.
struct TokenGrant {
    fileprivate var reservation = QuotaLedger.Reservation()
    fileprivate(set) var left: Int64 = 0
    /// The prompt's own reservation, given back when it was never read.
    fileprivate var prompt = QuotaLedger.Reservation()
}

package final class QuotaKeeper {
    /// Tokens that an answer asks for at a time.
    private static let step: Int64 = 16

    private let write: ([QuotaRow]) throws(RuntimeError) -> Void
    private var ledger: QuotaLedger
    private var policies: TenantPolicies
    private var running: [String: Int] = [:]
    private var entries = 0

    /// - Parameters:
    ///   - stored: rows that an earlier life of the host wrote.
    ///   - write: keeps rows for the next life; returns when they will be found there.
    package init(
        policies: TenantPolicies = TenantPolicies(), stored: [QuotaRow] = [],
        write: @escaping ([QuotaRow]) throws(RuntimeError) -> Void = { _ in }
    ) {
        self.policies = policies
        self.write = write
        ledger = QuotaLedger(stored: stored)
    }

    private var now: Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// Returns the tenants that had a policy of their own and have none any more.
    func replace(_ policies: TenantPolicies) -> Set<String> {
        defer { self.policies = policies }
        return self.policies.names.subtracting(policies.names)
    }

    func policy(of tenant: String) -> TenantPolicy { policies.policy(of: tenant) }

    func standing(of tenant: String) -> QuotaStanding? { ledger.standing(tenant, policy(of: tenant), now: now) }

    // MARK: requests

    /// A request came; `leave` when it is over, unless this throws.
    func enter(_ tenant: String) throws(OpenAIError) {
        let policy = policy(of: tenant)
        let own = running[tenant, default: 0]
        if let most = policy.requestsAtOnce, own >= most { throw .tooManyAtOnce(tenant, most) }
        if let refusal = refusal(of: tenant) { throw refusal }
        running[tenant] = own + 1
        entries += 1
        if entries.isMultiple(of: 4096) { ledger.forgetOld(now: now) }
    }

    func leave(_ tenant: String) {
        guard let own = running[tenant] else { return }
        running[tenant] = own == 1 ? nil : own - 1
    }

    // MARK: tokens

    /// Reserves a prompt and the first token behind it.
    func begin(_ tenant: String, promptTokens: Int) throws(OpenAIError) -> TokenGrant {
        var grant = TokenGrant()
        grant.prompt = try reserve(Int64(promptTokens), least: Int64(promptTokens), tenant)
        do throws(OpenAIError) {
            try extend(&grant, tenant)
        } catch {
            ledger.giveBack(Int64(promptTokens), of: grant.prompt, for: tenant)
            throw error
        }
        return grant
    }

    /// Reserves texts that get no answer; what is not read of them is given back by `settle`.
    func begin(_ tenant: String, textTokens: Int) throws(OpenAIError) -> TokenGrant {
        var grant = TokenGrant()
        grant.prompt = try reserve(Int64(textTokens), least: Int64(textTokens), tenant)
        return grant
    }

    /// What keeps a tenant from going on, when something does.
    func refusal(of tenant: String) -> OpenAIError? {
        ledger.exhausted(tenant, policy(of: tenant), now: now).map { .quota($0, standing(of: tenant)) }
    }

    /// Takes one token of an answer. False: the quota ends here.
    func take(_ grant: inout TokenGrant, _ tenant: String) throws(OpenAIError) {
        if grant.left == 0 { try extend(&grant, tenant) }
        grant.left -= 1
    }

    private func extend(_ grant: inout TokenGrant, _ tenant: String) throws(OpenAIError) {
        // Near the end one at a time, so that no answer stops for what others hold and may not need.
        let left = standing(of: tenant)?.remaining ?? .max
        let wanted = max(1, min(Self.step, left / Int64(4 * max(1, running[tenant, default: 1]))))
        grant.reservation = try reserve(wanted, least: 1, tenant)
        grant.left = grant.reservation.count
    }

    private func reserve(_ wanted: Int64, least: Int64, _ tenant: String) throws(OpenAIError)
        -> QuotaLedger.Reservation
    {
        do throws(QuotaFailure) {
            return try ledger.reserve(
                wanted, least: least, for: tenant, policy(of: tenant), now: now, store: write)
        } catch {
            switch error {
            case .refused(let refusal): throw .quota(refusal, standing(of: tenant))
            case .notStored(let cause): throw .quotaNotStored(cause)
            }
        }
    }

    /// An answer is over.
    func settle(_ grant: TokenGrant, _ tenant: String, promptTokens: Int, wasRead: Bool) {
        ledger.giveBack(grant.left, of: grant.reservation, for: tenant)
        if !wasRead { ledger.giveBack(Int64(promptTokens), of: grant.prompt, for: tenant) }
    }

    /// Books device time. Returns the meter of which nothing is left.
    func useDevice(_ nanoseconds: UInt64, _ tenant: String) -> QuotaMeter? {
        let policy = policy(of: tenant)
        // What can't be written is still booked in memory at the next success; the device was used either way.
        return
            (try? ledger.useDevice(
                Int64(clamping: nanoseconds), for: tenant, policy, now: now, store: write)) ?? nil
    }
}

extension OpenAIError {
    static func tooManyAtOnce(_ tenant: String, _ most: Int) -> OpenAIError {
        OpenAIError(
            status: 429, type: "rate_limit_error", code: "rate_limit_exceeded",
            message:
                "quota requests_at_once: \(most) requests of \(tenant) run or wait already; send again when one ends",
            retryAfterMilliseconds: 1000)
    }

    static func quota(_ refusal: QuotaRefusal, _ standing: QuotaStanding?) -> OpenAIError {
        let limit =
            refusal.meter.countsTokens
            ? "\(refusal.limit) tokens" : "\(Double(refusal.limit) / 1e9) seconds of the device"
        guard let wait = refusal.waitMilliseconds else {
            var error = OpenAIError(
                status: 429, type: "insufficient_quota", code: "insufficient_quota",
                message: "quota \(refusal.meter.rawValue): \(limit) are used up, or too few are left for this prompt; "
                    + "ask the platform for more")
            error.standing = standing
            return error
        }
        var error = OpenAIError(
            status: 429, type: "rate_limit_error", code: "rate_limit_exceeded",
            message: "quota \(refusal.meter.rawValue): \(limit) are used up, or too few are left for this prompt; "
                + "the next window begins in \((wait + 999) / 1000) s",
            retryAfterMilliseconds: UInt64(wait))
        error.standing = standing
        return error
    }

    static func quotaNotStored(_ cause: RuntimeError) -> OpenAIError {
        OpenAIError(
            status: 503, type: "server_error", code: "quota_unavailable",
            message: "quota ledger: \(cause.step): \(cause.cause); no quota is given that can't be written down",
            retryAfterMilliseconds: 1000)
    }
}
