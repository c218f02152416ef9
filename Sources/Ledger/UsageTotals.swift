// What the ledger was given since the host started, by tenant and function or model: the same rows, for /metrics.

package struct UsageTotals: Sendable {
    package struct Key: Hashable, Sendable {
        package var tenant: String
        package var kind: UsageRow.Kind
        package var name: String
    }

    package struct Value: Sendable {
        package var sums = UsageSums()
        package var byOutcome: [String: UInt64] = [:]

        package init() {}
    }

    /// The tenant that stands for all others, once so many pairs have labels of their own.
    package static let others = "_others"
    private static let most = 4000

    package private(set) var byKey: [Key: Value] = [:]

    package init() {}

    mutating func add(_ tape: UsageTape) {
        for (first, sums) in tape.sums { add(sums, of: first) }
    }

    mutating func add(_ row: UsageRow) {
        var sums = UsageSums()
        sums.add(row)
        add(sums, of: row)
    }

    private mutating func add(_ sums: UsageSums, of row: UsageRow) {
        var key = Key(tenant: row.tenant, kind: row.kind, name: row.name)
        if byKey.count >= Self.most, byKey[key] == nil { key = Key(tenant: Self.others, kind: row.kind, name: "") }
        Self.add(sums, row.outcome, to: &byKey[key, default: Value()])
    }

    mutating func forget(_ tenant: String) { byKey = byKey.filter { $0.key.tenant != tenant } }

    private static func add(_ sums: UsageSums, _ outcome: String, to value: inout Value) {
        value.sums.add(sums)
        value.byOutcome[outcome, default: 0] += sums.calls
    }
}
