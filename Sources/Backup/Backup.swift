// swiftlet backup: one file with everything that a host needs to come back, made beside it while it runs. Restore.swift is next.
package import Audit
internal import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform
internal import Registry
internal import Storage

package struct BackupSummary: Sendable {
    package let files: Int
    package let bytes: Int
    package let audit: AuditPoint?
    package let leftOut: [String]
}

package enum Backup {
    /// What a host makes anew, or what is of no use elsewhere.
    private static let passing: Set<String> = ["lock", "staging", "prefixes", "artefacts", "audit"]
    private static let tries = 5

    /// Writes a backup of a state directory to a file that doesn't exist yet.
    ///
    /// Databases are copied first, by SQLite and each at one moment; then the artefacts that the copied registry names; then the
    /// audit log, which so knows every act that is in the copies and was acknowledged.
    package static func make(of state: String, to target: String, version: String) throws -> BackupSummary {
        guard unsafe access("\(state)/registry.db", F_OK) == 0 else {
            throw RuntimeError(
                .notFound, step: "back up \(state)", cause: "there is no \(state)/registry.db",
                next: "name the host's state directory with --state")
        }
        guard unsafe access(target, F_OK) != 0 else {
            throw RuntimeError(
                .conflict, step: "back up to \(target)", cause: "there is such a file",
                next: "choose another name; a backup replaces nothing")
        }
        let work = "\(target).work-\(getpid())"
        let part = "\(target).part-\(getpid())"
        defer {
            try? FileManager.default.removeItem(atPath: work)
            _ = unsafe unlink(part)
        }
        do {
            let summary = try write(state, work: work, part: part, version: version)
            try libc("link(\(target))") { unsafe link(part, target) }
            try WholeFiles.syncFolder(of: target)
            return summary
        } catch let error as SystemError {
            throw RuntimeError(
                .insufficientStorage, step: "back up \(state) to \(target)", cause: "\(error)",
                next:
                    "free space there, or run it as a user who may read the state and write the file; no backup was made"
            )
        }
    }

    private static func write(_ state: String, work: String, part: String, version: String) throws -> BackupSummary {
        for _ in 0..<tries {
            if let summary = try attempt(state, work: work, part: part, version: version) { return summary }
        }
        throw vanished(state)
    }

    /// Nil when a deployment replaced another between two looks, and its files went.
    private static func attempt(_ state: String, work: String, part: String, version: String) throws -> BackupSummary? {
        try? FileManager.default.removeItem(atPath: work)
        try libc("mkdir(\(work))") { unsafe mkdir(work, 0o700) }
        let databases = try copyDatabases(state, to: work)
        guard let artefacts = try artefacts(state, Registry(stateDirectory: work).snapshot.digests) else { return nil }
        let archive = try ArchiveWriter(part)
        var contents = BackupContents(version: version, createdAt: WallClock.milliseconds)
        let sources = databases.map { ($0, "\(work)/\($0)") } + artefacts.map { ($0, "\(state)/\($0)") }
        guard try addAll(sources, to: archive, &contents), try keysAreTheSame(state, work) else { return nil }
        var head: AuditPoint?
        if unsafe access("\(state)/audit/head", F_OK) == 0 {
            let log = try AuditTransfer.files(of: state)
            for file in log.files { try add(file.name, file.path, bytes: file.bytes, to: archive, &contents) }
            contents.audit = .init(start: "\(log.start)", end: "\(log.end)")
            head = log.end
        }
        contents.leftOut = leftOut(of: state)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        try archive.add(BackupContents.name, Array(try encoder.encode(contents)))
        try archive.finish()
        return BackupSummary(
            files: contents.files.count, bytes: contents.files.reduce(0) { $0 + $1.bytes }, audit: head,
            leftOut: contents.leftOut)
    }

    /// False when the tenants' keys changed since they were copied: an artefact may be sealed with one that the copy doesn't know.
    private static func keysAreTheSame(_ state: String, _ work: String) throws -> Bool {
        let (copied, now) = ("\(work)/vault.db", "\(work)/vault.now")
        guard unsafe access(copied, F_OK) == 0 else { return true }
        try Database(path: "\(state)/vault.db").run("VACUUM INTO ?1", [now])
        return FileManager.default.contentsEqual(atPath: copied, andPath: now)
    }

    /// False when a file is gone.
    private static func addAll(
        _ sources: [(name: String, path: String)], to archive: borrowing ArchiveWriter, _ contents: inout BackupContents
    ) throws(SystemError) -> Bool {
        do throws(SystemError) {
            for (name, path) in sources { try add(name, path, to: archive, &contents) }
            return true
        } catch {
            guard error.code == ENOENT else { throw error }
            return false
        }
    }

    private static func copyDatabases(_ state: String, to work: String) throws -> [String] {
        let names = try names(in: state).filter(BackupContents.isDatabase)
        for name in names {
            let database = try Database(path: "\(state)/\(name)")
            try database.check()
            try database.run("VACUUM INTO ?1", ["\(work)/\(name)"])
        }
        return names
    }

    /// Names below the state directory; nil when one is missing.
    private static func artefacts(_ state: String, _ digests: [String: Set<String>]) throws -> [String]? {
        var found: [String] = []
        for (tenant, digests) in digests.sorted(by: { $0.key < $1.key }) {
            for digest in digests.sorted() {
                let folder = "artefacts/\(tenant)/\(digest)"
                let files = (try? names(in: "\(state)/\(folder)")) ?? []
                guard !files.isEmpty else { return nil }
                found += files.map { "\(folder)/\($0)" }
            }
        }
        return found
    }

    private static func add(
        _ name: String, _ path: String, bytes: Int? = nil, to archive: borrowing ArchiveWriter,
        _ contents: inout BackupContents
    ) throws(SystemError) {
        let file = try FileDescriptor.open(path, flags: O_RDONLY)
        var info = stat()
        let raw = file.raw
        try libc("fstat(\(path))") { unsafe fstat(raw, &info) }
        let size = bytes ?? Int(info.st_size)
        let sum = try archive.add(name, from: file, bytes: size)
        contents.files.append(.init(name: name, bytes: size, sha256: sum))
    }

    private static func leftOut(of state: String) -> [String] {
        let names = (try? names(in: state)) ?? []
        return names.filter { name in
            !passing.contains(name) && !BackupContents.isDatabase(name)
                && !name.hasSuffix(".db-wal") && !name.hasSuffix(".db-shm")
        }
    }

    private static func vanished(_ state: String) -> RuntimeError {
        RuntimeError(
            .unavailable, step: "back up \(state)",
            cause:
                "files of deployments went, or keys and secrets changed, while they were copied, \(tries) times in a row",
            next: "try again while less is deployed; if it stays, look into artefacts/ for what `swiftlet ls` lists")
    }
}

/// In order.
func names(in directory: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
}
