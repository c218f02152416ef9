// How much each tenant has left: quotas as reservations, so that nothing that runs can overshoot. Pure; QuotaKeeper acts.
package import Core

/// What a reservation was refused for.
package struct QuotaRefusal: Error, Equatable, Sendable {
    package let meter: QuotaMeter
    package let limit: Int64
    /// Until its window ends; nil: it never does.
    package let waitMilliseconds: Int64?
}

/// Where a tenant stands with its tightest token quota.
package struct QuotaStanding: Equatable, Sendable {
    package let meter: QuotaMeter
    package let limit: Int64
    package let remaining: Int64
    /// Until its window ends; nil: it never does.
    package let resetMilliseconds: Int64?
}

/// One row per tenant and meter: how much of the window is taken.
package struct QuotaRow: Equatable, Sendable {
    package var tenant: String
    package var meter: QuotaMeter
    /// The window's number: time divided by its length.
    package var window: Int64
    package var taken: Int64

    package init(tenant: String, meter: QuotaMeter, window: Int64, taken: Int64) {
        self.tenant = tenant
        self.meter = meter
        self.window = window
        self.taken = taken
    }
}

/// Reservations of all tenants against fixed windows.
///
/// Before any of it is used, what a tenant may use is written down in blocks (`rows` to store). A host that dies loses the rest
/// of a block to its tenant, and never gives more than the limit.
package struct QuotaLedger {
    private struct Key: Hashable {
        let tenant: String
        let meter: QuotaMeter
    }

    private struct Account {
        var window: Int64
        var used: Int64 = 0
        /// Stored: nothing above it was given.
        var taken: Int64 = 0
    }

    /// What was reserved, and in which windows: only there can it be given back.
    package struct Reservation: Equatable, Sendable {
        package fileprivate(set) var count: Int64 = 0
        fileprivate var windows: [QuotaMeter: Int64] = [:]

        package init() {}
    }

    private var accounts: [Key: Account] = [:]

    /// - Parameter stored: rows of an earlier life; all that is written there counts as used.
    package init(stored: [QuotaRow] = []) {
        for row in stored {
            accounts[Key(tenant: row.tenant, meter: row.meter)] = Account(
                window: row.window, used: row.taken, taken: row.taken)
        }
    }

    private static func window(_ meter: QuotaMeter, _ now: Int64) -> Int64 { meter.window.map { now / $0 } ?? 0 }

    private static func wait(_ meter: QuotaMeter, _ now: Int64) -> Int64? { meter.window.map { $0 - now % $0 } }

    private func account(_ tenant: String, _ meter: QuotaMeter, _ now: Int64) -> Account {
        let window = Self.window(meter, now)
        // A clock that was set back does not open an old window again.
        guard let known = accounts[Key(tenant: tenant, meter: meter)], known.window >= window else {
            return Account(window: window)
        }
        return known
    }

    /// Reserves up to `wanted` tokens of every token meter, and not less than `least`.
    ///
    /// - Parameters:
    ///   - now: milliseconds since 1970.
    ///   - store: writes rows before they count; when it fails, nothing is reserved.
    package mutating func reserve(
        _ wanted: Int64, least: Int64, for tenant: String, _ policy: TenantPolicy, now: Int64,
        store: ([QuotaRow]) throws(RuntimeError) -> Void
    ) throws(QuotaFailure) -> Reservation {
        var reservation = Reservation()
        reservation.count = wanted
        let meters = policy.quotas.filter(\.key.countsTokens)
        for (meter, limit) in meters.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            let left = limit - account(tenant, meter, now).used
            guard left >= least else {
                throw .refused(QuotaRefusal(meter: meter, limit: limit, waitMilliseconds: Self.wait(meter, now)))
            }
            reservation.count = min(reservation.count, left)
        }
        try take(reservation.count, of: meters, for: tenant, now: now, store: store)
        for meter in meters.keys { reservation.windows[meter] = account(tenant, meter, now).window }
        return reservation
    }

    private mutating func take(
        _ count: Int64, of meters: [QuotaMeter: Int64], for tenant: String, now: Int64,
        store: ([QuotaRow]) throws(RuntimeError) -> Void
    ) throws(QuotaFailure) {
        var changed: [Key: Account] = [:]
        var rows: [QuotaRow] = []
        for (meter, limit) in meters {
            var account = account(tenant, meter, now)
            account.used += count
            if account.used > account.taken {
                // Blocks, so that a token costs no write; device time is booked after it was used and may pass its limit.
                account.taken = max(account.used, min(limit, account.used + max(64, limit / 64)))
                rows.append(QuotaRow(tenant: tenant, meter: meter, window: account.window, taken: account.taken))
            }
            changed[Key(tenant: tenant, meter: meter)] = account
        }
        do throws(RuntimeError) {
            if !rows.isEmpty { try store(rows) }
        } catch {
            throw .notStored(error)
        }
        accounts.merge(changed) { $1 }
    }

    /// Gives back what a reservation did not need.
    package mutating func giveBack(_ count: Int64, of reservation: Reservation, for tenant: String) {
        for (meter, window) in reservation.windows {
            let key = Key(tenant: tenant, meter: meter)
            if accounts[key]?.window == window { accounts[key]?.used -= count }
        }
    }

    /// Books device time that was used. Returns the meter that has nothing left now.
    package mutating func useDevice(
        _ nanoseconds: Int64, for tenant: String, _ policy: TenantPolicy, now: Int64,
        store: ([QuotaRow]) throws(RuntimeError) -> Void
    ) throws(QuotaFailure) -> QuotaMeter? {
        let meters = policy.quotas.filter { !$0.key.countsTokens }
        guard !meters.isEmpty else { return nil }
        try take(nanoseconds, of: meters, for: tenant, now: now, store: store)
        return exhausted(tenant, policy, now: now, where: { !$0.countsTokens })?.meter
    }

    /// The first meter of which nothing is left.
    package func exhausted(
        _ tenant: String, _ policy: TenantPolicy, now: Int64, where counts: (QuotaMeter) -> Bool = { _ in true }
    ) -> QuotaRefusal? {
        for (meter, limit) in policy.quotas.sorted(by: { $0.key.rawValue < $1.key.rawValue }) where counts(meter) {
            guard account(tenant, meter, now).used >= limit else { continue }
            return QuotaRefusal(meter: meter, limit: limit, waitMilliseconds: Self.wait(meter, now))
        }
        return nil
    }

    /// The token quota of which least is left.
    package func standing(_ tenant: String, _ policy: TenantPolicy, now: Int64) -> QuotaStanding? {
        policy.quotas.filter(\.key.countsTokens).map { meter, limit in
            QuotaStanding(
                meter: meter, limit: limit, remaining: max(0, limit - account(tenant, meter, now).used),
                resetMilliseconds: Self.wait(meter, now))
        }.min { ($0.remaining, $0.meter.rawValue) < ($1.remaining, $1.meter.rawValue) }
    }

    /// Forgets accounts whose window is over.
    package mutating func forgetOld(now: Int64) {
        accounts = accounts.filter { $0.value.window >= Self.window($0.key.meter, now) }
    }

    package var accountCount: Int { accounts.count }
}

package enum QuotaFailure: Error, Equatable, Sendable {
    case refused(QuotaRefusal)
    /// The ledger can't be written: nobody knows what was given, so nothing is.
    case notStored(RuntimeError)
}
