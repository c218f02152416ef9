// What the ledger was given, as counters by tenant and function or model: docs/usage.md says what each number is.
internal import Ledger

extension Gateway {
    func add(_ totals: UsageTotals, to text: inout MetricsText) {
        text.add(
            "swiftlet_usage_lost_rows_total", .counter, "Rows of the usage ledger that were taken and never stored.",
            shared.usage.lost)
        let rows = totals.byKey.sorted {
            ($0.key.tenant, $0.key.kind.rawValue, $0.key.name) < ($1.key.tenant, $1.key.kind.rawValue, $1.key.name)
        }.map { (labels: Self.labels($0.key), value: $0.value) }
        guard !rows.isEmpty else { return }
        text.begin("swiftlet_usage_calls_total", .counter, "Calls that ended, by outcome.")
        for (labels, value) in rows {
            for (outcome, count) in value.byOutcome.sorted(by: { $0.key < $1.key }) {
                text.sample(labels + [("outcome", outcome)], "\(count)")
            }
        }
        for (name, help, path) in Self.counts {
            text.begin("swiftlet_usage_\(name)_total", .counter, help)
            for (labels, value) in rows { text.sample(labels, "\(value.sums[keyPath: path])") }
        }
        for (name, help, path) in Self.times {
            text.begin("swiftlet_usage_\(name)_seconds_total", .counter, help)
            for (labels, value) in rows { text.sample(labels, MetricsText.seconds(value.sums[keyPath: path])) }
        }
    }

    private static func labels(_ key: UsageTotals.Key) -> [(name: String, value: String)] {
        [("tenant", key.tenant), ("kind", key.kind.rawValue), ("name", key.name)]
    }

    private static var counts: [(String, String, KeyPath<UsageSums, UInt64>)] {
        [
            ("cold", "Calls that waited for a worker or a model to start.", \.cold),
            ("tokens_in", "Tokens of prompts and texts.", \.tokensIn),
            ("tokens_cached", "Those of them that were not read again.", \.tokensCached),
            ("tokens_out", "Tokens of answers.", \.tokensOut),
            ("bytes_in", "Bytes of requests' bodies.", \.bytesIn),
            ("bytes_out", "Bytes of answers' bodies.", \.bytesOut),
        ]
    }

    private static var times: [(String, String, KeyPath<UsageSums, UInt64>)] {
        [
            ("queued", "Waiting for a worker or a place in the model.", \.queuedNanoseconds),
            ("run", "Inside the handler, or from the place in the model to the end.", \.runNanoseconds),
            ("device", "Of the model's device.", \.deviceNanoseconds),
            ("cpu", "Of handlers' workers, as far as they have told.", \.cpuNanoseconds),
        ]
    }
}

extension UsageTotals {
    /// All functions of all tenants.
    fileprivate func total(_ kind: UsageRow.Kind) -> Value {
        var total = Value()
        for (key, value) in byKey where key.kind == kind {
            total.sums.cold += value.sums.cold
            total.sums.runNanoseconds &+= value.sums.runNanoseconds
            total.byOutcome.merge(value.byOutcome, uniquingKeysWith: +)
        }
        return total
    }

    var invocations: Value { total(.invoke) }
}
