// swiftlet trust: whose signatures count, and what happens without one.
internal import Core
internal import FoundationEssentials
internal import Signing

extension UnsignedPolicy {
    /// - Parameter option: whose value it is, for the error.
    init(argument: String, of option: String) throws {
        guard let policy = UnsignedPolicy(rawValue: argument) else {
            throw UsageError(text: "\(option) takes allow, warn or refuse, not \(argument)")
        }
        self = policy
    }
}

enum TrustCommand {
    private struct Lists: Decodable {
        struct Key: Decodable { let key_id, comment, scope: String }
        let unsigned, effective_unsigned: String?
        let keys: [Key]
    }

    private struct KeyBody: Encodable { let public_key, comment: String }
    private struct PolicyBody: Encodable {
        let unsigned: String?

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            // null takes the policy away; a member that is left out would say nothing.
            try container.encode(unsigned, forKey: .unsigned)
        }
        enum CodingKeys: CodingKey { case unsigned }
    }

    static func run(_ arguments: Arguments) throws -> Int32 {
        guard let verb = arguments.positional.first else {
            throw UsageError(text: "trust takes add, ls, rm or unsigned")
        }
        let words = Array(arguments.positional.dropFirst())
        guard arguments.value("--tenant") == nil || !arguments.has("--platform") else {
            throw UsageError(text: "--tenant and --platform exclude each other")
        }
        let scope = arguments.has("--platform") ? "" : "/tenants/\(Client.tenant(arguments))"
        let keys = "/admin/v1\(scope)/trusted-keys"
        let client = try Client(arguments)
        switch (verb, words.count) {
        case ("ls", 0): return try list(try client.expect("GET", keys), client, arguments)
        case ("add", 1):
            let key = try KeyFiles.publicKey(words[0])
            let body = KeyBody(public_key: key.base64, comment: arguments.value("--comment") ?? "")
            let answer = try client.expect("PUT", "\(keys)/\(key.id)", body: [UInt8](try JSONEncoder().encode(body)))
            return say("trusts \(key.id)", answer, arguments)
        case ("rm", 1):
            guard let id = KeyID(hex: words[0]) else {
                throw UsageError(text: "trust rm takes the hex digits of a key that `trust ls` lists")
            }
            return say("trusts \(id) no more", try client.expect("DELETE", "\(keys)/\(id)"), arguments)
        case ("unsigned", 1):
            guard !scope.isEmpty else { throw UsageError(text: "the platform's policy is `serve --unsigned POLICY`") }
            let policy =
                words[0] == "default" ? nil : try UnsignedPolicy(argument: words[0], of: "trust unsigned").rawValue
            let answer = try client.expect(
                "PUT", "/admin/v1\(scope)/unsigned",
                body: [UInt8](try JSONEncoder().encode(PolicyBody(unsigned: policy))))
            let effective = try client.decode(Lists.self, answer).effective_unsigned ?? ""
            return say("unsigned artefacts: \(effective)", answer, arguments)
        default: throw UsageError(text: "trust takes add KEY, ls, rm KEYID or unsigned POLICY")
        }
    }

    private static func list(_ answer: Answer, _ client: Client, _ arguments: Arguments) throws -> Int32 {
        guard !arguments.has("--json") else {
            Output.bytes(answer.body)
            return 0
        }
        let lists = try client.decode(Lists.self, answer)
        Output.table(["KEY", "OF", "COMMENT"], lists.keys.map { [$0.key_id, $0.scope, $0.comment] })
        Output.line("unsigned artefacts: \(lists.effective_unsigned ?? lists.unsigned ?? "allow")")
        return 0
    }

    private static func say(_ words: String, _ answer: Answer, _ arguments: Arguments) -> Int32 {
        if arguments.has("--json") { Output.bytes(answer.body) } else { Output.line(words) }
        return 0
    }
}

enum SbomCommand {
    static func run(_ arguments: Arguments) throws -> Int32 {
        let name = try arguments.only("function or model")
        let tenant = arguments.has("--platform") ? Deployment.platform : Client.tenant(arguments)
        Output.bytes(try Client(arguments).expect("GET", "/admin/v1/functions/\(tenant)/\(name)/sbom").body)
        return 0
    }
}
