// From the bytes of swiftlet-export.json to a TenantExport: everything is checked, nothing is believed.
package import Core
internal import PluginHost
internal import Signing

extension TenantExport {
    private static let step = "read \(file)"
    private static let docs = "docs/tenants.md"
    /// To the end of the year 9999.
    private static let times: ClosedRange<Int64> = 0...253_402_300_799_999

    /// - Parameter name: what the tenant is to be called here; nil: as it was.
    package init(_ bytes: [UInt8], as name: String? = nil) throws(RuntimeError) {
        let value = try JSON5.decode(bytes, step: Self.step, most: Self.largest)
        try Self.checkFormat(value)
        let reader = try Self.members(
            value,
            ["format", "exported_at_ms", "tenant", "unsigned", "trusted_keys", "functions", "keys", "secrets"])
        let tenant = try Self.tenant(reader, as: name)
        self.init(
            exportedAt: try Self.time(reader, "exported_at_ms"), tenant: tenant,
            unsigned: try reader.choice("unsigned", UnsignedPolicy.self),
            trustedKeys: try Self.rows(reader, "trusted_keys", atMost: TrustStore.mostKeys, Self.trustedKey),
            functions: try Self.rows(reader, "functions", atMost: Self.mostFunctions, Self.function),
            keys: try Self.rows(reader, "keys", atMost: Self.mostKeys) { (row) throws(RuntimeError) in
                try Self.key(row, of: tenant.name)
            },
            secrets: try Self.rows(reader, "secrets", atMost: Self.mostSecrets, Self.secret))
        try checkWhole(reader)
    }

    /// Before anything else: another format may have other members.
    private static func checkFormat(_ value: JSONValue) throws(RuntimeError) {
        guard case .object(let members) = value, let found = members["format"] else {
            throw refusal("it has no \"format\"", "send a file that `swiftlet tenant export` made")
        }
        guard found == .integer(format) else {
            throw refusal(
                "its format is \(found.kind), and this host reads \(format)", "import it on a host of its version")
        }
    }

    private static func tenant(_ outer: ManifestReader, as name: String?) throws(RuntimeError) -> Tenant {
        let reader = try members(
            outer.members["tenant"] ?? .null, ["name", "state", "created_at_ms", "settings"], prefix: "tenant.")
        let own = try reader.requiredString("name", Names.rule, where: Names.isValid)
        let state = try reader.requiredString("state", "\"active\" or \"suspended\"") {
            [Tenant.State.active, .suspended].map(\.rawValue).contains($0)
        }
        try Tenant.validate(name ?? own)
        return Tenant(
            name: name ?? own, state: Tenant.State(rawValue: state) ?? .suspended,
            createdAt: try time(reader, "created_at_ms"),
            settings: try TenantSettings(
                reader.members["settings"] ?? .object([:]), name: "tenant.settings", step: step))
    }

    private static func function(_ row: JSONValue) throws(RuntimeError) -> Function {
        let reader = try members(
            row, ["name", "version", "digest", "bytes", "sbom", "signed_by"], prefix: "functions.")
        let largest = Int64(PluginAdmission.largestArchive(of: Tenant.defaultName))
        guard let bytes = try reader.integer("bytes", in: 1...largest) else {
            throw reader.failure("bytes", expected: "the size of its archive", found: nil)
        }
        return Function(
            name: try reader.requiredString("name", Names.rule, where: Names.isValid),
            version: try reader.requiredString("version", "at most 256 bytes of text") { $0.utf8.count <= 256 },
            digest: try reader.requiredString("digest", "64 hex digits in lower case", where: isDigest),
            bytes: UInt64(bytes),
            signer: try reader.string("signed_by", "the 16 hex digits of a key") {
                KeyID(hex: $0).map { "\($0)" } == $0
            }, hasBill: try reader.bool("sbom") ?? false)
    }

    private static func isDigest(_ text: String) -> Bool {
        text.utf8.count == 64
            && text.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
    }

