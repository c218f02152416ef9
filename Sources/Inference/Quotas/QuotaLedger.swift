// How much is left of each account: quotas as reservations, so that nothing that runs can overshoot. Pure; QuotaKeeper acts.
package import Core

/// What a reservation was refused for.
package struct QuotaRefusal: Error, Equatable, Sendable {
    package let meter: QuotaMeter
    package let level: LimitLevel
    package let limit: Int64
    /// Until its window ends; nil: it never does.
    package let waitMilliseconds: Int64?

    package init(meter: QuotaMeter, level: LimitLevel = .tenant, limit: Int64, waitMilliseconds: Int64?) {
        self.meter = meter
        self.level = level
        self.limit = limit
        self.waitMilliseconds = waitMilliseconds
    }

    /// True when asking again for `other` comes too early for this.
    fileprivate func isLonger(than other: QuotaRefusal) -> Bool {
        guard let mine = waitMilliseconds else { return other.waitMilliseconds != nil }
        return other.waitMilliseconds.map { mine > $0 } ?? false
    }
}

/// Where somebody stands with the tightest token quota.
package struct QuotaStanding: Equatable, Sendable {
    package let meter: QuotaMeter
    package let limit: Int64
    package let remaining: Int64
    /// Until its window ends; nil: it never does.
    package let resetMilliseconds: Int64?
}

/// One row per owner and meter: how much of the window is taken.
package struct QuotaRow: Equatable, Sendable {
    package var owner: QuotaOwner
    package var meter: QuotaMeter
    /// The window's number: time divided by its length.
    package var window: Int64
    package var taken: Int64

    package init(owner: QuotaOwner, meter: QuotaMeter, window: Int64, taken: Int64) {
        self.owner = owner
        self.meter = meter
        self.window = window
        self.taken = taken
    }
}

