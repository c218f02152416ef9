// From an archive to a deployment: unpack, read the manifest, check every library, probe, store.
package import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform
package import Signing

/// A deployment that may be published, and what whoever deployed it should know.
package struct Admission: Sendable {
    package let deployment: Deployment
    package let warning: String?
}

package struct PluginAdmission {
    private static let handlerLimit: UInt64 = 64 << 20
    private static let backendLimit: UInt64 = 8 << 30
    private static let mostFiles: UInt64 = 64

    /// Bytes of an archive above which it is not read to its end.
    package static func largestArchive(of tenant: String) -> UInt64 {
        // Up to 64 heads and paddings.
        limit(of: tenant) + mostFiles * 1024 + (1 << 20)
    }

    private let store: ArtefactStore

    package init(store: ArtefactStore) { self.store = store }

    /// What the files of a tenant's artefact may add up to.
    package static func limit(of tenant: String) -> UInt64 {
        tenant == Deployment.platform ? backendLimit : handlerLimit
    }

    /// - Parameters:
    ///   - name: what it is called; nil takes the manifest's name.
    ///   - trust: whose signatures count.
    ///   - inUse: whether a deployment refers to a digest already; then a failure leaves its files alone.
    ///   - probe: loads the plugin in a jailed worker; the directory it gets holds the artefact under its digest.
    package func admit(
        archive: String, tenant: String, name: String? = nil, trust: Trust = Trust(), inUse: (String) -> Bool,
        probe: (Deployment, _ root: String) throws(RuntimeError) -> Void
    ) throws(RuntimeError) -> Admission {
        try checkName(tenant, of: "tenant")
        if let name { try checkName(name, of: "function or model") }
        let staged = try store.stage(archive, limit: Self.limit(of: tenant), files: Int(Self.mostFiles))
        do throws(RuntimeError) {
            let verdict = try judge(staged.directory, staged.digests, trust)
            let inspected = try inspect(
                (staged.directory, staged.digest, staged.files), tenant: tenant, name: name, verdict)
            try store.commit(staged.directory, tenant: tenant, digest: staged.digest, digests: staged.digests)
            try probe(inspected, store.root(of: tenant))
            let files = store.files(tenant: tenant, digest: staged.digest, staged.digests)
            return Admission(deployment: inspected.with(files), warning: verdict.warning)
        } catch {
            store.discard(staged.directory)
            if !inUse(staged.digest) { store.remove(tenant: tenant, digest: staged.digest) }
            throw error
        }
    }

    private func judge(
        _ directory: String, _ files: [(name: String, sha256: String)], _ trust: Trust
    ) throws(RuntimeError) -> Verdict {
        func bytes(_ name: String) throws(RuntimeError) -> [UInt8]? {
            guard files.contains(where: { $0.name == name }) else { return nil }
            if let bytes = ArtefactStore.read("\(directory)/\(name)", most: SignedList.largest) { return bytes }
            throw RuntimeError(
                .pluginInvalid, step: "check \(name)", cause: "it is larger than \(SignedList.largest) bytes",
                next: "sign the folder again with `swiftlet sign`")
        }
        return try trust.judge(
            files, list: try bytes(SignedList.name), signature: try bytes(SignedList.signatureName))
    }

    private func checkName(_ name: String, of what: String) throws(RuntimeError) {
        guard Names.isValid(name) else {
            throw RuntimeError(
                .badRequest, step: "deploy", cause: "\"\(name)\" is no name of a \(what)",
                next: "use lower-case letters, digits and dashes, at most 63")
        }
    }

    private func inspect(
        _ staged: (directory: String, digest: String, files: [String]), tenant: String, name: String?,
        _ verdict: Verdict
    ) throws(RuntimeError) -> Deployment {
        let manifest = try Manifest.decode(json5: try read(staged.directory, "swiftlet.json5"), file: "swiftlet.json5")
        guard (manifest.kind == .backend) == (tenant == Deployment.platform) else {
            throw RuntimeError(
                .forbidden, step: "deploy \(manifest.name)",
                cause: "a \(manifest.kind.rawValue) can't belong to tenant \(tenant)",
                next: "backends belong to `platform`, handlers to any other tenant")
        }
        let library = manifest.library ?? "plugin.so"
        for needed in [library] + (manifest.model.map { [$0] } ?? []) where !staged.files.contains(needed) {
            throw RuntimeError(
                .pluginInvalid, step: "deploy \(manifest.name)",
                cause: "the file \(needed) that the manifest names is missing",
                next: "put it into the folder, or build it with `swiftlet build`")
        }
        // Only what is checked may be linked: a library under another name would be loaded unseen.
        let libraries = Set(staged.files.filter { $0 == library || $0.hasSuffix(".so") || $0.contains(".so.") })
        for file in libraries.sorted() {
            try ElfCheck.check(
                try read(staged.directory, file), name: file, isPlugin: file == library, beside: libraries)
        }
        if staged.files.contains(BillOfMaterials.name) { try BillOfMaterials.check(in: staged.directory) }
        return Deployment(
            tenant: tenant, name: name ?? manifest.name, kind: manifest.kind, digest: staged.digest, manifest: manifest,
            createdAt: WallClock.milliseconds, signer: verdict.signer?.description)
    }

    private func read(_ directory: String, _ name: String) throws(RuntimeError) -> [UInt8] {
        if let data = try? Data(contentsOf: URL(filePath: "\(directory)/\(name)")) { return Array(data) }
        throw RuntimeError(
            .pluginInvalid, step: "read \(name)", cause: "it is not in the artefact",
            next: "deploy a folder that holds it")
    }
}
