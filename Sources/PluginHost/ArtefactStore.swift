// The files of deployments: staged, then renamed into place under their digest; what is there never changes.
package import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform

package struct ArtefactStore: Sendable {
    private let state: String

    /// Makes the directories, and removes what an interrupted deployment left.
    package init(stateDirectory: String) throws(RuntimeError) {
        state = stateDirectory
        try? FileManager.default.removeItem(atPath: "\(state)/staging")
        for name in ["staging", "artefacts"] { try make("\(state)/\(name)") }
    }

    /// The directory whose children are a tenant's artefacts.
    package func root(of tenant: String) -> String { "\(state)/artefacts/\(tenant)" }

    package func uploadPath(named name: String) -> String { "\(state)/staging/\(name)" }

    /// Unpacks an archive beside the others. Returns the directory and the digest of the set.
    func stage(_ archive: String, limit: UInt64) throws(RuntimeError) -> (
        directory: String, digest: String, files: [String]
    ) {
        let directory = "\(archive).d"
        try make(directory)
        do throws(RuntimeError) {
            let entries = try TarReader.unpack(archive, into: directory, bounds: .init(files: 64, bytes: limit))
            var digest = Digest()
            for entry in entries.sorted(by: { $0.name < $1.name }) { digest.add("\(entry.name) \(entry.digest)\n") }
            return (directory, digest.finish(), entries.map(\.name))
        } catch {
            discard(directory)
            throw error
        }
    }

    /// Moves a staged directory to its place. One that is there already holds the same bytes, and stays.
    func commit(_ directory: String, tenant: String, digest: String) throws(RuntimeError) {
        try make(root(of: tenant))
        let place = "\(root(of: tenant))/\(digest)"
        if unsafe rename(directory, place) == 0 { return }
        let code = errno
        discard(directory)
        guard code == EEXIST || code == ENOTEMPTY else {
            throw RuntimeError(
                .insufficientStorage, step: "store \(place)", cause: SystemError.text(of: code),
                next: "check the state directory")
        }
    }

    /// Removes an artefact that nothing refers to.
    package func remove(tenant: String, digest: String) { discard("\(root(of: tenant))/\(digest)") }

    /// Removes every artefact but these, by tenant: what earlier deployments and removed functions left. Call it before
    /// the first worker starts.
    package func sweep(keeping digests: [String: Set<String>]) {
        let files = FileManager.default
        for tenant in (try? files.contentsOfDirectory(atPath: "\(state)/artefacts")) ?? [] {
            let kept = digests[tenant] ?? []
            for digest in (try? files.contentsOfDirectory(atPath: root(of: tenant))) ?? [] where !kept.contains(digest)
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
