// swiftlet ls, ps and routes: what is deployed, what runs, and what can be asked.
internal import Core
internal import Gateway

enum ListCommand {
    private struct Functions: Decodable {
        struct Row: Decodable { let tenant, name, kind, version, digest: String }
        let functions: [Row]
    }

    private struct Workers: Decodable {
        struct Row: Decodable {
            let tenant, name, kind: String
            let pid: Int
            let memory_bytes, age_ms: Int
        }
        let workers: [Row]
        let adopted_zygotes: Int
    }

    static func functions(_ arguments: Arguments) throws -> Int32 {
        let client = try Client(arguments)
        let answer = try client.expect("GET", "/admin/v1/functions")
        guard !arguments.has("--json") else { return raw(answer) }
        let rows = try client.decode(Functions.self, answer).functions
        Output.table(
            ["TENANT", "NAME", "KIND", "VERSION", "DIGEST"],
            rows.map { [$0.tenant, $0.name, $0.kind, $0.version, String($0.digest.prefix(12))] })
        return 0
    }

    static func workers(_ arguments: Arguments) throws -> Int32 {
        let client = try Client(arguments)
        let answer = try client.expect("GET", "/admin/v1/workers")
        guard !arguments.has("--json") else { return raw(answer) }
        let list = try client.decode(Workers.self, answer)
        Output.table(
            ["TENANT", "NAME", "KIND", "PID", "MEMORY", "AGE"],
            list.workers.map { row in
                [
                    row.tenant, row.name, row.kind, String(row.pid), "\(row.memory_bytes / 1024) KiB",
                    "\(Double(row.age_ms / 100) / 10) s",
                ]
            })
        Output.line("\(list.workers.count) workers, \(list.adopted_zygotes) tenants awake")
        return 0
    }

    /// Those of this program; no host is asked.
    static func routes(_ arguments: Arguments) throws -> Int32 {
        let rows = RouteList.rows
        guard arguments.has("--json") else {
            Output.table(
                ["METHOD", "PATH", "NEEDS", "NAME"], rows.map { [$0.method ?? "any", $0.path, $0.needs, $0.name] })
            return 0
        }
        let values = rows.map { row in
            JSONValue.object([
                "name": .string(row.name), "method": row.method.map(JSONValue.string) ?? .null,
                "path": .string(row.path), "needs": .string(row.needs),
            ])
        }
        Output.line(JSONValue.object(["routes": .array(values)]).text)
        return 0
    }

    private static func raw(_ answer: Answer) -> Int32 {
        Output.bytes(answer.body)
        return 0
    }
}
