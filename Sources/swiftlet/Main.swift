// The command line: finds the command and turns its errors into words and exit codes.
internal import Core
internal import Glibc

@main
enum Main {
    static func main() {
        // Before anything can start a child.
        MasterKeys.takeEnvironment()
        var words = Array(CommandLine.arguments.dropFirst())
        guard let name = words.first, name != "--help", name != "-h", name != "help" else {
            Output.line(Help.overview)
            exit(words.isEmpty ? 2 : 0)
        }
        if name == "--version" {
            Output.line("swiftlet \(Help.version)")
            exit(0)
        }
        words.removeFirst()
        guard let command = Help.commands.first(where: { $0.name == name }) else {
            fail("no such command: \(name); see `swiftlet --help`", code: 2)
        }
        if words.contains("--help") || words.contains("-h") {
            Output.line(command.help)
            exit(0)
        }
        do {
            // Whoever talks to a host may have to know it again.
            let pinned = command.options.contains("--host") ? ["--fingerprint"] : []
            let arguments = try Arguments(words, options: command.options + pinned, flags: command.flags)
            exit(try command.run(arguments))
        } catch let error as UsageError {
            fail("\(error.text); see `swiftlet \(name) --help`", code: 2)
        } catch {
            fail("\(error)", code: 1)
        }
    }

    private static func fail(_ text: String, code: Int32) -> Never {
        Output.error("swiftlet: \(text)")
        exit(code)
    }
}