/// Reservations of everybody against fixed windows. One draws on several accounts at once: all of them give, or none does.
///
/// Before any of it is used, what may be used is written down in blocks (`rows` to store). A host that dies loses the rest
/// of a block to its owner, and never gives more than the limit.
package struct QuotaLedger {
    private struct Key: Hashable {
        let owner: QuotaOwner
        let meter: QuotaMeter
    }

    private struct Account {
        var window: Int64
        var used: Int64 = 0
        /// Stored: nothing above it was given.
        var taken: Int64 = 0
    }

    /// What was reserved, from whom and in which windows: only there can it be given back.
    package struct Reservation: Sendable {
        package fileprivate(set) var count: Int64 = 0
        fileprivate var parts: [(owner: QuotaOwner, meter: QuotaMeter, window: Int64)] = []

        package init() {}
    }

    private var accounts: [Key: Account] = [:]

    /// - Parameter stored: rows of an earlier life; all that is written there counts as used.
    package init(stored: [QuotaRow] = []) {
        for row in stored {
            accounts[Key(owner: row.owner, meter: row.meter)] = Account(
                window: row.window, used: row.taken, taken: row.taken)
        }
    }

    private static func window(_ meter: QuotaMeter, _ now: Int64) -> Int64 { meter.window.map { now / $0 } ?? 0 }

    private static func wait(_ meter: QuotaMeter, _ now: Int64) -> Int64? { meter.window.map { $0 - now % $0 } }

    private func account(_ owner: QuotaOwner, _ meter: QuotaMeter, _ now: Int64) -> Account {
        let window = Self.window(meter, now)
        // A clock that was set back does not open an old window again.
        guard let known = accounts[Key(owner: owner, meter: meter)], known.window >= window else {
            return Account(window: window)
        }
        return known
    }

    /// Reserves up to `wanted` tokens of every token meter of every account, and not less than `least`.
    ///
    /// - Parameters:
    ///   - now: milliseconds since 1970.
    ///   - store: writes rows before they count; when it fails, nothing is reserved.
    package mutating func reserve(
        _ wanted: Int64, least: Int64, from accounts: [QuotaAccount], now: Int64,
        store: ([QuotaRow]) throws(RuntimeError) -> Void
    ) throws(QuotaFailure) -> Reservation {
        var reservation = Reservation()
        reservation.count = wanted
        var refusal: QuotaRefusal?
        for (owner, meter, limit) in Self.meters(of: accounts, where: \.countsTokens) {
            let account = account(owner, meter, now)
            let left = limit - account.used
            if left < least { Self.note(meter, owner, limit, now, &refusal) }
            reservation.count = min(reservation.count, left)
            reservation.parts.append((owner, meter, account.window))
        }
        if let refusal { throw .refused(refusal) }
        try take(reservation.count, from: accounts, where: \.countsTokens, now: now, store: store)
        return reservation
    }

    private static func meters(of accounts: [QuotaAccount], where counts: (QuotaMeter) -> Bool)
        -> [(owner: QuotaOwner, meter: QuotaMeter, limit: Int64)]
    {
        guard !accounts.isEmpty else { return [] }
        return accounts.flatMap { account in
            QuotaMeter.allCases.compactMap { meter in
                guard counts(meter), let limit = account.quotas.meters[meter] else { return nil }
                return (account.owner, meter, limit)
            }
        }
    }

    /// Of all that refuse, the one that does so for longest is told: who comes back earlier meets it.
    private static func note(
        _ meter: QuotaMeter, _ owner: QuotaOwner, _ limit: Int64, _ now: Int64, _ refusal: inout QuotaRefusal?
    ) {
        let new = QuotaRefusal(
            meter: meter, level: owner.level, limit: limit, waitMilliseconds: wait(meter, now))
        if refusal.map({ new.isLonger(than: $0) }) ?? true { refusal = new }
    }

    private mutating func take(
        _ count: Int64, from accounts: [QuotaAccount], where counts: (QuotaMeter) -> Bool, now: Int64,
        store: ([QuotaRow]) throws(RuntimeError) -> Void
    ) throws(QuotaFailure) {
        var changed: [(key: Key, account: Account)] = []
        var rows: [QuotaRow] = []
        for (owner, meter, limit) in Self.meters(of: accounts, where: counts) {
            var account = account(owner, meter, now)
            account.used += count
            if account.used > account.taken {
                // Blocks, so that a token costs no write; device time is booked after it was used and may pass its limit.
                account.taken = max(account.used, min(limit, account.used + max(64, limit / 64)))
                rows.append(QuotaRow(owner: owner, meter: meter, window: account.window, taken: account.taken))
            }
            changed.append((Key(owner: owner, meter: meter), account))
        }
        do throws(RuntimeError) {
            if !rows.isEmpty { try store(rows) }
        } catch {
            throw .notStored(error)
        }
        for (key, account) in changed { self.accounts[key] = account }
    }

    /// Gives back what a reservation did not need.
    package mutating func giveBack(_ count: Int64, of reservation: Reservation) {
        for (owner, meter, window) in reservation.parts {
            let key = Key(owner: owner, meter: meter)
            if accounts[key]?.window == window { accounts[key]?.used -= count }
        }
    }

    /// Books device time that was used. Returns what has nothing left now.
    package mutating func useDevice(
        _ nanoseconds: Int64, from accounts: [QuotaAccount], now: Int64,
        store: ([QuotaRow]) throws(RuntimeError) -> Void
    ) throws(QuotaFailure) -> QuotaRefusal? {
        guard accounts.contains(where: { $0.quotas.meters.keys.contains { !$0.countsTokens } }) else { return nil }
        try take(nanoseconds, from: accounts, where: { !$0.countsTokens }, now: now, store: store)
        return exhausted(accounts, now: now, where: { !$0.countsTokens })
    }

    /// What has nothing left, and for longest.
    package func exhausted(
        _ accounts: [QuotaAccount], now: Int64, where counts: (QuotaMeter) -> Bool = { _ in true }
    ) -> QuotaRefusal? {
        var refusal: QuotaRefusal?
        for (owner, meter, limit) in Self.meters(of: accounts, where: counts)
        where account(owner, meter, now).used >= limit {
            Self.note(meter, owner, limit, now, &refusal)
        }
        return refusal
    }

    /// Tokens that are left to all of these accounts; nil: they have no quota of tokens.
    package func remaining(_ accounts: [QuotaAccount], now: Int64) -> Int64? {
        Self.meters(of: accounts, where: \.countsTokens).map { max(0, $2 - account($0, $1, now).used) }.min()
    }

    /// The token quota of which least is left. How the platform stands is nobody's to know.
    package func standing(_ accounts: [QuotaAccount], now: Int64) -> QuotaStanding? {
        Self.meters(of: accounts.filter { $0.owner != .platform }, where: \.countsTokens).map { owner, meter, limit in
            QuotaStanding(
                meter: meter, limit: limit, remaining: max(0, limit - account(owner, meter, now).used),
                resetMilliseconds: Self.wait(meter, now))
        }.min { ($0.remaining, $0.meter.rawValue) < ($1.remaining, $1.meter.rawValue) }
    }

    /// Forgets accounts whose window is over.
    package mutating func forgetOld(now: Int64) {
        accounts = accounts.filter { $0.value.window >= Self.window($0.key.meter, now) }
    }

    /// Forgets what these have taken.
    package mutating func forget(_ owners: Set<QuotaOwner>) {
        accounts = accounts.filter { !owners.contains($0.key.owner) }
    }

    package var accountCount: Int { accounts.count }
}

package enum QuotaFailure: Error, Equatable, Sendable {
    case refused(QuotaRefusal)
    /// The ledger can't be written: nobody knows what was given, so nothing is.
    case notStored(RuntimeError)
}
