// Is a deployment's file still what was deployed: its description each time it is loaded, its bytes when that has changed.
package import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform

package enum ArtefactCheck {
    /// What is wrong with the files of a deployment; nil: nothing that their sizes, times and numbers tell. Reads none.
    package static func fault(in directory: String, _ files: [ArtefactFile]) -> String? {
        for file in files {
            guard let stamp = stamp(of: "\(directory)/\(file.name)") else { return "its file \(file.name) is missing" }
            guard stamp != file.stamp else { continue }
            return "its file \(file.name) was changed after it was deployed ("
                + (stamp.bytes != file.stamp.bytes
                    ? "\(stamp.bytes) bytes, \(file.stamp.bytes) were deployed" : "its time or number differs")
                + "); deploy it again, or restart the host if it is a copy: its SHA-256 is compared then"
        }
        return nil
    }

    /// The same files with new stamps where the bytes are those that were deployed all the same: after a restored backup,
    /// for instance. Reads each file whose stamp differs.
    package static func restamped(in directory: String, _ files: [ArtefactFile]) -> [ArtefactFile] {
        files.map { file in
            let path = "\(directory)/\(file.name)"
            guard let stamp = stamp(of: path), stamp != file.stamp, sha256(of: path) == file.sha256 else { return file }
            var file = file
            file.stamp = stamp
            return file
        }
    }

    static func files(in directory: String, _ digests: [(name: String, sha256: String)]) -> [ArtefactFile] {
        digests.compactMap { name, sha256 in
            stamp(of: "\(directory)/\(name)").map { ArtefactFile(name: name, sha256: sha256, stamp: $0) }
        }
    }

    /// Whether these are the files there, and no others.
    static func holds(_ directory: String, _ digests: [(name: String, sha256: String)]) -> Bool {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return names.sorted() == digests.map(\.name).sorted()
            && digests.allSatisfy { sha256(of: "\(directory)/\($0.name)") == $0.sha256 }
    }

    private static func stamp(of path: String) -> FileStamp? {
        var info = stat()
        guard unsafe lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return nil }
        return FileStamp(
            bytes: UInt64(info.st_size),
            modified: Int64(info.st_mtim.tv_sec) * 1_000_000_000 + Int64(info.st_mtim.tv_nsec),
            inode: UInt64(info.st_ino))
    }

    /// Nil when it can't be read.
    package static func sha256(of path: String) -> String? {
        guard let file = try? FileDescriptor.open(path, flags: O_RDONLY | O_NOFOLLOW) else { return nil }
        var digest = Digest()
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = unsafe read(file.raw, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { return nil }
            guard count > 0 else { return digest.finish() }
            unsafe digest.add(buffer.span.bytes.extracting(0..<count))
        }
    }
}
