// swiftlet audit: lists, checks and anchors the audit log; of a running host, or of a state directory.
internal import Audit
internal import Core
internal import FoundationEssentials
internal import Platform

enum AuditCommand {
    static func run(_ arguments: Arguments) throws -> Int32 {
        guard arguments.positional.count <= 1 else { throw UsageError(text: "audit takes one word at most") }
        switch arguments.positional.first ?? "list" {
        case "list": return try list(arguments)
        case "verify": return try verify(arguments)
        case "head": return try head(arguments)
        case "reset": return try reset(arguments)
        case let other: throw UsageError(text: "audit knows list, verify, head and reset, not \(Names.quoted(other))")
        }
    }

    private struct Page: Decodable {
        struct Entry: Decodable {
            let number: UInt64
            let time_ms: Int64
            let act, target, actor, tenant, peer, detail: String
            let status, count: Int
        }
        let entries: [Entry]
        let next: UInt64?
    }

    private static func list(_ arguments: Arguments) throws -> Int32 {
        let client = try Client(arguments)
        let wanted = try arguments.number("--limit", in: 1...1_000_000) ?? 100
        var fields: [String] = []
        if let act = arguments.value("--act") { fields.append("act=\(act)") }
        if let since = arguments.value("--since") { fields.append("since=\(try moment(since))") }
        let path = arguments.value("--tenant").map { "/admin/v1/tenants/\($0)/audit" } ?? "/admin/v1/audit"
        var rows: [[String]] = []
        var (before, left) = (UInt64?.none, wanted)
        repeat {
            var query = fields + ["limit=\(min(left, AuditQuery.largestPage))"]
            if let before { query.append("before=\(before)") }
            let answer = try client.expect("GET", path + "?" + query.joined(separator: "&"))
            let page = try client.decode(Page.self, answer)
            if arguments.has("--json") { Output.bytes(answer.body) }
            rows += page.entries.map { entry in
                [
                    "\(entry.number)", Output.date(entry.time_ms), entry.act, entry.target, "\(entry.status)",
                    "\(entry.count)",
                    entry.actor, entry.tenant, entry.peer, entry.detail,
                ]
            }
            left -= page.entries.count
            before = page.next
        } while before != nil && left > 0
        guard !arguments.has("--json") else { return 0 }
        Output.table(
            ["ENTRY", "TIME", "ACT", "TARGET", "STATUS", "COUNT", "ACTOR", "TENANT", "PEER", "DETAIL"], rows)
        return 0
    }

    /// Unix milliseconds of `2026-01-31T12:00:00Z`, or of so many hours ago: `12h`, `7d`.
    private static func moment(_ text: String) throws -> Int64 {
        let now = WallClock.milliseconds
        if let hours = Int64(text.dropLast()), hours >= 0, hours < 1_000_000 {
            if text.hasSuffix("h") { return max(0, now - hours * 3_600_000) }
            if text.hasSuffix("d") { return max(0, now - hours * 86_400_000) }
        }
        guard let date = try? Date(text, strategy: .iso8601) else {
            throw UsageError(
                text: "--since takes 12h, 7d or a time such as 2026-01-31T12:00:00Z, not \(Names.quoted(text))")
        }
        return Int64(date.timeIntervalSince1970 * 1000)
    }

    private static func expected(_ arguments: Arguments) throws -> AuditPoint? {
        guard let text = arguments.value("--expect") else { return nil }
        guard let point = AuditPoint(text) else {
            throw UsageError(text: "--expect takes COUNT:HASH, as `swiftlet audit head` prints it")
        }
        return point
    }

    private static func verify(_ arguments: Arguments) throws -> Int32 {
        let expected = try expected(arguments)
        guard let state = arguments.value("--state") else { return try verifyHost(arguments, expected) }
        do {
            let report = try AuditVerification.run(state: state, expected: expected)
            return show(arguments, start: "\(report.start)", head: "\(report.end)", report.unfinishedBytes)
        } catch let damage as AuditDamage {
            return show(arguments, damage.kind.rawValue, damage.number, damage.detail)
        }
    }

    private struct Verdict: Decodable {
        let verified: Bool
        let start, head, damage, detail: String?
        let unfinished_bytes: Int?
        let entry: UInt64?
    }

    private static func verifyHost(_ arguments: Arguments, _ expected: AuditPoint?) throws -> Int32 {
        let client = try Client(arguments)
        let query = expected.map { "?expect=\($0)" } ?? ""
        let verdict = try client.decode(Verdict.self, try client.expect("GET", "/admin/v1/audit/verify" + query))
        guard verdict.verified else {
            return show(arguments, verdict.damage ?? "", verdict.entry, verdict.detail ?? "")
        }
        return show(arguments, start: verdict.start ?? "", head: verdict.head ?? "", verdict.unfinished_bytes ?? 0)
    }

    private static func show(_ arguments: Arguments, start: String, head: String, _ unfinished: Int) -> Int32 {
        if arguments.has("--json") {
            Output.line(
                "{\"verified\":true,\"start\":\"\(start)\",\"head\":\"\(head)\",\"unfinished_bytes\":\(unfinished)}")
            return 0
        }
        Output.line("the audit log is whole: it ends at \(head)")
        if !start.hasPrefix("0:") { Output.line("it begins behind what was archived: \(start)") }
        if unfinished > 0 {
            Output.line("\(unfinished) bytes are of a commit that was interrupted; the next start drops them")
        }
        return 0
    }

    private static func show(_ arguments: Arguments, _ damage: String, _ entry: UInt64?, _ detail: String) -> Int32 {
        let number = entry.map { "\($0)" } ?? "null"
        if arguments.has("--json") {
            Output.line(
                "{\"verified\":false,\"damage\":\"\(damage)\",\"entry\":\(number),\"detail\":\(JSONValue.string(detail).text)}"
            )
        } else {
            Output.error(
                "swiftlet: the audit log is NOT whole: \(damage)\(entry.map { " at entry \($0)" } ?? ""): \(detail)")
        }
        return 1
    }

    private static func head(_ arguments: Arguments) throws -> Int32 {
        if let state = arguments.value("--state") {
            do {
                Output.line("\(try AuditVerification.head(state: state))")
                return 0
            } catch let damage as AuditDamage {
                return show(arguments, damage.kind.rawValue, damage.number, damage.detail)
            }
        }
        struct Head: Decodable { let head: String }
        let client = try Client(arguments)
        Output.line(try client.decode(Head.self, try client.expect("GET", "/admin/v1/audit/head")).head)
        return 0
    }

    private static func reset(_ arguments: Arguments) throws -> Int32 {
        guard let state = arguments.value("--state") else { throw UsageError(text: "audit reset needs --state DIR") }
        let (old, reason) = try holdingState(state) {
            var reason = "it was whole"
            do {
                _ = try AuditVerification.run(state: state)
            } catch let damage as AuditDamage {
                reason = "\(damage)"
            }
            return (try AuditTransfer.reset(state: state, reason: reason), reason)
        }
        Output.line("a new audit log begins; the old one is in \(old) (\(reason))")
        return 0
    }
}
