// swiftlet invoke: one call of a function; the answer goes to stdout as it comes.

enum InvokeCommand {
    static func run(_ arguments: Arguments) throws -> Int32 {
        guard (1...2).contains(arguments.positional.count) else {
            throw UsageError(text: "name a function and at most one path")
        }
        let below = arguments.positional.count > 1 ? arguments.positional[1] : "/"
        guard below.hasPrefix("/") else { throw UsageError(text: "the path begins with /") }
        let body = arguments.value("--data").map { Array($0.utf8) }
        let method = arguments.value("--method") ?? (body == nil ? "GET" : "POST")
        let tenant = Client.tenant(arguments)
        let answer = try Client(arguments).send(
            method, "/fn/\(tenant)/\(arguments.positional[0])\(below)", body: body, stream: true)
        if arguments.has("--timing"), let timing = answer.header("server-timing") {
            Output.error("server-timing: \(timing)")
        }
        if answer.status >= 400 { Output.error("swiftlet: status \(answer.status)") }
        return answer.status >= 400 ? 1 : 0
    }
}
