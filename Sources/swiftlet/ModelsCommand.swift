// swiftlet models and swiftlet alias: which versions of models are kept, what they do, and what they are called.
internal import Core

enum ModelsCommand {
    private struct Models: Decodable {
        struct Row: Decodable {
            let name, version, digest, state: String
            let aliases: [String]
            let running, waiting, memory_mb: Int
            let replicas: Replicas
            let incident: Incident?
        }
        struct Replicas: Decodable { let loaded, min, max: Int }
        struct Incident: Decodable {
            let count, next_try_ms: Int
            let cause: String
        }
        struct Memory: Decodable {
            let reserved_bytes: Int
            let budget_bytes: Int?
            let waiting: Int
        }
        let models: [Row]
        let memory: Memory
    }

    private struct Named: Decodable {
        let name, version, digest: String
    }

    static func list(_ arguments: Arguments) throws -> Int32 {
        let client = try Client(arguments)
        let answer = try client.expect("GET", "/admin/v1/models")
        guard !arguments.has("--json") else {
            Output.bytes(answer.body)
            return 0
        }
        let list = try client.decode(Models.self, answer)
        Output.table(
            ["NAME", "VERSION", "DIGEST", "ALIASES", "STATE", "LOADED", "RUNNING", "WAITING", "MEMORY"],
            list.models.map { row in
                [
                    row.name, row.version, String(row.digest.prefix(12)), row.aliases.joined(separator: ","), row.state,
                    "\(row.replicas.loaded)/\(row.replicas.max)", String(row.running), String(row.waiting),
                    "\(row.memory_mb) MiB",
                ]
            })
        for row in list.models {
            guard let incident = row.incident else { continue }
            Output.line(
                "incident: \(row.name) \(row.version): its worker died \(incident.count) times in a row; next try in "
                    + "\(incident.next_try_ms) ms: \(incident.cause)")
        }
        let budget = list.memory.budget_bytes.map { " of \($0 >> 20) MiB" } ?? ""
        let waiting = list.memory.waiting > 0 ? ", \(list.memory.waiting) waiting for memory" : ""
        Output.line("\(list.memory.reserved_bytes >> 20) MiB\(budget) reserved\(waiting)")
        return 0
    }

    static func alias(_ arguments: Arguments) throws -> Int32 {
        let words = arguments.positional
        let removes = arguments.has("--remove")
        guard words.count == (removes ? 2 : 3) else {
            throw UsageError(text: "a model, an alias" + (removes ? "" : " and a version") + " are needed")
        }
        for word in words where !Names.isFileName(word) {
            throw UsageError(text: "\(Names.quoted(word)) is no name of a model, an alias or a version")
        }
        let client = try Client(arguments)
        let path = "/admin/v1/models/\(words[0])/aliases/\(words[1])"
        let answer = try client.expect(removes ? "DELETE" : "PUT", removes ? path : "\(path)?to=\(words[2])")
        guard !arguments.has("--json") else {
            Output.bytes(answer.body)
            return 0
        }
        let named = try client.decode(Named.self, answer)
        Output.line(
            "\(named.name)@\(words[1]) \(removes ? "was" : "is") \(named.version) (\(named.digest.prefix(12)))")
        return 0
    }
}
