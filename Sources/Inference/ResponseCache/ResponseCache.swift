// Answers kept to be given again to the tenant that got them: bounded in bytes and in time, least used first out. Pure.
package import Platform

package struct ResponseCacheLimits: Equatable, Sendable {
    /// Of all answers; 0: none is kept.
    package var bytes = 64 << 20
    /// How long an answer may be given again.
    package var milliseconds: UInt64 = 300_000

    package init() {}

    /// One tenant can't push out what three others have.
    package var bytesPerTenant: Int { bytes / 4 }
    /// One answer is never most of what its tenant may have.
    package var bytesPerAnswer: Int { bytesPerTenant / 4 }
}

/// Which answers of which tenants are kept; `ResponseKeeper` asks it and does the rest.
package struct ResponseCache<Answer> {
    /// What an entry costs beside its answer: small ones must not be unbounded in number.
    package static var overhead: Int { 512 }

    private struct Entry {
        let tenant: String
        let model: String
        let answer: Answer
        let bytes: Int
        let stored: MonotonicTime
        let expires: MonotonicTime
        var use: UInt64
    }

    private struct Share {
        var bytes = 0
        var recency = Recency()
    }

    package let limits: ResponseCacheLimits
    private var entries: [String: Entry] = [:]
    private var tenants: [String: Share] = [:]
    private var recency = Recency()
    private var uses: UInt64 = 0
    private var swept = MonotonicTime(nanoseconds: 0)
    package private(set) var bytes = 0

    package init(_ limits: ResponseCacheLimits = ResponseCacheLimits()) { self.limits = limits }

    package var count: Int { entries.count }
    /// Tenants that have an answer here.
    package var tenantCount: Int { tenants.count }

    /// Places in the orders of use, which may name a key more than once.
    var orderLength: Int { tenants.values.reduce(recency.count) { $0 + $1.recency.count } }

    package func bytes(of tenant: String) -> Int { tenants[tenant]?.bytes ?? 0 }

    /// - Parameters:
    ///   - key: of tenant, model and request: it alone decides what is the same.
    ///   - maxAge: milliseconds; an older answer is none.
    /// - Returns: the answer, and for how many milliseconds it has been kept.
    package mutating func find(
        _ key: String, maxAge: UInt64 = .max, now: MonotonicTime
    ) -> (answer: Answer, age: UInt64)? {
        sweep(now)
        guard let entry = entries[key] else { return nil }
        guard now < entry.expires else {
            remove(key)
            return nil
        }
        let age = now.since(entry.stored) / 1_000_000
        guard age <= maxAge else { return nil }
        touch(key, entry.tenant)
        return (entry.answer, age)
    }

    /// Keeps an answer, unless it alone is too large.
    ///
    /// - Parameters:
    ///   - model: the artefact that made it; see `keep`.
    ///   - bytes: what it takes, without `overhead`.
    package mutating func store(
        _ key: String, tenant: String, model: String, answer: Answer, bytes size: Int, maxAge: UInt64 = .max,
        now: MonotonicTime
    ) {
        sweep(now)
        remove(key)
        let lifetime = min(maxAge, limits.milliseconds)
        guard size <= limits.bytesPerAnswer, lifetime > 0, limits.bytes > 0 else { return }
        let cost = size + Self.overhead
        while let share = tenants[tenant], share.bytes + cost > limits.bytesPerTenant { evict(of: tenant) }
        while bytes + cost > limits.bytes, !entries.isEmpty { evict() }
        guard bytes + cost <= limits.bytes, cost <= limits.bytesPerTenant else { return }
        entries[key] = Entry(
            tenant: tenant, model: model, answer: answer, bytes: cost, stored: now,
            expires: now.adding(milliseconds: lifetime), use: 0)
        bytes += cost
        tenants[tenant, default: Share()].bytes += cost
        touch(key, tenant)
    }

    /// Forgets all others: those of models and tenants that are gone.
    package mutating func keep(where isKept: (_ tenant: String, _ model: String) -> Bool) {
        for (key, entry) in entries where !isKept(entry.tenant, entry.model) { remove(key) }
    }

    // MARK: order

    private mutating func touch(_ key: String, _ tenant: String) {
        uses += 1
        entries[key]?.use = uses
        recency.push(key, use: uses)
        tenants[tenant]?.recency.push(key, use: uses)
        // What is out of date in the order goes before it outgrows what is kept.
        if recency.count > 2 * entries.count + 64 { recency.tidy { entries[$0]?.use == $1 } }
        if let share = tenants[tenant], share.recency.count > 2 * entries.count + 64 {
            tenants[tenant]?.recency.tidy { entries[$0]?.use == $1 }
        }
    }

    private mutating func evict() {
        guard let key = recency.oldest(where: { entries[$0]?.use == $1 }) else { return }
        remove(key)
    }

    private mutating func evict(of tenant: String) {
        guard let key = tenants[tenant]?.recency.oldest(where: { entries[$0]?.use == $1 }) else { return }
        remove(key)
    }

    private mutating func remove(_ key: String) {
        guard let entry = entries.removeValue(forKey: key) else { return }
        bytes -= entry.bytes
        tenants[entry.tenant]?.bytes -= entry.bytes
        if tenants[entry.tenant]?.bytes == 0 { tenants[entry.tenant] = nil }
    }

    /// What is too old is not only never found, it goes.
    private mutating func sweep(_ now: MonotonicTime) {
        guard now.since(swept) > limits.milliseconds * 1_000_000 / 10 else { return }
        swept = now
        for (key, entry) in entries where entry.expires <= now { remove(key) }
    }
}

/// Keys in the order of their last use; a key that was used again stands here twice, and its older place counts no more.
private struct Recency {
    private var places: [(key: String, use: UInt64)] = []
    private var first = 0

    var count: Int { places.count - first }

    mutating func push(_ key: String, use: UInt64) { places.append((key, use)) }

    /// Takes out the key that was not used for longest.
    mutating func oldest(where isCurrent: (String, UInt64) -> Bool) -> String? {
        while first < places.count {
            let place = places[first]
            first += 1
            if first > 1024, first > places.count / 2 {
                places.removeFirst(first)
                first = 0
            }
            if isCurrent(place.key, place.use) { return place.key }
        }
        return nil
    }

    mutating func tidy(where isCurrent: (String, UInt64) -> Bool) {
        places = places[first...].filter { isCurrent($0.key, $0.use) }
        first = 0
    }
}
