// What an export says of a tenant: its first file, swiftlet-export.json. ExportReader.swift reads it, ExportPlan.swift packs the rest.
package import Core
package import Signing

/// Everything of a tenant that another host needs, but for the bytes of its functions and the values of its secrets.
package struct TenantExport: Equatable, Sendable {
    package static let file = "swiftlet-export.json"
    package static let format: Int64 = 1
    /// Bytes of that file.
    package static let largest = 8 << 20
    package static let mostFunctions = 1000
    package static let mostKeys = 10_000
    package static let mostSecrets = 20_000
    /// Of a whole export.
    package static let largestArchive: UInt64 = 8 << 30

    package struct Function: Equatable, Sendable {
        package let name: String
        /// What its manifest says.
        package let version: String
        /// Of the set of its files.
        package let digest: String
        /// Of its archive.
        package let bytes: UInt64
        /// Who signed it, as the exporting host saw it.
        package let signer: String?
        package let hasBill: Bool

        package init(
            name: String, version: String, digest: String, bytes: UInt64, signer: String? = nil, hasBill: Bool = false
        ) {
            self.name = name
            self.version = version
            self.digest = digest
            self.bytes = bytes
            self.signer = signer
            self.hasBill = hasBill
        }

        /// What its archive is called in the export.
        package var archive: String { "\(name).tar" }
    }

    /// The name of a secret, whose value stays where it is.
    package struct Secret: Equatable, Sendable {
        /// Nil: all functions of the tenant.
        package let function: String?
        package let name: String

        package init(function: String?, name: String) {
            self.function = function
            self.name = name
        }
    }

    /// Milliseconds since 1970.
    package let exportedAt: Int64
    package let tenant: Tenant
    /// The tenant's own policy; nil: it has none.
    package let unsigned: UnsignedPolicy?
    package let trustedKeys: [TrustedKey]
    package let functions: [Function]
    package let keys: [KeyRecord]
    package let secrets: [Secret]

    package init(
        exportedAt: Int64, tenant: Tenant, unsigned: UnsignedPolicy? = nil, trustedKeys: [TrustedKey] = [],
        functions: [Function] = [], keys: [KeyRecord] = [], secrets: [Secret] = []
    ) {
        self.exportedAt = exportedAt
        self.tenant = tenant
        self.unsigned = unsigned
        self.trustedKeys = trustedKeys
        self.functions = functions
        self.keys = keys
        self.secrets = secrets
    }

    /// What `init(_:as:)` reads back to an equal value.
    package var value: JSONValue {
        var members: [String: JSONValue] = [
            "format": .integer(Self.format), "exported_at_ms": .integer(exportedAt),
            "tenant": .object([
                "name": .string(tenant.name), "state": .string(tenant.state.rawValue),
                "created_at_ms": .integer(tenant.createdAt), "settings": tenant.settings.value,
            ]),
            "trusted_keys": .array(trustedKeys.map(\.exported)), "functions": .array(functions.map(\.value)),
            "keys": .array(keys.map(\.exported)), "secrets": .array(secrets.map(\.value)),
        ]
        if let unsigned { members["unsigned"] = .string(unsigned.rawValue) }
        return .object(members)
    }
}

extension TenantExport.Function {
    fileprivate var value: JSONValue {
        var members: [String: JSONValue] = [
            "name": .string(name), "version": .string(version), "digest": .string(digest),
            "bytes": .integer(Int64(bytes)), "sbom": .bool(hasBill),
        ]
        if let signer { members["signed_by"] = .string(signer) }
        return .object(members)
    }
}

extension TenantExport.Secret {
    package var value: JSONValue {
        var members: [String: JSONValue] = ["name": .string(name)]
        if let function { members["function"] = .string(function) }
        return .object(members)
    }
}

extension TrustedKey {
    fileprivate var exported: JSONValue {
        .object([
            "public_key": .string(key.base64), "comment": .string(comment), "added_at_ms": .integer(addedAt),
        ])
    }
}

extension KeyRecord {
    fileprivate var exported: JSONValue {
        var members: [String: JSONValue] = [
            "sha256": .string(hash.hex), "grant": grant, "created_at_ms": .integer(createdAt),
        ]
        if let expiresAt { members["expires_at_ms"] = .integer(expiresAt) }
        return .object(members)
    }
}
