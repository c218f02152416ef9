// One immutable version of a plugin: who owns it, which bytes it is, and what its manifest says.

/// A class, because each call of its function hands it on.
package final class Deployment: Sendable, Equatable {
    /// The owner of every backend.
    package static let platform = "platform"

    package let tenant: String
    package let name: String
    package let kind: PluginKind
    /// SHA-256 of the set of artefacts, 64 hex digits; also the name of its directory.
    package let digest: String
    package let manifest: Manifest
    /// Milliseconds since 1970.
    package let createdAt: Int64

    package init(
        tenant: String, name: String, kind: PluginKind, digest: String, manifest: Manifest, createdAt: Int64
    ) {
        self.tenant = tenant
        self.name = name
        self.kind = kind
        self.digest = digest
        self.manifest = manifest
        self.createdAt = createdAt
    }

    package static func == (a: Deployment, b: Deployment) -> Bool {
        a.tenant == b.tenant && a.name == b.name && a.kind == b.kind && a.digest == b.digest
            && a.manifest == b.manifest && a.createdAt == b.createdAt
    }

    package var key: FunctionKey { FunctionKey(tenant: tenant, name: name) }

    package var directoryName: String { digest }
}
