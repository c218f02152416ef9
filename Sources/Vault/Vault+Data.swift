// A tenant's data at rest: sealed with its newest key, and opened with whichever key sealed it.
package import Core
internal import Synchronization

extension Vault {
    /// Opens everything that is sealed here: what it is, and version 1 of how.
    private static let magic = Array("swlseal1".utf8)
    /// Bytes by which `keyVersion` tells.
    package static let sealedHead = magic.count + 4

    /// - Parameter purpose: what it is; it opens as that only.
    package func seal(_ data: SecretBytes, tenant: String, purpose: String) throws(RuntimeError) -> [UInt8] {
        try Names.validate(tenant, as: "tenant")
        let (version, key) = try change { database throws(RuntimeError) in try newestKey(of: tenant, database) }
        var sealed = Self.magic
        for shift in stride(from: 0, to: 32, by: 8) { sealed.append(UInt8(truncatingIfNeeded: version >> shift)) }
        return sealed + (try Seal.seal(data, key: key, purpose: Self.purpose(tenant, purpose)))
    }

    /// Throws `notFound` when the key is gone that sealed it: the data is then as good as deleted.
    package func open(_ sealed: [UInt8], tenant: String, purpose: String) throws(RuntimeError) -> SecretBytes {
        guard let version = Self.keyVersion(of: sealed) else {
            throw failure(purpose, tenant, .internalError, "it is not what the vault sealed: cut, or written by others")
        }
        guard let key = key(of: tenant, version: version) else {
            throw failure(purpose, tenant, .notFound, "the tenant's key \(version) that sealed it is gone")
        }
        let rest = Array(sealed[Self.sealedHead...])
        if let data = Seal.open(rest, key: key, purpose: Self.purpose(tenant, purpose)) { return data }
        throw failure(purpose, tenant, .internalError, "it was changed after it was sealed")
    }

    /// Which of its tenant's keys sealed it; nil when it isn't sealed.
    package static func keyVersion(of sealed: [UInt8]) -> Int? {
        guard sealed.count >= sealedHead, sealed.starts(with: magic) else { return nil }
        return sealed[magic.count..<sealedHead].reversed().reduce(0) { $0 << 8 | Int($1) }
    }

    private static func purpose(_ tenant: String, _ purpose: String) -> String {
        "swiftlet data \(tenant)/\(purpose)"
    }

    private func failure(_ purpose: String, _ tenant: String, _ code: RuntimeError.Code, _ cause: String)
        -> RuntimeError
    {
        RuntimeError(
            code, step: "open \(purpose) of \(tenant)", cause: cause,
            next: "restore it and vault.db from one backup, or deploy it again")
    }
}
