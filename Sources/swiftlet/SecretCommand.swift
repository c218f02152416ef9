// swiftlet secret: sets, lists and removes secrets. A value comes from a file or from stdin, never from the command line.
internal import Core
internal import Glibc
internal import Platform
internal import Vault

enum SecretCommand {
    static let help = """
        usage: swiftlet secret set NAME [--tenant NAME] [--function NAME] [--from-file FILE] [--host URL] [--json]
               swiftlet secret ls [--tenant NAME] [--function NAME] [--host URL] [--json]
               swiftlet secret rm NAME [--tenant NAME] [--function NAME] [--host URL] [--json]

        A secret belongs to a tenant (default `default`), or with --function to one of its functions, whose own secret
        wins over the tenant's of the same name. A function gets those that its manifest names under `secrets`.
        `set` takes the value from --from-file or from stdin, byte for byte: `printf %s "$TOKEN" | swiftlet secret set TOKEN`
        leaves no newline at its end. It may have 64 KiB. No command shows a value.
        """

    private struct Secrets: Decodable {
        struct Row: Decodable {
            let name: String
            let function: String?
            let version: Int
            let created_at_ms, changed_at_ms: Int64
        }
        let secrets: [Row]
    }

    static func run(_ arguments: Arguments) throws -> Int32 {
        let words = arguments.positional
        let tenant = Client.tenant(arguments)
        try Names.validate(tenant, as: "tenant")
        var path = "/admin/v1/tenants/\(tenant)"
        if let function = arguments.value("--function") {
            try Names.validate(function, as: "function")
            path += "/functions/\(function)"
        }
        path += "/secrets"
        switch (words.first, words.count) {
        case ("ls", 1): return try list(arguments, path)
        case ("set", 2), ("rm", 2):
            guard Names.isSecretName(words[1]) else {
                throw UsageError(text: "\(Names.quoted(words[1])) is no name of a secret: use \(Names.secretNameRule)")
            }
            return words[0] == "set"
                ? try set(arguments, "\(path)/\(words[1])", name: words[1])
                : try remove(arguments, "\(path)/\(words[1])", name: words[1])
        case ("set", 3...):
            throw UsageError(
                text: "a value on the command line is seen by everybody: give it on stdin or by --from-file")
        default: throw UsageError(text: "`secret` takes `set NAME`, `ls` or `rm NAME`")
        }
    }

    private static func set(_ arguments: Arguments, _ path: String, name: String) throws -> Int32 {
        var value = try read(arguments.value("--from-file"))
        defer { wipe(&value) }
        let answer = try Client(arguments).expect("PUT", path, body: value)
        if arguments.has("--json") { Output.bytes(answer.body) } else { Output.line("set \(name)") }
        return 0
    }

    private static func read(_ file: String?) throws -> [UInt8] {
        guard file != nil || isatty(0) == 0 else {
            throw UsageError(
                text: "a secret's value comes from stdin or --from-file, not from a terminal that shows it")
        }
        let input = try file.map { try FileDescriptor.open($0, flags: O_RDONLY) } ?? FileDescriptor(owning: dup(0))
        // One byte more than may be, so that the host and not a cut decides.
        var value = [UInt8](repeating: 0, count: Vault.largestSecret + 1)
        var count = 0
        while count < value.count {
            let more = try libc("read") {
                unsafe value.withUnsafeMutableBytes { room in
                    unsafe Glibc.read(input.raw, room.baseAddress?.advanced(by: count), room.count - count)
                }
            }
            guard more > 0 else { break }
            count += more
        }
        value.removeLast(value.count - count)
        return value
    }

    private static func list(_ arguments: Arguments, _ path: String) throws -> Int32 {
        let client = try Client(arguments)
        let answer = try client.expect("GET", path)
        guard !arguments.has("--json") else {
            Output.bytes(answer.body)
            return 0
        }
        Output.table(
            ["NAME", "FUNCTION", "VERSION", "CREATED", "CHANGED"],
            try client.decode(Secrets.self, answer).secrets.map { row in
                [
                    row.name, row.function ?? "-", String(row.version), Output.date(row.created_at_ms),
                    Output.date(row.changed_at_ms),
                ]
            })
        return 0
    }

    private static func remove(_ arguments: Arguments, _ path: String, name: String) throws -> Int32 {
        let answer = try Client(arguments).expect("DELETE", path)
        if arguments.has("--json") { Output.bytes(answer.body) } else { Output.line("removed \(name)") }
        return 0
    }
}
