// swiftlet restore: a state directory out of a backup, all of it or nothing.
internal import Audit
internal import CLinux
internal import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform
internal import Storage

package enum Restore {
    /// Reads the backup twice: first every sum is compared and nothing is written; then it is unpacked beside `state`, which
    /// must not hold anything, and takes its name at last.
    package static func run(_ backup: String, to state: String) throws -> BackupSummary {
        try checkTarget(state)
        let new = "\(state).restoring-\(getpid())"
        do {
            let contents = try verify(backup)
            try libc("mkdir(\(new))") { unsafe mkdir(new, 0o755) }
            try unpack(backup, to: new, contents)
            for file in contents.files where BackupContents.isDatabase(file.name) {
                try Database(path: "\(new)/\(file.name)").check()
            }
            try adoptAudit(contents, backup, new)
            sync()
            try libc("rename(\(new), \(state))") { unsafe rename(new, state) }
            try WholeFiles.syncFolder(of: state)
            return BackupSummary(
                files: contents.files.count, bytes: contents.files.reduce(0) { $0 + $1.bytes },
                audit: contents.audit.flatMap { AuditPoint($0.end) }, leftOut: contents.leftOut)
        } catch {
            try? FileManager.default.removeItem(atPath: new)
            throw explain(error, backup, state)
        }
    }

    private static func checkTarget(_ state: String) throws(RuntimeError) {
        guard unsafe access(state, F_OK) == 0 else { return }
        if let lock = try? FileDescriptor.open("\(state)/lock", flags: O_RDWR), clinux_try_lock(lock.raw) != 0 {
            throw RuntimeError(
                .conflict, step: "restore to \(state)", cause: "a host uses this state directory",
                next: "restore to a directory of its own, and start another host with it")
        }
        guard (try? names(in: state))?.isEmpty == true else {
            throw RuntimeError(
                .conflict, step: "restore to \(state)", cause: "it is not an empty directory",
                next: "name one that doesn't exist: a restore overwrites nothing")
        }
    }

    /// Compares everything with the manifest.
    private static func verify(_ backup: String) throws -> BackupContents {
        let archive = try ArchiveReader(backup)
        var seen: [BackupContents.File] = []
        var manifest: [UInt8] = []
        var isManifest = false
        while let file = try archive.next(
            { name, size in
                guard !isManifest else { throw ArchiveReader.Fault(cause: "there are files behind its manifest") }
                isManifest = name == BackupContents.name
                guard isManifest || BackupContents.isAllowed(name) else {
                    throw ArchiveReader.Fault(cause: "\(Names.quoted(name)) has no place in a backup")
                }
                guard !isManifest || size <= BackupContents.largest else {
                    throw ArchiveReader.Fault(cause: "its manifest is too large")
                }
            }, { piece in if isManifest { unsafe piece.withUnsafeBytes { unsafe manifest.append(contentsOf: $0) } } })
        {
            if !isManifest { seen.append(.init(name: file.name, bytes: file.size, sha256: file.sha256)) }
        }
        guard isManifest else { throw ArchiveReader.Fault(cause: "it has no manifest") }
        guard let contents = try? JSONDecoder().decode(BackupContents.self, from: Data(manifest)) else {
            throw ArchiveReader.Fault(cause: "its manifest can't be read")
        }
        guard contents.format == BackupContents.format else {
            throw ArchiveReader.Fault(
                cause: "its format is \(contents.format), and this program knows \(BackupContents.format)")
        }
        for (found, wanted) in zip(seen, contents.files) where found != wanted {
            throw ArchiveReader.Fault(
                cause: "\(Names.quoted(found.name)) is not what the manifest says: SHA-256 \(found.sha256), and "
                    + "\(wanted.sha256) of \(Names.quoted(wanted.name)) is expected")
        }
        guard seen.count == contents.files.count, contents.files.contains(where: { $0.name == "registry.db" }),
            Set(seen.map(\.name)).count == seen.count
        else { throw ArchiveReader.Fault(cause: "files are missing, or there more than once") }
        return contents
    }

    private static func unpack(_ backup: String, to new: String, _ contents: BackupContents) throws {
        let archive = try ArchiveReader(backup)
        for wanted in contents.files {
            var file: FileDescriptor?
            let found = try archive.next(
                { name, _ in
                    guard name == wanted.name else { throw ArchiveReader.Fault(cause: "it changed while it was read") }
                    try makeFolders(of: name, in: new)
                    let mode: UInt32 = name.hasPrefix("artefacts/") ? 0o444 : 0o600
                    file = try FileDescriptor.open("\(new)/\(name)", flags: O_WRONLY | O_CREAT | O_EXCL, mode: mode)
                },
                { piece in
                    let raw = file?.raw ?? -1
                    try write(piece, to: raw, wanted.name)
                })
            guard found?.sha256 == wanted.sha256 else {
                throw ArchiveReader.Fault(cause: "it changed while it was read")
            }
        }
    }

    private static func makeFolders(of name: String, in new: String) throws(SystemError) {
        var path = new
        for part in name.split(separator: "/").dropLast() {
            path += "/\(part)"
            try libc("mkdir(\(path))") { unsafe mkdir(path, 0o755) == 0 || errno == EEXIST ? 0 : -1 }
        }
    }

    private static func write(_ piece: RawSpan, to file: CInt, _ name: String) throws(SystemError) {
        var done = 0
        while done < piece.byteCount {
            let rest = piece.extracting(done..<piece.byteCount)
            done += try libc("write(\(name))") {
                unsafe rest.withUnsafeBytes { unsafe Glibc.write(file, $0.baseAddress, $0.count) }
            }
        }
    }

    private static func adoptAudit(_ contents: BackupContents, _ backup: String, _ new: String) throws {
        guard let audit = contents.audit else { return }
        guard let start = AuditPoint(audit.start), let end = AuditPoint(audit.end) else {
            throw ArchiveReader.Fault(cause: "what its manifest says of the audit log can't be read")
        }
        let event = AuditEvent(
            actor: "operator", act: "audit.restored", target: "\(end)",
            detail: "from a backup of \(contents.createdAt) ms, with a new anchor key")
        try AuditTransfer.adopt(state: new, start: start, end: end, event: event)
    }

    private static func explain(_ error: any Error, _ backup: String, _ state: String) -> any Error {
        switch error {
        case let fault as ArchiveReader.Fault:
            RuntimeError(
                .badRequest, step: "restore \(backup)", cause: fault.cause,
                next: "take another backup; nothing was written to \(state)")
        case let error as SystemError:
            RuntimeError(
                .insufficientStorage, step: "restore \(backup) to \(state)", cause: "\(error)",
                next: "free space beside it, and run it as a user who may write there; nothing was left behind")
        default: error
        }
    }
}
