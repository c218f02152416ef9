// swiftlet rm: a function or model is served no more.

enum RemoveCommand {
    static func run(_ arguments: Arguments) throws -> Int32 {
        let name = try arguments.only("function")
        let tenant = Client.tenant(arguments)
        let answer = try Client(arguments).expect("DELETE", "/admin/v1/functions/\(tenant)/\(name)")
        if arguments.has("--json") { Output.bytes(answer.body) } else { Output.line("removed \(tenant)/\(name)") }
        return 0
    }
}
