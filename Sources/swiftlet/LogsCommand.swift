// swiftlet logs: what a function wrote, and with -f what it goes on writing.
internal import Glibc

enum LogsCommand {
    private struct Lines: Decodable {
        struct Row: Decodable {
            let sequence: UInt64
            let level: Int
            let request_id, text: String
        }
        let lines: [Row]
    }

    static func run(_ arguments: Arguments) throws -> Int32 {
        let name = try arguments.only("function")
        let client = try Client(arguments)
        var after: UInt64 = 0
        repeat {
            let answer = try client.expect(
                "GET", "/admin/v1/logs/\(Client.tenant(arguments))/\(name)?after=\(after)")
            let lines = try client.decode(Lines.self, answer).lines
            if arguments.has("--json") {
                if !lines.isEmpty || !arguments.has("-f") { Output.bytes(answer.body) }
            } else {
                for line in lines { Output.line("\(levelName(line.level)) \(line.request_id) \(line.text)") }
            }
            after = lines.last?.sequence ?? after
            if arguments.has("-f") { usleep(300_000) }
        } while arguments.has("-f")
        return 0
    }

    private static func levelName(_ level: Int) -> String {
        ["debug", "info ", "warn ", "error"].indices.contains(level)
            ? ["debug", "info ", "warn ", "error"][level] : "level\(level)"
    }
}
