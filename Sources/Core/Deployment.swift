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
    /// What it consists of, by name.
    package let files: [ArtefactFile]
    /// The trusted key that signed it, when it was deployed; nil: none did.
    package let signer: String?

    package init(
        tenant: String, name: String, kind: PluginKind, digest: String, manifest: Manifest, createdAt: Int64,
        files: [ArtefactFile] = [], signer: String? = nil
    ) {
        self.tenant = tenant
        self.name = name
        self.kind = kind
        self.digest = digest
        self.manifest = manifest
        self.createdAt = createdAt
        self.files = files
        self.signer = signer
    }

    /// The same with what is known of its files.
    package func with(_ files: [ArtefactFile]) -> Deployment {
        Deployment(
            tenant: tenant, name: name, kind: kind, digest: digest, manifest: manifest, createdAt: createdAt,
            files: files, signer: signer)
    }

    package static func == (a: Deployment, b: Deployment) -> Bool {
        a.tenant == b.tenant && a.name == b.name && a.kind == b.kind && a.digest == b.digest
            && a.manifest == b.manifest && a.createdAt == b.createdAt && a.files == b.files && a.signer == b.signer
    }

    package var key: FunctionKey { FunctionKey(tenant: tenant, name: name) }

    package var directoryName: String { digest }
}

/// One file of a deployment: its content, and how the file system describes the copy that the host keeps.
package struct ArtefactFile: Equatable, Sendable {
    package let name: String
    /// 64 hex digits.
    package let sha256: String
    package var stamp: FileStamp

    package init(name: String, sha256: String, stamp: FileStamp) {
        self.name = name
        self.sha256 = sha256
        self.stamp = stamp
    }
}

/// What differs when a file was written to or replaced, and costs no reading of it.
package struct FileStamp: Equatable, Sendable {
    package var bytes: UInt64
    /// Nanoseconds since 1970.
    package var modified: Int64
    package var inode: UInt64

    package init(bytes: UInt64, modified: Int64, inode: UInt64) {
        self.bytes = bytes
        self.modified = modified
        self.inode = inode
    }
}
