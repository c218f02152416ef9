// The files of deployments: staged, then renamed into place under their digest; what is there never changes.
package import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform

package struct ArtefactStore: Sendable {
    private let state: String
    /// Nil: everything lies plain, as the platform's does.
    package let sealed: SealedArtefacts?

    /// Makes the directories, and removes what an interrupted deployment left.
    package init(stateDirectory: String, sealed: SealedArtefacts? = nil) throws(RuntimeError) {
        state = stateDirectory
        self.sealed = sealed
        try? FileManager.default.removeItem(atPath: "\(state)/staging")
        for name in ["staging", "artefacts"] { try make("\(state)/\(name)") }
    }

    /// The directory whose children are a tenant's artefacts.
    package func root(of tenant: String) -> String { sealing(tenant)?.plainRoot(of: tenant) ?? diskRoot(of: tenant) }

    private func diskRoot(of tenant: String) -> String { "\(state)/artefacts/\(tenant)" }

    /// Models are large and the platform's own: they stay as they are.
    private func sealing(_ tenant: String) -> SealedArtefacts? { tenant == Deployment.platform ? nil : sealed }

    package func uploadPath(named name: String, tenant: String = Deployment.platform) -> String {
        sealing(tenant)?.uploadPath(named: name) ?? "\(state)/staging/\(name)"
    }

    /// Unpacks an archive beside the others. Returns the directory and the digest of the set.
    func stage(_ archive: String, limit: UInt64) throws(RuntimeError) -> (
        directory: String, digest: String, files: [String], digests: [(name: String, sha256: String)]
    ) {
        let directory = "\(archive).d"
        try make(directory)
        do throws(RuntimeError) {
            let entries = try TarReader.unpack(archive, into: directory, bounds: .init(files: 64, bytes: limit))
            var digest = Digest()
            for entry in entries.sorted(by: { $0.name < $1.name }) { digest.add("\(entry.name) \(entry.digest)\n") }
            return (directory, digest.finish(), entries.map(\.name), entries.map { ($0.name, $0.digest) })
        } catch {
            discard(directory)
            throw error
        }
    }

    /// Moves a staged directory to its place. One that is there already stays, unless a file of it was changed.
    ///
    /// - Parameter digests: of the files that it must hold.
    func commit(
        _ directory: String, tenant: String, digest: String, digests: [(name: String, sha256: String)] = []
    ) throws(RuntimeError) {
        try sealing(tenant)?.store(directory, tenant: tenant, digest: digest)
        try make(root(of: tenant))
        let place = "\(root(of: tenant))/\(digest)"
        if unsafe rename(directory, place) == 0 { return }
        var code = errno
        if code == EEXIST || code == ENOTEMPTY {
            if ArtefactCheck.holds(place, digests) { return discard(directory) }
            // Who has the old files open keeps them.
            let old = "\(directory).old"
            defer { discard(old) }
            if unsafe rename(place, old) == 0, unsafe rename(directory, place) == 0 { return }
            code = errno
        }
        discard(directory)
        throw RuntimeError(
            .insufficientStorage, step: "store \(place)", cause: SystemError.text(of: code),
            next: "check the state directory")
    }

    /// The files of an artefact that was committed, as they are on the disk.
    func files(tenant: String, digest: String, _ digests: [(name: String, sha256: String)]) -> [ArtefactFile] {
        ArtefactCheck.files(in: "\(root(of: tenant))/\(digest)", digests)
    }

    /// Removes an artefact that nothing refers to.
    package func remove(tenant: String, digest: String) {
        if let sealed = sealing(tenant) { return sealed.remove(tenant: tenant, digest: digest) }
        discard("\(root(of: tenant))/\(digest)")
    }

    /// Removes every artefact of a tenant. Returns how many there were.
    package func removeAll(of tenant: String) -> Int {
        let digests = (try? FileManager.default.contentsOfDirectory(atPath: diskRoot(of: tenant))) ?? []
        sealing(tenant)?.remove(tenant: tenant)
        discard(diskRoot(of: tenant))
        return digests.count
    }

    /// Removes every artefact but these, by tenant: what earlier deployments and removed functions left. Call it before
    /// the first worker starts.
    package func sweep(keeping digests: [String: Set<String>]) {
        let files = FileManager.default
        for tenant in (try? files.contentsOfDirectory(atPath: "\(state)/artefacts")) ?? [] {
            let kept = digests[tenant] ?? []
            for digest in (try? files.contentsOfDirectory(atPath: diskRoot(of: tenant))) ?? [] where !kept.contains(digest)
            {
                remove(tenant: tenant, digest: digest)
            }
        }
    }

    func discard(_ directory: String) { try? FileManager.default.removeItem(atPath: directory) }

    private func make(_ directory: String) throws(RuntimeError) {
        guard unsafe mkdir(directory, 0o755) != 0, errno != EEXIST else { return }
        throw RuntimeError(
            .insufficientStorage, step: "make \(directory)", cause: SystemError.text(of: errno),
            next: "choose a state directory that can be written, with --state")
    }
}
