// swiftlet deploy: builds when there is something to build, packs the folder, sends it.
internal import Core
internal import FoundationEssentials
internal import Glibc
internal import PluginHost

enum DeployCommand {
    private struct Published: Decodable {
        let tenant, name, kind, version, digest: String
    }

    static func run(_ arguments: Arguments) throws -> Int32 {
        let directory = try arguments.only("folder")
        let manifest = try BuildCommand.readManifest(directory)
        let scratch = try makeScratch()
        defer { try? FileManager.default.removeItem(atPath: scratch) }
        var files = [("swiftlet.json5", "\(directory)/swiftlet.json5")]
        if manifest.language != nil {
            files.append(
                ("plugin.so", try BuildCommand.build(manifest, directory: directory, output: "\(scratch)/plugin.so")))
        } else {
            files += try otherFiles(directory)
        }
        let archive = "\(scratch)/artefact.tar"
        try TarWriter.write(files.map { (name: $0.0, path: $0.1) }, to: archive)
        let tenant = manifest.kind == .backend ? Deployment.platform : Client.tenant(arguments)
        let client = try Client(arguments)
        let name = arguments.value("--name").map { "/\($0)" } ?? ""
        let answer = try client.expect("POST", "/admin/v1/deployments/\(tenant)\(name)", upload: archive)
        let published = try client.decode(Published.self, answer)
        if arguments.has("--json") {
            Output.bytes(answer.body)
        } else {
            Output.line(
                "deployed \(published.kind) \(published.tenant)/\(published.name) \(published.version) (\(published.digest.prefix(12)))"
            )
        }
        return 0
    }

    private static func otherFiles(_ directory: String) throws -> [(String, String)] {
        try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
            .filter { $0 != "swiftlet.json5" && $0 != "README.md" && !$0.hasPrefix(".") }
            .map { ($0, "\(directory)/\($0)") }
    }

    private static func makeScratch() throws -> String {
        var template = Array("/tmp/swiftlet-deploy-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else {
            throw RuntimeError(
                .insufficientStorage, step: "make a folder in /tmp", cause: String(errno), next: "free space there")
        }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
