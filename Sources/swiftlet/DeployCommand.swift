// swiftlet deploy: builds when there is something to build, signs when there is a key, packs, sends.
internal import Core
internal import PluginHost

enum DeployCommand {
    private struct Published: Decodable {
        let tenant, name, kind, version, digest: String
        let signed_by: String?
        let warnings: [String]?
    }

    static func run(_ arguments: Arguments) throws -> Int32 {
        var bundle = try Bundle(try arguments.only("folder or archive"))
        defer { bundle.remove() }
        if let key = arguments.value("-s") {
            _ = try bundle.sign(by: KeyFiles.secret(key), comment: arguments.value("-t"))
        }
        let archive = try bundle.archive()
        let tenant = bundle.manifest.kind == .backend ? Deployment.platform : Client.tenant(arguments)
        let client = try Client(arguments)
        let name = arguments.value("--name").map { "/\($0)" } ?? ""
        let answer = try client.expect("POST", "/admin/v1/deployments/\(tenant)\(name)", upload: archive)
        let published = try client.decode(Published.self, answer)
        for warning in published.warnings ?? [] { Output.error("swiftlet: warning: \(warning)") }
        if arguments.has("--json") {
            Output.bytes(answer.body)
        } else {
            let signer = published.signed_by.map { ", signed by \($0)" } ?? ""
            Output.line(
                "deployed \(published.kind) \(published.tenant)/\(published.name) \(published.version) (\(published.digest.prefix(12)))\(signer)"
            )
        }
        return 0
    }
}
