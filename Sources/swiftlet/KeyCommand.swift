// swiftlet key and swiftlet whoami: API keys made, listed, bounded, rotated and revoked; and what one's own may do.
internal import Core

enum KeyCommand {
    private struct Keys: Decodable {
        struct Row: Decodable {
            let id, role, state: String
            let scopes: [String]?
            let comment: String?
            let created_at_ms: Int64
            let expires_at_ms: Int64?
        }
        let keys: [Row]
    }

    private struct Made: Decodable {
        let id, key: String
        let expires_at_ms: Int64?
    }

    static func run(_ arguments: Arguments) throws -> Int32 {
        let words = arguments.positional
        let client = try Client(arguments)
        let base = try base(arguments)
        switch (words.first, words.count) {
        case ("ls", 1): return try list(client, base, arguments)
        case ("create", 1): return try show(client, client.expect("POST", base, body: try wanted(arguments)), arguments)
        case ("rotate", 2):
            let overlap = try arguments.number("--overlap", in: 0...2_592_000).map { "{\"overlap_s\":\($0)}" } ?? "{}"
            return try show(
                client, client.expect("POST", "\(base)/\(try id(words[1]))/rotate", body: Array(overlap.utf8)),
                arguments)
        case ("set", 2):
            guard let limits = try TenantCommand.json5(arguments, "--limits") else {
                throw UsageError(text: "key set needs --limits FILE; a file with {} takes all limits away")
            }
            let answer = try client.expect(
                "PATCH", "\(base)/\(try id(words[1]))", body: Array(JSONValue.object(["limits": limits]).text.utf8))
            if arguments.has("--json") { Output.bytes(answer.body) } else { Output.line("changed \(words[1])") }
            return 0
        case ("revoke", 2):
            let answer = try client.expect("DELETE", "\(base)/\(try id(words[1]))")
            if arguments.has("--json") { Output.bytes(answer.body) } else { Output.line("revoked \(words[1])") }
            return 0
        default: throw UsageError(text: "use ls, create, set ID, rotate ID or revoke ID")
        }
    }

    static func whoAmI(_ arguments: Arguments) throws -> Int32 {
        Output.bytes(try Client(arguments).expect("GET", "/admin/v1/whoami").body)
        return 0
    }

    private static func base(_ arguments: Arguments) throws -> String {
        guard !arguments.has("--platform") else { return "/admin/v1/keys" }
        let tenant = Client.tenant(arguments)
        try Names.validate(tenant, as: "tenant")
        return "/admin/v1/tenants/\(tenant)/keys"
    }

    private static func id(_ text: String) throws -> String {
        guard Names.isValid(text) else { throw UsageError(text: "\(Names.quoted(text)) is no name of a key") }
        return text
    }

    private static func wanted(_ arguments: Arguments) throws -> [UInt8] {
        let role = arguments.value("--role") ?? (arguments.has("--platform") ? Role.platformAdmin : .invoker).rawValue
        var members: [String: JSONValue] = ["role": .string(role)]
        for (option, member) in [("--scopes", "scopes"), ("--functions", "functions"), ("--models", "models")] {
            guard let list = arguments.value(option) else { continue }
            members[member] = .array(list.split(separator: ",").map { .string(String($0)) })
        }
        if let limits = try TenantCommand.json5(arguments, "--limits") { members["limits"] = limits }
        if let comment = arguments.value("--comment") { members["comment"] = .string(comment) }
        if let seconds = try arguments.number("--expires", in: 1...3_153_600_000) {
            members["expires_in_s"] = .integer(Int64(seconds))
        }
        return Array(JSONValue.object(members).text.utf8)
    }

    private static func show(_ client: Client, _ answer: Answer, _ arguments: Arguments) throws -> Int32 {
        guard !arguments.has("--json") else {
            Output.bytes(answer.body)
            return 0
        }
        let made = try client.decode(Made.self, answer)
        Output.line(made.key)
        let end = made.expires_at_ms.map { ", valid until \(Output.date($0))" } ?? ""
        Output.error("key \(made.id)\(end); it is shown this once")
        return 0
    }

    private static func list(_ client: Client, _ base: String, _ arguments: Arguments) throws -> Int32 {
        let answer = try client.expect("GET", base)
        guard !arguments.has("--json") else {
            Output.bytes(answer.body)
            return 0
        }
        Output.table(
            ["ID", "ROLE", "SCOPES", "STATE", "CREATED", "EXPIRES", "COMMENT"],
            try client.decode(Keys.self, answer).keys.map { key in
                [
                    key.id, key.role, key.scopes?.joined(separator: ",") ?? "all", key.state,
                    Output.date(key.created_at_ms), key.expires_at_ms.map(Output.date) ?? "never", key.comment ?? "",
                ]
            })
        return 0
    }
}
