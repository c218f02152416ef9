// swiftlet tenant: tenants made, listed, changed, suspended and deleted. TenantTransfer.swift exports and imports them.
internal import Core
internal import FoundationEssentials

enum TenantCommand {
    private struct Tenants: Decodable {
        struct Row: Decodable {
            let name, state: String
            let created_at_ms: Int64
        }
        let tenants: [Row]
    }

    static func run(_ arguments: Arguments) throws -> Int32 {
        let words = arguments.positional
        let client = try Client(arguments)
        let answer: Answer
        switch (words.first, words.count) {
        case ("ls", 1): return try list(client, arguments)
        case ("show", 2): answer = try client.expect("GET", "/admin/v1/tenants/\(try name(words[1]))")
        case ("create", 2):
            var body: [String: JSONValue] = ["name": .string(words[1])]
            if let settings = try settings(arguments) { body["settings"] = settings }
            answer = try client.expect("POST", "/admin/v1/tenants", body: Array(JSONValue.object(body).text.utf8))
        case ("set", 2):
            guard let settings = try settings(arguments) else { throw UsageError(text: "--settings FILE is needed") }
            answer = try change(client, words[1], ["settings": settings])
        case ("suspend", 2): answer = try change(client, words[1], ["state": .string("suspended")])
        case ("resume", 2): answer = try change(client, words[1], ["state": .string("active")])
        case ("export", 2): return try TenantTransfer.export(client, try name(words[1]), arguments)
        case ("import", 2): return try TenantTransfer.bring(client, words[1], arguments)
        case ("delete", 2):
            guard arguments.value("--confirm") == words[1] else {
                throw UsageError(text: "deleting \(words[1]) can't be undone: add --confirm \(words[1])")
            }
            answer = try client.expect("DELETE", "/admin/v1/tenants/\(try name(words[1]))")
        default:
            throw UsageError(
                text:
                    "use ls, create, show, set, suspend, resume, export or delete and a tenant's name, or import and a file"
            )
        }
        Output.bytes(answer.body)
        return 0
    }

    private static func list(_ client: Client, _ arguments: Arguments) throws -> Int32 {
        let answer = try client.expect("GET", "/admin/v1/tenants")
        guard !arguments.has("--json") else {
            Output.bytes(answer.body)
            return 0
        }
        Output.table(
            ["NAME", "STATE", "CREATED"],
            try client.decode(Tenants.self, answer).tenants.map { [$0.name, $0.state, Output.date($0.created_at_ms)] })
        return 0
    }

    private static func change(_ client: Client, _ tenant: String, _ members: [String: JSONValue]) throws -> Answer {
        try client.expect(
            "PATCH", "/admin/v1/tenants/\(try name(tenant))", body: Array(JSONValue.object(members).text.utf8))
    }

    static func name(_ text: String) throws -> String {
        try Names.validate(text, as: "tenant")
        return text
    }

    private static func settings(_ arguments: Arguments) throws -> JSONValue? {
        try json5(arguments, "--settings")
    }

    /// What stands in the file that an option names.
    static func json5(_ arguments: Arguments, _ option: String) throws -> JSONValue? {
        guard let file = arguments.value(option) else { return nil }
        guard let data = try? Data(contentsOf: URL(filePath: file)) else {
            throw UsageError(text: "\(option) \(file): the file can't be read")
        }
        return try JSON5.decode(Array(data), step: "read \(file)")
    }
}
