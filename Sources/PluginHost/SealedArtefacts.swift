// Tenants' artefacts: sealed on the disk, plain in memory only, from their first use until they go.
internal import CLinux
package import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform
internal import Synchronization
package import Vault

/// The copies on the disk, each file sealed with its tenant's key and for its place; and the plain ones, in a directory that
/// lies in memory and goes with the host. Everything but `isReady` blocks.
package final class SealedArtefacts: Sendable {
    private let vault: Vault
    private let state: String
    private let room: String
    /// Held while files come or go, so that nobody takes half of them for all.
    private let working = Mutex(())

    /// - Parameter room: an empty directory in memory.
    package init(vault: Vault, stateDirectory: String, room: String) throws(RuntimeError) {
        self.vault = vault
        state = stateDirectory
        self.room = room
        try make("\(room)/\(Self.staging)")
    }

    /// No name of a tenant.
    private static let staging = ".staging"

    /// The directory whose children are a tenant's artefacts, plain.
    func plainRoot(of tenant: String) -> String { "\(room)/\(tenant)" }

    func uploadPath(named name: String) -> String { "\(room)/\(Self.staging)/\(name)" }

    private func sealedRoot(of tenant: String) -> String { "\(state)/artefacts/\(tenant)" }

    /// True when its plain copy is in its place.
    package func isReady(_ deployment: Deployment) -> Bool {
        unsafe access("\(plainRoot(of: deployment.tenant))/\(deployment.digest)", F_OK) == 0
    }

    // MARK: to the disk

    /// Seals the files of a directory to their place on the disk; what was there is replaced.
    func store(_ directory: String, tenant: String, digest: String) throws(RuntimeError) {
        try exclusively { () throws(RuntimeError) in
            let new = "\(state)/staging/\(digest).sealed"
            discard(new)
            try make(new)
            defer { discard(new) }
            for name in try names(in: directory) {
                try seal(try read("\(directory)/\(name)"), as: (tenant, digest, name), to: "\(new)/\(name)")
            }
            try make(sealedRoot(of: tenant))
            let place = "\(sealedRoot(of: tenant))/\(digest)"
            do {
                try WholeFiles.syncNames(in: new)
                if unsafe rename(new, place) != 0 {
                    // The old one is in its place until the new one is: a crash leaves one of them.
                    let code = errno
                    guard code == EEXIST || code == ENOTEMPTY else { throw SystemError(call: "rename", code: code) }
                    try check(unsafe clinux_exchange(new, place), "exchange")
                }
                try WholeFiles.syncNames(in: sealedRoot(of: tenant))
            } catch let error as SystemError {
                throw full("store \(place)", error.code)
            } catch {
                throw full("store \(place)", EIO)
            }
        }
    }

    /// Seals what an earlier version left plain, and what an older key of the tenant sealed.
    ///
    /// - Returns: how many files were sealed anew.
    package func reseal(_ tenant: String) throws(RuntimeError) -> Int { try reseal(tenant, olderKeys: true) }

    private func reseal(_ tenant: String, olderKeys: Bool) throws(RuntimeError) -> Int {
        try exclusively { () throws(RuntimeError) in
            var count = 0
            let newest = vault.keyVersions(of: tenant).last
            for digest in (try? names(in: sealedRoot(of: tenant))) ?? [] {
                let directory = "\(sealedRoot(of: tenant))/\(digest)"
                for name in try names(in: directory) {
                    let path = "\(directory)/\(name)"
                    let version = Vault.keyVersion(of: try read(path, atMost: Vault.sealedHead))
                    guard version == nil || olderKeys && version != newest else { continue }
                    let bytes = try read(path)
                    let plain = version == nil ? bytes : try open(bytes, (tenant, digest, name)).copy
                    let new = "\(state)/staging/\(digest).\(name)"
                    try seal(plain, as: (tenant, digest, name), to: new)
                    guard unsafe rename(new, path) == 0 else { throw full("store \(path)", errno) }
                    count += 1
                }
            }
            return count
        }
    }

    /// Seals what an earlier version of the program left plain. Called before the first worker starts.
    package func sealEverything() {
        for tenant in (try? names(in: "\(state)/artefacts")) ?? [] where tenant != Deployment.platform {
            do throws(RuntimeError) {
                let count = try reseal(tenant, olderKeys: false)
                if count > 0 { Log.info("sealed artefacts", [("tenant", tenant), ("files", "\(count)")]) }
            } catch {
                Log.error("artefacts lie plain on the disk", [("tenant", tenant), ("cause", "\(error)")])
            }
        }
    }

    private typealias Place = (tenant: String, digest: String, name: String)

    private static func purpose(_ place: Place) -> String { "artefact \(place.digest)/\(place.name)" }

    private func seal(_ plain: [UInt8], as place: Place, to path: String) throws(RuntimeError) {
        var plain = plain
        let data = SecretBytes(taking: &plain)
        try write(try vault.seal(data, tenant: place.tenant, purpose: Self.purpose(place)), to: path, mode: 0o600)
    }

    private func open(_ sealed: [UInt8], _ place: Place) throws(RuntimeError) -> SecretBytes {
        try vault.open(sealed, tenant: place.tenant, purpose: Self.purpose(place))
    }

    // MARK: to memory

    /// Makes the plain copy of a deployment, if there is none: all of it, and what was deployed, or nothing.
    package func unseal(_ deployment: Deployment) throws(RuntimeError) {
        let (tenant, digest) = (deployment.tenant, deployment.digest)
        try exclusively { () throws(RuntimeError) in
            guard !isReady(deployment) else { return }
            let new = uploadPath(named: "\(tenant).\(digest)")
            discard(new)
            try make(new)
            defer { discard(new) }
            var sum = Digest()
            for name in try names(in: "\(sealedRoot(of: tenant))/\(digest)") {
                let path = "\(sealedRoot(of: tenant))/\(digest)/\(name)"
                let plain = try open(try read(path), (tenant, digest, name)).copy
                var own = Digest()
                unsafe own.add(plain.span.bytes)
                sum.add("\(name) \(own.finish())\n")
                try write(plain, to: "\(new)/\(name)", mode: 0o444)
            }
            guard sum.finish() == digest else {
                throw RuntimeError(
                    .internalError, step: "open the artefact of \(deployment.key)",
                    cause: "its files are not those that were deployed: one is missing or was added",
                    next: "deploy it again, or restore the state directory from a backup")
            }
            try make(plainRoot(of: tenant))
            guard unsafe rename(new, "\(plainRoot(of: tenant))/\(digest)") == 0 else {
                throw full("make the plain copy of \(deployment.key)", errno)
            }
        }
    }

    /// One file of a deployment, opened beside its plain copy, if there is one.
    func contents(of name: String, in deployment: Deployment) throws(RuntimeError) -> [UInt8] {
        let (tenant, digest) = (deployment.tenant, deployment.digest)
        return try exclusively { () throws(RuntimeError) in
            try open(try read("\(sealedRoot(of: tenant))/\(digest)/\(name)"), (tenant, digest, name)).copy
        }
    }

    // MARK: going

    func remove(tenant: String, digest: String) {
        working.withLock { _ in
            discard("\(sealedRoot(of: tenant))/\(digest)")
            discard("\(plainRoot(of: tenant))/\(digest)")
        }
    }

    /// Takes everything of a tenant away. Its key is what counts (`Vault.shred`); this gives back the room.
    package func remove(tenant: String) {
        working.withLock { _ in
            discard(sealedRoot(of: tenant))
            // Not the directory itself: a zygote of the tenant that has not left yet sees that one, and no other of its name.
            for digest in (try? names(in: plainRoot(of: tenant))) ?? [] {
                discard("\(plainRoot(of: tenant))/\(digest)")
            }
        }
    }

    // MARK: files

    private func exclusively<Value: Sendable>(_ body: () throws(RuntimeError) -> Value) throws(RuntimeError) -> Value {
        let result = working.withLock { _ in Result { () throws(RuntimeError) in try body() } }
        return try result.get()
    }

    private func names(in directory: String) throws(RuntimeError) -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
        } catch {
            throw RuntimeError(
                .notFound, step: "read \(directory)", cause: "it is not there", next: "deploy the function again")
        }
    }

    /// The first bytes of a file, which tell how it is sealed: a start of the host must not read all of everybody's.
    private func read(_ path: String, atMost limit: Int) throws(RuntimeError) -> [UInt8] {
        do {
            let file = try FileDescriptor.open(path, flags: O_RDONLY | O_NOFOLLOW)
            var bytes = [UInt8](repeating: 0, count: limit)
            let count = try libc("read(\(path))") { unsafe Glibc.read(file.raw, &bytes, limit) }
            return Array(bytes[..<count])
        } catch {
            throw RuntimeError(
                .unavailable, step: "read \(path)", cause: SystemError.text(of: error.code),
                next: "check the state directory")
        }
    }

    private func read(_ path: String) throws(RuntimeError) -> [UInt8] {
        if let data = try? Data(contentsOf: URL(filePath: path)) { return Array(data) }
        throw RuntimeError(
            .unavailable, step: "read \(path)", cause: "the file is missing or can't be read",
            next: "deploy the function again, or restore the state directory from a backup")
    }

    private func write(_ bytes: [UInt8], to path: String, mode: UInt32) throws(RuntimeError) {
        do {
            let file = try FileDescriptor.open(path, flags: O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: mode)
            try file.write(bytes, path)
            try file.sync(path)
        } catch {
            _ = unsafe unlink(path)
            throw full("write \(path)", error.code)
        }
    }

    private func make(_ directory: String) throws(RuntimeError) {
        guard unsafe mkdir(directory, 0o755) != 0, errno != EEXIST else { return }
        throw full("make \(directory)", errno)
    }

    private func discard(_ path: String) { try? FileManager.default.removeItem(atPath: path) }

    private func full(_ step: String, _ code: CInt) -> RuntimeError {
        RuntimeError(
            .insufficientStorage, step: step, cause: SystemError.text(of: code),
            next: "free space on the disk of the state directory, and memory for the plain copies of functions")
    }
}
