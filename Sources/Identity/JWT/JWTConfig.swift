// The file of `serve --jwt`: JSON5 to policies of issuers; docs/jwt.md has its keys.
package import Core

package struct JWTConfig: Equatable, Sendable {
    static let docs = "docs/jwt.md"
    private static let mostIssuers = 32

    package let issuers: [IssuerPolicy]

    /// - Parameter file: its path, for errors; files that it names are beside it.
    package init(json5: [UInt8], file: String) throws(RuntimeError) {
        let step = "jwt file \(file)"
        let value = try JSON5.decode(json5, step: step)
        let reader = try ManifestReader(value, prefix: "", known: ["issuers"], step: step, docs: Self.docs)
        guard case .array(let items) = reader.members["issuers"], (1...Self.mostIssuers).contains(items.count) else {
            throw reader.failure(
                "issuers", expected: "a list of 1 to \(Self.mostIssuers) issuers", found: reader.members["issuers"])
        }
        let folder = file.lastIndex(of: "/").map { String(file[...$0]) } ?? ""
        var issuers: [IssuerPolicy] = []
        for (index, item) in items.enumerated() {
            let policy = try IssuerPolicy(item, index: index, step: step, folder: folder)
            guard !issuers.contains(where: { $0.issuer.isExactly(policy.issuer) }) else {
                throw RuntimeError(
                    .manifestInvalid, step: step, cause: "the issuer \(Names.quoted(policy.issuer)) is given twice",
                    next: "give each issuer once, with all its audiences")
            }
            issuers.append(policy)
        }
        self.issuers = issuers
    }
}

extension IssuerPolicy {
    private static let known = [
        "issuer", "audience", "algorithms", "jwks_file", "jwks_url", "ca_file", "keep_keys_s", "clock_skew_s",
        "max_lifetime_s", "tenant", "role", "functions", "models", "platform",
    ]

    fileprivate init(_ value: JSONValue, index: Int, step: String, folder: String) throws(RuntimeError) {
        let reader = try ManifestReader(
            value, prefix: "issuers[\(index)].", known: Self.known, step: step, docs: JWTConfig.docs)
        issuer = try reader.requiredString("issuer", "the exact text of the claim iss, at most 1024 bytes") {
            (1...1024).contains($0.utf8.count) && $0.isPrintable
        }
        audiences = try Self.audiences(reader)
        algorithms = try Self.algorithms(reader)
        source = try Self.source(reader, folder: folder)
        keepsKeys = UInt64(try reader.milliseconds("keep_keys_s", upTo: 86_400) ?? 3_600_000)
        skew = Int64(try reader.milliseconds("clock_skew_s", upTo: 600) ?? 60_000)
        longestLife = try reader.milliseconds("max_lifetime_s", upTo: 31_536_000).map { Int64($0) }
        isPlatform = try reader.bool("platform") ?? false
        tenant = try ClaimRule(tenant: reader)
        role = try ClaimRule(role: reader, isPlatform: isPlatform, hasTenant: tenant != nil)
        functions = try PatternRule("functions", reader)
        models = try PatternRule("models", reader)
    }

    private static func audiences(_ reader: ManifestReader) throws(RuntimeError) -> [String] {
        let expected = "a string, or a list of 1 to 16 strings, of at most 1024 bytes each"
        let isValid = { (text: String) in (1...1024).contains(text.utf8.count) && text.isPrintable }
        if case .string(let one) = reader.members["audience"], isValid(one) { return [one] }
        guard case .array = reader.members["audience"],
            let several = try reader.strings("audience", atMost: 16, "a string of at most 1024 bytes", where: isValid),
            !several.isEmpty
        else { throw reader.failure("audience", expected: expected, found: reader.members["audience"]) }
        return several
    }

    private static func algorithms(_ reader: ManifestReader) throws(RuntimeError) -> Set<JWTAlgorithm> {
        let names = try reader.strings("algorithms", atMost: 3, "RS256, ES256 or EdDSA") {
            JWTAlgorithm(rawValue: $0) != nil
        }
        guard let names else { return Set(JWTAlgorithm.allCases) }
        guard !names.isEmpty else {
            throw reader.failure("algorithms", expected: "one of RS256, ES256 and EdDSA at least", found: .array([]))
        }
        return Set(names.compactMap(JWTAlgorithm.init))
    }

    private static func source(_ reader: ManifestReader, folder: String) throws(RuntimeError) -> KeySource {
        let isPath = { (text: String) in (1...4096).contains(text.utf8.count) }
        let file = try reader.string("jwks_file", "a path", where: isPath)
        let url = try reader.string(
            "jwks_url", "an address that starts with https://, or with http:// and is on this machine",
            where: KeyAddress.isAllowed)
        let authorities = try reader.string("ca_file", "a path", where: isPath)
        let beside = { (path: String) in path.hasPrefix("/") ? path : folder + path }
        switch (file, url) {
        case (let file?, nil) where authorities == nil: return .file(beside(file))
        case (nil, let url?): return .url(url, authorities: authorities.map(beside))
        default:
            throw RuntimeError(
                .manifestInvalid, step: reader.step,
                cause:
                    "'\(reader.prefix)jwks_file' or '\(reader.prefix)jwks_url' must say where the issuer's keys are, "
                    + "one of the two; ca_file belongs to an address",
                next: "see \(JWTConfig.docs)")
        }
    }
}

/// The rule for addresses of keys: whoever reads the line in between could bring keys of their own.
enum KeyAddress {
    static func isAllowed(_ url: String) -> Bool {
        guard url.utf8.count <= 2048, url.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "\\") }),
            let colon = url.firstRange(of: "://")
        else { return false }
        let authority = url[colon.upperBound...].prefix { !"/?#".contains($0) }
        guard !authority.isEmpty, !authority.contains("@"), !url.contains("#") else { return false }
        switch url[..<colon.lowerBound] {
        case "https": return true
        case "http": return isLoopback(authority)
        default: return false
        }
    }

    private static func isLoopback(_ authority: Substring) -> Bool {
        if authority.hasPrefix("[") { return authority == "[::1]" || authority.hasPrefix("[::1]:") }
        let host = authority.prefix { $0 != ":" }
        let numbers = host.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
        return host == "localhost" || numbers.count == 4 && numbers[0] == 127 && !numbers.contains(nil)
    }
}
