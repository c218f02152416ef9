// The files of `serve --tls-hosts` and `--tls-operators`, read and checked.
internal import Core
internal import FoundationEssentials
internal import HTTP

enum TLSFiles {
    private static let roles = Role.allCases.filter(\.isPlatform).map(\.rawValue)
    private static let docs = "docs/http.md"

    /// `{ "host.name": { cert, key, tenant? }, "*.name": { … } }`; paths are relative to the file's folder.
    static func hosts(_ file: String) throws -> [TLSHost] {
        let step = "host names file \(file)"
        let folder = file.lastIndex(of: "/").map { String(file[...$0]) } ?? ""
        return try members(file, step).map { name, value in
            guard TLSHost.isName(name) else {
                throw RuntimeError(
                    .badRequest, step: step, cause: "\(Names.quoted(name)) is no host name",
                    next: "write it in lower case, without a port; `*.name` stands for one label")
            }
            guard case .object(let fields) = value else {
                throw RuntimeError(
                    .badRequest, step: step, cause: "\(name) has \(value.kind) for a value",
                    next: "write { cert: \"FILE\", key: \"FILE\", tenant: \"NAME\" }")
            }
            if let unknown = fields.keys.sorted().first(where: { !["cert", "key", "tenant"].contains($0) }) {
                throw RuntimeError(
                    .badRequest, step: step, cause: "\(name).\(Names.quoted(unknown)) is unknown",
                    next: "a name has `cert`, `key` and `tenant`")
            }
            func text(_ field: String) throws -> String? {
                guard let value = fields[field] else { return nil }
                guard case .string(let text) = value, !text.isEmpty else {
                    throw RuntimeError(
                        .badRequest, step: step, cause: "\(name).\(field) is \(value.kind)", next: "write a string")
                }
                return text
            }
            func path(_ field: String) throws -> String {
                guard let path = try text(field) else {
                    throw RuntimeError(
                        .badRequest, step: step, cause: "\(name).\(field) is missing",
                        next: "each name has a `cert` and a `key`: paths of PEM files")
                }
                return path.hasPrefix("/") ? path : folder + path
            }
            let tenant = try text("tenant")
            if let tenant { try Names.validate(tenant, as: "tenant in \(file)") }
            return TLSHost(name: name, certificate: try path("cert"), key: try path("key"), tenant: tenant)
        }
    }

    /// `{ "CN=ada": "platform_admin", "sha256:HEX": …, "san:URI": … }`
    static func operators(_ file: String) throws -> [String: String] {
        let step = "operators file \(file)"
        var operators: [String: String] = [:]
        for (name, value) in try members(file, step) {
            guard case .string(let role) = value, roles.contains(role) else {
                throw RuntimeError(
                    .badRequest, step: step, cause: "\(Names.quoted(name)) has \(value.kind) for a role",
                    next: "roles are \(roles.joined(separator: ", "))")
            }
            operators[try key(name, step)] = role
        }
        return operators
    }

    /// The name as `ClientCertificate.names` writes it.
    private static func key(_ name: String, _ step: String) throws -> String {
        for prefix in ["CN=", "san:"] where name.hasPrefix(prefix) && name.count > prefix.count { return name }
        if name.hasPrefix("sha256:") {
            let digits = name.dropFirst(7).replacing(":", with: "").lowercased()
            if digits.count == 64, digits.allSatisfy(\.isHexDigit) { return "sha256:\(digits)" }
        }
        throw RuntimeError(
            .badRequest, step: step, cause: "\(Names.quoted(name)) names no certificate",
            next: "write \"CN=name\", \"san:uri\" or \"sha256:\" and the 64 digits of the certificate's fingerprint")
    }

    private static func members(_ file: String, _ step: String) throws -> [(String, JSONValue)] {
        guard let data = try? Data(contentsOf: URL(filePath: file)) else {
            throw RuntimeError(
                .badRequest, step: step, cause: "the file can't be read",
                next: "give a file that the user of the host may read")
        }
        guard case .object(let members) = try JSON5.decode(Array(data), step: step) else {
            throw RuntimeError(
                .badRequest, step: step, cause: "it is not an object", next: "see \(docs) for its shape")
        }
        return members.sorted { $0.key < $1.key }
    }
}
