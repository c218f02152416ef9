// Prometheus' text exposition format, version 0.0.4; MetricsRoute.swift says what is in it.
internal import Inference

/// One exposition in the making.
struct MetricsText {
    enum Kind: String {
        case counter, gauge, histogram
    }

    private(set) var text = ""
    private var name = ""

    mutating func begin(_ name: String, _ kind: Kind, _ help: String) {
        self.name = name
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
    }

    /// Label values are our own words and valid names: they hold nothing that needs escaping.
    mutating func sample(label: String, _ labelValue: String, _ value: String) { sample([(label, labelValue)], value) }

    mutating func sample(_ labels: [(name: String, value: String)], _ value: String) {
        let list = labels.map { "\($0.name)=\"\($0.value)\"" }.joined(separator: ",")
        text += "\(name){\(list)} \(value)\n"
    }

    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: UInt64) {
        begin(name, kind, help)
        text += "\(name) \(value)\n"
    }

    mutating func add(_ name: String, _ kind: Kind, _ help: String, seconds nanoseconds: UInt64) {
        begin(name, kind, help)
        text += "\(name) \(Self.seconds(nanoseconds))\n"
    }

    /// A family of histograms; those that counted nothing are left out, so that idle models cost no lines.
    mutating func histogram(
        _ name: String, _ help: String, _ rows: [(label: String, value: String, histogram: Histogram)]
    ) {
        let filled = rows.filter { $0.histogram.count > 0 }
        guard !filled.isEmpty else { return }
        begin(name, .histogram, help)
        for (label, value, histogram) in filled {
            let labels = "\(label)=\"\(value)\""
            var below: UInt64 = 0
            for (bound, count) in zip(histogram.scale.bounds, histogram.counts) {
                below += count
                let edge = histogram.scale.isTime ? "\(Double(bound) / 1e9)" : "\(bound)"
                text += "\(name)_bucket{\(labels),le=\"\(edge)\"} \(below)\n"
            }
            text += "\(name)_bucket{\(labels),le=\"+Inf\"} \(histogram.count)\n"
            let sum = histogram.scale.isTime ? Self.seconds(histogram.sum) : "\(histogram.sum)"
            text += "\(name)_sum{\(labels)} \(sum)\n\(name)_count{\(labels)} \(histogram.count)\n"
        }
    }

    static func seconds(_ nanoseconds: UInt64) -> String {
        let rest = String(nanoseconds % 1_000_000_000)
        return "\(nanoseconds / 1_000_000_000).\(String(repeating: "0", count: 9 - rest.utf8.count))\(rest)"
    }
}