    private static func trustedKey(_ row: JSONValue) throws(RuntimeError) -> TrustedKey {
        let reader = try members(row, ["public_key", "comment", "added_at_ms"], prefix: "trusted_keys.")
        let text = try reader.requiredString("public_key", "the second line of a minisign public key file") {
            $0.utf8.count < 256
        }
        let comment = try reader.string("comment") { _ in true } ?? ""
        let addedAt = try time(reader, "added_at_ms")
        do throws(SigningFault) {
            return try TrustedKey(PublicKey(Array(text.utf8)), comment: comment, addedAt: addedAt)
        } catch {
            throw refusal("a trusted key: \(error.text)", "send a file that `swiftlet tenant export` made")
        }
    }

    private static func key(_ row: JSONValue, of tenant: String) throws(RuntimeError) -> KeyRecord {
        let reader = try members(row, ["sha256", "grant", "created_at_ms", "expires_at_ms"], prefix: "keys.")
        let text = try reader.requiredString("sha256", "64 hex digits in lower case") { KeyHash(hex: $0) != nil }
        guard let hash = KeyHash(hex: text) else {
            throw reader.failure("sha256", expected: "64 hex digits in lower case", found: .string(text))
        }
        // A grant of the platform's roles is refused here, since the key is a tenant's.
        var key = try KeyRecord(
            reader.members["grant"] ?? .null, hash: hash, tenant: tenant, now: try time(reader, "created_at_ms"),
            step: "\(step): the key \(text.prefix(16))")
        key.expiresAt = try reader.integer("expires_at_ms", in: 1...times.upperBound)
        return key
    }

    private static func secret(_ row: JSONValue) throws(RuntimeError) -> Secret {
        let reader = try members(row, ["name", "function"], prefix: "secrets.")
        return Secret(
            function: try reader.string("function", Names.rule, where: Names.isValid),
            name: try reader.requiredString("name", Names.secretNameRule, where: Names.isSecretName))
    }

    /// What no row says by itself.
    private func checkWhole(_ reader: ManifestReader) throws(RuntimeError) {
        func unique(_ names: [String], _ what: String) throws(RuntimeError) {
            guard Set(names).count == names.count else {
                throw Self.refusal("it names a \(what) twice", "send a file that `swiftlet tenant export` made")
            }
        }
        try unique(functions.map(\.name), "function")
        try unique(keys.map(\.hash.hex), "key")
        try unique(trustedKeys.map { "\($0.key.id)" }, "trusted key")
        try unique(secrets.map { "\($0.function ?? "")/\($0.name)" }, "secret")
        let total = functions.reduce(0) { $0 + $1.bytes }
        guard total <= Self.largestArchive else {
            throw RuntimeError(
                .payloadTooLarge, step: Self.step,
                cause: "its functions have \(total) bytes, and \(Self.largestArchive) is the most",
                next: "remove functions before the export, and deploy them anew")
        }
    }

    // MARK: what the parts share

    private static func members(_ value: JSONValue, _ known: [String], prefix: String = "") throws(RuntimeError)
        -> ManifestReader
    {
        try ManifestReader(value, prefix: prefix, known: known, step: step, docs: docs)
    }

    private static func time(_ reader: ManifestReader, _ key: String) throws(RuntimeError) -> Int64 {
        guard let time = try reader.integer(key, in: times) else {
            throw reader.failure(key, expected: "milliseconds since 1970", found: nil)
        }
        return time
    }

    private static func rows<Row>(
        _ reader: ManifestReader, _ key: String, atMost most: Int, _ read: (JSONValue) throws(RuntimeError) -> Row
    ) throws(RuntimeError) -> [Row] {
        guard case .array(let values)? = reader.members[key], values.count <= most else {
            throw reader.failure(key, expected: "a list of at most \(most)", found: reader.members[key])
        }
        var rows: [Row] = []
        for value in values { rows.append(try read(value)) }
        return rows
    }

    private static func refusal(_ cause: String, _ next: String) -> RuntimeError {
        RuntimeError(.manifestInvalid, step: step, cause: cause, next: next)
    }
}
