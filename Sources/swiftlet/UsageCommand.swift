// swiftlet usage: what tenants used, page by page from the host's ledger.
internal import Core
internal import FoundationEssentials

enum UsageCommand {
    /// A line of the answer: single calls and sums share most fields.
    private struct Line: Codable {
        let start_ms, time_ms: Int64?
        let request_id, tenant, key, kind, name, version, route, outcome: String?
        let status: Int64?
        let calls, success, refused, failed, cancelled: Int64?
        let queued_ns, run_ns, device_ns: Int64
        let cpu_ns, memory_peak_bytes: Int64?
        let tokens_in, tokens_cached, tokens_out, bytes_in, bytes_out: Int64
    }

    private struct Page: Decodable {
        let lost: Int64
        let groups, rows: [Line]?
        let next: Int64?
    }

    private typealias Column = (name: String, value: (Line) -> String?)

    static func run(_ arguments: Arguments) throws -> Int32 {
        guard arguments.positional.isEmpty else { throw UsageError(text: "usage takes options only") }
        guard !arguments.has("--json") || !arguments.has("--csv") else {
            throw UsageError(text: "--json and --csv are two shapes of one answer: choose one")
        }
        let client = try Client(arguments)
        let query = query(arguments)
        var lines: [Line] = []
        var (isFirst, lost, after) = (true, Int64(0), Int64(0))
        while true {
            let answer = try client.expect("GET", "/admin/v1/usage?\(query)&limit=1000&after=\(after)")
            let page = try client.decode(Page.self, answer)
            let more = page.rows ?? page.groups ?? []
            lost = page.lost
            if arguments.has("--csv") {
                if isFirst { Output.line(all.map(\.name).joined(separator: ",")) }
                // A page at once: single calls may be millions.
                for line in more { Output.line(all.map { csv($0.value(line) ?? "") }.joined(separator: ",")) }
            } else if arguments.has("--json") {
                let encoder = JSONEncoder()
                encoder.outputFormatting = .sortedKeys
                for line in more { Output.line(String(decoding: try encoder.encode(line), as: UTF8.self)) }
            } else {
                lines += more
            }
            isFirst = false
            guard let next = page.next else { break }
            after = next
        }
        if !arguments.has("--csv"), !arguments.has("--json") { show(lines) }
        if lost > 0 { Output.error("\(lost) calls were lost: they have no row and are in no sum (docs/usage.md)") }
        return 0
    }

    private static func query(_ arguments: Arguments) -> String {
        var fields = arguments.has("--rows") ? ["rows=1"] : ["rows=0"]
        for name in ["tenant", "key", "by", "since", "until"] {
            guard let value = arguments.value("--" + name) else { continue }
            fields.append("\(name)=\(escaped(value))")
        }
        return fields.joined(separator: "&")
    }

    private static func escaped(_ text: String) -> String {
        text.utf8.map { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
                String(UnicodeScalar(byte))
            default: "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        }.joined()
    }

    // MARK: shapes

    /// Only columns that something is in.
    private static func show(_ lines: [Line]) {
        guard !lines.isEmpty else { return Output.line("no calls") }
        let columns = shown.filter { column in lines.contains { column.value($0).map { $0 != "0" } ?? false } }
        Output.table(
            columns.map { $0.name.uppercased() }, lines.map { line in columns.map { $0.value(line) ?? "" } })
    }

    private static var shown: [Column] {
        [
            ("time", { ($0.time_ms ?? $0.start_ms).map(date) }), ("tenant", { $0.tenant }), ("key", { $0.key }),
            ("kind", { $0.kind }), ("name", { $0.name }), ("version", { $0.version }), ("route", { $0.route }),
            ("outcome", { $0.outcome }), ("status", { $0.status.map(String.init) }),
            ("calls", { $0.calls.map(String.init) }), ("ok", { $0.success.map(String.init) }),
            ("refused", { $0.refused.map(String.init) }), ("failed", { $0.failed.map(String.init) }),
            ("left", { $0.cancelled.map(String.init) }), ("run", { seconds($0.run_ns) }),
            ("device", { seconds($0.device_ns) }), ("cpu", { $0.cpu_ns.map(seconds) }),
            ("tokens in", { String($0.tokens_in) }), ("cached", { String($0.tokens_cached) }),
            ("out", { String($0.tokens_out) }), ("request", { $0.request_id }),
        ]
    }

    private static var all: [Column] {
        let words: [(String, KeyPath<Line, String?>)] = [
            ("request_id", \.request_id), ("tenant", \.tenant), ("key", \.key), ("kind", \.kind), ("name", \.name),
            ("version", \.version), ("route", \.route), ("outcome", \.outcome),
        ]
        let some: [(String, KeyPath<Line, Int64?>)] = [
            ("status", \.status), ("calls", \.calls), ("success", \.success), ("refused", \.refused),
            ("failed", \.failed), ("cancelled", \.cancelled), ("cpu_ns", \.cpu_ns),
            ("memory_peak_bytes", \.memory_peak_bytes),
        ]
        let numbers: [(String, KeyPath<Line, Int64>)] = [
            ("queued_ns", \.queued_ns), ("run_ns", \.run_ns), ("device_ns", \.device_ns), ("tokens_in", \.tokens_in),
            ("tokens_cached", \.tokens_cached), ("tokens_out", \.tokens_out), ("bytes_in", \.bytes_in),
            ("bytes_out", \.bytes_out),
        ]
        var columns: [Column] = [("time_ms", { ($0.time_ms ?? $0.start_ms).map(String.init) })]
        for (name, path) in words { columns.append((name, { $0[keyPath: path] })) }
        for (name, path) in some { columns.append((name, { $0[keyPath: path].map(String.init) })) }
        for (name, path) in numbers { columns.append((name, { String($0[keyPath: path]) })) }
        return columns
    }

    private static func csv(_ text: String) -> String {
        guard text.contains(where: { ",\"\n\r".contains($0) }) else { return text }
        return "\"" + text.replacing("\"", with: "\"\"") + "\""
    }

    private static func date(_ milliseconds: Int64) -> String {
        Date(timeIntervalSince1970: Double(milliseconds / 1000)).formatted(.iso8601)
    }

    private static func seconds(_ nanoseconds: Int64) -> String {
        nanoseconds == 0 ? "0" : "\(Double(nanoseconds / 100_000) / 10_000)s"
    }
}
