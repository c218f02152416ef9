// swiftlet backup and swiftlet restore: a state directory in one file, and back.
internal import Backup
internal import Core

enum BackupCommand {
    static func backup(_ arguments: Arguments) throws -> Int32 {
        let file = try arguments.only("FILE.tar")
        let summary = try Backup.make(of: arguments.value("--state") ?? "state", to: file, version: Help.version)
        show(arguments, summary, "\(file) holds")
        return 0
    }

    static func restore(_ arguments: Arguments) throws -> Int32 {
        let file = try arguments.only("FILE.tar")
        guard let given = arguments.value("--state") else { throw UsageError(text: "restore needs --state DIR") }
        var state = given
        while state.count > 1, state.hasSuffix("/") { state.removeLast() }
        show(arguments, try Restore.run(file, to: state), "\(state) holds")
        return 0
    }

    private static func show(_ arguments: Arguments, _ summary: BackupSummary, _ what: String) {
        if arguments.has("--json") {
            let names = JSONValue.array(summary.leftOut.map { .string($0) }).text
            let head = summary.audit.map { "\"\($0)\"" } ?? "null"
            return Output.line(
                "{\"files\":\(summary.files),\"bytes\":\(summary.bytes),\"audit_head\":\(head),\"left_out\":\(names)}")
        }
        Output.line("\(what) \(summary.files) files, \(summary.bytes) bytes")
        if let head = summary.audit { Output.line("audit log up to \(head)") }
        if !summary.leftOut.isEmpty {
            Output.line("NOT in it, keep them elsewhere if you need them: \(summary.leftOut.joined(separator: ", "))")
        }
    }
}
