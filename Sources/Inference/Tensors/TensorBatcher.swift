// Which waiting requests run together, and when. Pure: TensorRunner acts.
//
// Tenants take turns: whose turn it is gives the first request, and the others fill up in the order of their turns. Of a
// tenant's requests, the oldest always goes first. A request waits for company only while the engine is free, and no longer
// than the delay after it came.
package import Platform

package struct TensorBatcher: Sendable {
    package enum Decision: Equatable, Sendable {
        case run([GenerationID])
        /// Nothing is due before.
        case wait(until: MonotonicTime)
        case idle
    }

    package struct Entry: Sendable {
        package var id: GenerationID
        package var tenant: String
        package var rows: Int
        package var bytes: Int
        /// Requests with equal keys may be joined; nil: it runs alone.
        package var key: [[Int64]]?
        package var arrived: MonotonicTime

        package init(id: GenerationID, tenant: String, rows: Int, bytes: Int, key: [[Int64]]?, arrived: MonotonicTime) {
            self.id = id
            self.tenant = tenant
            self.rows = rows
            self.bytes = bytes
            self.key = key
            self.arrived = arrived
        }
    }

    /// What a run that was joined may bring in bytes: it goes to the worker in one piece.
    package static let maxBytes = 32 << 20

    private let batching: TensorBatching
    /// Tenants with waiting requests, the next one first.
    private var turns: [String] = []
    private var waiting: [String: [Entry]] = [:]

    package init(_ batching: TensorBatching) { self.batching = batching }

    package var isEmpty: Bool { turns.isEmpty }

    package mutating func add(_ entry: Entry) {
        if waiting[entry.tenant] == nil { turns.append(entry.tenant) }
        waiting[entry.tenant, default: []].append(entry)
    }

    /// Forgets a request; true when it waited.
    @discardableResult
    package mutating func remove(_ id: GenerationID) -> Bool {
        for tenant in turns {
            guard let index = waiting[tenant]?.firstIndex(where: { $0.id == id }) else { continue }
            take(index, of: tenant)
            return true
        }
        return false
    }

    /// What the free engine does now; what it runs waits no more.
    package mutating func next(now: MonotonicTime) -> Decision {
        guard let leader = turns.first, let first = waiting[leader]?.first else { return .idle }
        let batch = fill(from: first)
        if let due = dueTime(first, rows: batch.reduce(0) { $0 + $1.rows }), due > now { return .wait(until: due) }
        for entry in batch { take(0, of: entry.tenant) }
        // The one that led goes behind the others, if it has more.
        if turns.first == leader { turns.append(turns.removeFirst()) }
        return .run(batch.map(\.id))
    }

    /// When the batch must run at the latest; nil: now, since waiting can't make it larger.
    private func dueTime(_ first: Entry, rows: Int) -> MonotonicTime? {
        guard first.key != nil, rows < batching.maxRows, batching.maxDelayMicroseconds > 0 else { return nil }
        // Also of those that don't join: they wait for this one.
        let oldest = waiting.values.compactMap(\.first?.arrived).min() ?? first.arrived
        return MonotonicTime(nanoseconds: oldest.nanoseconds + batching.maxDelayMicroseconds * 1000)
    }

    /// The first request and what can join it, tenant by tenant, one each in a round.
    private func fill(from first: Entry) -> [Entry] {
        guard first.key != nil else { return [first] }
        var batch = [first]
        var rows = first.rows
        var bytes = first.bytes
        var used = [first.tenant: 1]
        // The first round begins behind the tenant that gave the first request.
        var order = turns.dropFirst() + turns.prefix(1)
        while rows < batching.maxRows, !order.isEmpty {
            order = order.filter { tenant in
                let index = used[tenant, default: 0]
                guard let queue = waiting[tenant], index < queue.count, queue[index].key == first.key,
                    rows + queue[index].rows <= batching.maxRows, bytes + queue[index].bytes <= Self.maxBytes
                else { return false }
                batch.append(queue[index])
                rows += queue[index].rows
                bytes += queue[index].bytes
                used[tenant] = index + 1
                return true
            }
        }
        return batch
    }

    private mutating func take(_ index: Int, of tenant: String) {
        waiting[tenant]?.remove(at: index)
        guard waiting[tenant]?.isEmpty == true else { return }
        waiting[tenant] = nil
        turns.removeAll { $0 == tenant }
    }
}
