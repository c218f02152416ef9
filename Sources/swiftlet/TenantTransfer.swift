// swiftlet tenant export and import: a tenant to a file, and from a file to another host.
internal import Core
internal import Glibc
internal import Platform
internal import PluginHost

enum TenantTransfer {
    // MARK: export

    static func export(_ client: Client, _ tenant: String, _ arguments: Arguments) throws -> Int32 {
        let file = arguments.value("-o") ?? "\(tenant)-export.tar"
        if !arguments.has("--force"), unsafe access(file, F_OK) == 0 {
            throw RuntimeError(
                .conflict, step: "write \(file)", cause: "there is such a file",
                next: "choose another name with -o, or replace it with --force")
        }
        let part = "\(file).part-\(getpid())"
        defer { _ = unsafe unlink(part) }
        let target = try Target(part)
        let answer = try client.download("/admin/v1/tenants/\(tenant)/export") { target.take($0) }
        try target.finish()
        guard answer.status == 200, let sum = ArtefactCheck.sha256(of: part) else {
            throw RuntimeError(
                .internalError, step: "export the tenant \(tenant)",
                cause: "the answer has the status \(answer.status)",
                next: "see the host's log")
        }
        try place(part, file, replaces: arguments.has("--force"))
        let members: [String: JSONValue] = [
            "tenant": .string(tenant), "file": .string(file), "bytes": .integer(Int64(target.bytes)),
            "sha256": .string(sum),
        ]
        Output.line(
            arguments.has("--json")
                ? JSONValue.object(members).text
                : "\(file) holds the tenant \(tenant): \(target.bytes) bytes, SHA-256 \(sum)")
        return 0
    }

    /// Gives the complete file its name.
    private static func place(_ part: String, _ file: String, replaces: Bool) throws(RuntimeError) {
        // A link fails where a file is; a rename would replace one that came meanwhile.
        let done = replaces ? unsafe rename(part, file) : unsafe link(part, file)
        guard done != 0 else { return }
        throw RuntimeError(
            .insufficientStorage, step: "write \(file)", cause: SystemError.text(of: errno),
            next: "check the folder, or choose another name with -o")
    }

    /// Where the bytes go, and who watches is told how many came.
    private final class Target {
        private let file: FileDescriptor
        private let path: String
        private let progress = ProgressLine()
        private var failure: SystemError?
        private(set) var bytes = 0

        init(_ path: String) throws {
            self.path = path
            do {
                file = try FileDescriptor.open(path, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
            } catch {
                throw Target.fault(path, "\(error)")
            }
        }

        func take(_ more: [UInt8]) {
            attempt { () throws(SystemError) in try file.write(more, path) }
            bytes += more.count
            progress.tell(of: UInt64(bytes), "\(bytes >> 20) MiB received")
        }

        func finish() throws(RuntimeError) {
            progress.clear()
            attempt { () throws(SystemError) in try file.sync(path) }
            if let failure { throw Self.fault(path, SystemError.text(of: failure.code)) }
        }

        /// Nothing more after the first failure, which is told at the end.
        private func attempt(_ act: () throws(SystemError) -> Void) {
            guard failure == nil else { return }
            do throws(SystemError) { try act() } catch { failure = error }
        }

        private static func fault(_ path: String, _ cause: String) -> RuntimeError {
            RuntimeError(
                .insufficientStorage, step: "write \(path)", cause: cause,
                next: "choose a folder with room that you may write to, with -o")
        }
    }

    // MARK: import

    private struct Imported: Decodable {
        struct Function: Decodable { let name: String }
        struct Secret: Decodable { let name: String, function: String? }
        let name, state: String
        let functions: [Function]
        let keys, trusted_keys: Int
        let keys_left_out, warnings: [String]
        let secrets_to_set: [Secret]
    }

    static func bring(_ client: Client, _ file: String, _ arguments: Arguments) throws -> Int32 {
        guard Bundle.isFile(file) else { throw UsageError(text: "\(file) is no file") }
        let name = try arguments.value("--as").map(TenantCommand.name)
        let query = name.map { "?as=\($0)" } ?? ""
        let answer = try client.expect("POST", "/admin/v1/tenants/import\(query)", upload: file)
        guard !arguments.has("--json") else {
            Output.bytes(answer.body)
            return 0
        }
        let imported = try client.decode(Imported.self, answer)
        for warning in imported.warnings { Output.error("swiftlet: warning: \(warning)") }
        Output.line(
            "imported the tenant \(imported.name) (\(imported.state)): \(imported.functions.count) functions, "
                + "\(imported.keys) keys, \(imported.trusted_keys) trusted keys")
        if !imported.keys_left_out.isEmpty {
            Output.line(
                "keys that this host has already, left out: \(imported.keys_left_out.joined(separator: ", "))")
        }
        for secret in imported.secrets_to_set {
            let function = secret.function.map { " --function \($0)" } ?? ""
            Output.line("to be set again: swiftlet secret set \(secret.name) --tenant \(imported.name)\(function)")
        }
        return 0
    }
}
