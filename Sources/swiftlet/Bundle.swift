// What `deploy` sends and `sign` signs: the files of a folder or of an archive, always in the same order and with the same bytes.
internal import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform
internal import PluginHost
internal import Signing

struct Bundle {
    let manifest: Manifest
    private(set) var files: [(name: String, path: String)]
    /// Of its own, and gone with `remove`.
    private let scratch: String

    /// - Parameter source: a folder, which is built when it has a `language`, or an archive.
    init(_ source: String) throws {
        scratch = try Self.makeScratch()
        do {
            var folder = source
            if Self.isFile(source) {
                folder = "\(scratch)/unpacked"
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
                _ = try TarReader.unpack(
                    source, into: folder,
                    bounds: .init(files: 64, bytes: PluginAdmission.limit(of: Deployment.platform)))
            }
            manifest = try BuildCommand.readManifest(folder)
            if manifest.language == nil || folder != source {
                files = try Self.files(in: folder)
            } else {
                let built = try BuildCommand.build(manifest, directory: folder, output: "\(scratch)/plugin.so")
                files = [("plugin.so", built), ("swiftlet.json5", "\(folder)/swiftlet.json5")]
                // It says what the sources were made of, so it goes with what is made of them.
                let bill = "\(folder)/\(BillOfMaterials.name)"
                if Self.isFile(bill) { files.append((BillOfMaterials.name, bill)) }
            }
        } catch {
            try? FileManager.default.removeItem(atPath: scratch)
            throw error
        }
    }

    func remove() { try? FileManager.default.removeItem(atPath: scratch) }

    /// Puts a new list and a signature of it in place of those that are there. Returns their paths.
    mutating func sign(by key: borrowing SecretKey, comment: String?) throws -> [(name: String, path: String)] {
        let sums = try files.map { file in
            guard let sha256 = ArtefactCheck.sha256(of: file.path) else {
                throw RuntimeError(
                    .badRequest, step: "sign \(manifest.name)", cause: "\(file.path) can't be read",
                    next: "check its permissions")
            }
            return (name: file.name, sha256: sha256)
        }
        let list = Array(SignedList(sums).file.utf8)
        let time = Int64(Date().timeIntervalSince1970)
        let comment = comment ?? "timestamp:\(time)\tfile:\(SignedList.name)\thashed"
        let signature = try Signature(of: list, by: key, trustedComment: comment)
        files.removeAll { SignedList.names.contains($0.name) }
        var made: [(name: String, path: String)] = []
        for (name, bytes) in [(SignedList.name, list), (SignedList.signatureName, Array(signature.file.utf8))] {
            let path = "\(scratch)/\(name)"
            try Data(bytes).write(to: URL(filePath: path))
            made.append((name, path))
        }
        files += made
        return made
    }

    func write(to archive: String) throws {
        // By rename, so that one that is there is replaced as a whole.
        try TarWriter.write(files.sorted { $0.name < $1.name }, to: "\(archive).new")
        try Bundle.rename("\(archive).new", archive)
    }

    /// One of its own.
    func archive() throws -> String {
        let archive = "\(scratch)/artefact.tar"
        try write(to: archive)
        return archive
    }

    static func rename(_ from: String, _ to: String) throws {
        guard unsafe Glibc.rename(from, to) != 0 else { return }
        throw RuntimeError(
            .insufficientStorage, step: "write \(to)", cause: SystemError.text(of: errno), next: "check the folder")
    }

    static func isFile(_ path: String) -> Bool {
        var info = stat()
        return unsafe stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFREG
    }

    private static func files(in folder: String) throws -> [(name: String, path: String)] {
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            .filter { $0 != "README.md" && !$0.hasPrefix(".") }
            .map { ($0, "\(folder)/\($0)") }
    }

    private static func makeScratch() throws -> String {
        var template = Array("/tmp/swiftlet-deploy-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else {
            throw RuntimeError(
                .insufficientStorage, step: "make a folder in /tmp", cause: String(errno), next: "free space there")
        }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
