// The files of deployments: staged, then renamed into place under their digest; what is there never changes.
internal import CLinux
package import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform

package struct ArtefactStore: Sendable {
    /// What is on the disk between two of these must be a state that a start goes on from.
    package enum Step: Sendable { case unpacked, synced, moved, opened, exchanged, sealed }

    private let state: String
    private let reached: @Sendable (Step) -> Void
    /// Nil: everything lies plain, as the platform's does.
    package let sealed: SealedArtefacts?

    /// Makes the directories, and removes what an interrupted deployment left.
    ///
    /// - Parameter reached: told of each step; tests look at the disk there.
    package init(
        stateDirectory: String, sealed: SealedArtefacts? = nil,
        reached: @escaping @Sendable (Step) -> Void = { _ in }
    ) throws(RuntimeError) {
        state = stateDirectory
        self.sealed = sealed
        self.reached = reached
        for left in (try? FileManager.default.contentsOfDirectory(atPath: "\(state)/staging")) ?? [] {
            discard("\(state)/staging/\(left)")
        }
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
    func stage(_ archive: String, limit: UInt64, files: Int = 64) throws(RuntimeError) -> (
        directory: String, digest: String, files: [String], digests: [(name: String, sha256: String)]
    ) {
        let directory = "\(archive).d"
        try make(directory)
        do throws(RuntimeError) {
            let entries = try TarReader.unpack(archive, into: directory, bounds: .init(files: files, bytes: limit))
            var digest = Digest()
            for entry in entries.sorted(by: { $0.name < $1.name }) { digest.add("\(entry.name) \(entry.digest)\n") }
            reached(.unpacked)
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
        _ directory: String, tenant: String, digest: String, digests: [(name: String, sha256: String)]
    ) throws(RuntimeError) {
        let root = root(of: tenant)
        let place = "\(root)/\(digest)"
        do {
            try sealing(tenant)?.store(directory, tenant: tenant, digest: digest)
            try make(root)
            try WholeFiles.syncNames(in: directory)
            reached(.synced)
            let code = unsafe rename(directory, place) == 0 ? 0 : errno
            if code == EEXIST || code == ENOTEMPTY {
                if !ArtefactCheck.holds(place, digests) { try exchange(directory, place) }
                discard(directory)
            } else if code != 0 {
                throw SystemError(call: "rename", code: code)
            }
            reached(.moved)
            // Not before: a folder that moves must be writable. A copy in memory goes when its tenant does, and stays so.
            if sealing(tenant) == nil { try libc("chmod") { unsafe chmod(place, 0o555) } }
            try WholeFiles.syncNames(in: root)
            reached(.sealed)
        } catch let error as RuntimeError {
            throw error
        } catch {
            discard(directory)
            throw RuntimeError(
                .insufficientStorage, step: "store \(place)", cause: "\(error)", next: "check the state directory")
        }
    }

    /// Puts a good copy in the place of a damaged one, with no moment between. Who has the old files open keeps them.
    private func exchange(_ directory: String, _ place: String) throws {
        try libc("chmod") { unsafe chmod(place, 0o755) }
        reached(.opened)
        try check(unsafe clinux_exchange(directory, place), "exchange")
        reached(.exchanged)
    }

    /// The files of an artefact that was committed, as they are on the disk.
    func files(tenant: String, digest: String, _ digests: [(name: String, sha256: String)]) -> [ArtefactFile] {
        ArtefactCheck.files(in: "\(root(of: tenant))/\(digest)", digests)
    }

    /// The bytes of a file of a deployment, plain; nil: there is none, or it is larger. Blocks.
    package func read(_ name: String, of deployment: Deployment, most: Int) throws(RuntimeError) -> [UInt8]? {
        try sealing(deployment.tenant)?.unseal(deployment)
        return Self.read("\(root(of: deployment.tenant))/\(deployment.digest)/\(name)", most: most)
    }

    /// The bytes of one file of a deployment, when they are those that were deployed; makes no plain copy of the others. Blocks.
    package func contents(of file: ArtefactFile, in deployment: Deployment) throws(RuntimeError) -> [UInt8] {
        let path = "\(root(of: deployment.tenant))/\(deployment.digest)/\(file.name)"
        let found =
            try sealing(deployment.tenant)?.contents(of: file.name, in: deployment)
            ?? Self.read(path, most: Int(file.stamp.bytes))
        let bytes = found ?? []
        var digest = Digest()
        unsafe digest.add(bytes.span.bytes)
        guard found != nil, bytes.count == file.stamp.bytes, digest.finish() == file.sha256 else {
            throw RuntimeError(
                .internalError, step: "read \(file.name) of \(deployment.key)",
                cause: "it is missing, or not what was deployed",
                next: "deploy it again, or restore the state directory from a backup")
        }
        return bytes
    }

    static func read(_ path: String, most: Int) -> [UInt8]? {
        guard let file = try? FileDescriptor.open(path, flags: O_RDONLY | O_NOFOLLOW) else { return nil }
        var info = stat()
        guard unsafe fstat(file.raw, &info) == 0, info.st_size <= most else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(info.st_size))
        var have = 0
        while have < bytes.count {
            let count = unsafe bytes.withUnsafeMutableBytes { room in
                unsafe Glibc.read(file.raw, room.baseAddress?.advanced(by: have), room.count - have)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return nil }
            have += count
        }
        return bytes
    }

    /// Removes an artefact that nothing refers to.
    package func remove(tenant: String, digest: String) {
        if let sealed = sealing(tenant) { return sealed.remove(tenant: tenant, digest: digest) }
        discard("\(root(of: tenant))/\(digest)")
    }

    /// Removes every artefact of a tenant. Returns how many there were.
    package func removeAll(of tenant: String) -> Int {
        let digests = (try? FileManager.default.contentsOfDirectory(atPath: diskRoot(of: tenant))) ?? []
        for digest in digests { remove(tenant: tenant, digest: digest) }
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
            for digest in (try? files.contentsOfDirectory(atPath: diskRoot(of: tenant))) ?? [] {
                if !kept.contains(digest) {
                    remove(tenant: tenant, digest: digest)
                } else if sealing(tenant) == nil {
                    _ = unsafe chmod("\(diskRoot(of: tenant))/\(digest)", 0o555)
                }
            }
        }
    }

    func discard(_ directory: String) {
        // One that was sealed lets nobody remove its files.
        _ = unsafe chmod(directory, 0o755)
        try? FileManager.default.removeItem(atPath: directory)
    }

    private func make(_ directory: String) throws(RuntimeError) {
        guard unsafe mkdir(directory, 0o755) != 0, errno != EEXIST else { return }
        throw RuntimeError(
            .insufficientStorage, step: "make \(directory)", cause: SystemError.text(of: errno),
            next: "choose a state directory that can be written, with --state")
    }
}
