// The archive of a deployment: unpacked for real, into a directory in memory, and packed and unpacked again.
import Core
import Glibc

@testable import PluginHost

extension Target {
    static let tar = Target(name: "tar") { bytes in
        check(bytes)
        check(withChecksums(bytes))
    }

    private static let bounds = TarReader.Bounds(files: 8, bytes: 64 << 10)

    private static func check(_ archive: [UInt8]) {
        let room = Room()
        guard let entries = room.unpack(archive, bounds) else {
            return require(room.bytes <= Int(bounds.bytes), "a refused archive stays below the bound on disk")
        }
        require(room.names == entries.map(\.name).sorted(), "what is listed is what is there")
        require(entries.count <= bounds.files && room.bytes <= Int(bounds.bytes), "the bounds hold")
        for entry in entries { require(Names.isFileName(entry.name), "\(Names.quoted(entry.name)) is a plain name") }
        let second = Room()
        let again = room.pack(entries.map(\.name)).flatMap { second.unpack($0, bounds) }
        require(again?.map(\.digest) == entries.map(\.digest), "what was unpacked packs and unpacks to the same")
    }

    /// The same archive with right checksums: a mutation can't guess them, an attacker can compute them.
    private static func withChecksums(_ archive: [UInt8]) -> [UInt8] {
        var archive = archive
        var at = 0
        while at + 512 <= archive.count {
            for index in 148..<156 { archive[at + index] = 0x20 }
            var sum = archive[at..<at + 512].reduce(0) { $0 + Int($1) }
            for index in (148..<154).reversed() {
                archive[at + index] = UInt8(0x30 + sum % 8)
                sum /= 8
            }
            archive[at + 154] = 0
            let size = archive[at + 124..<at + 135].reduce(0) { $0 << 3 | Int($1 & 7) }
            at += 512 + (size + 511) / 512 * 512
        }
        return archive
    }
}

/// A directory that is gone with this object.
private final class Room {
    private let path: String

    init() {
        var name = Array("/dev/shm/swiftlet-fuzz.XXXXXX".utf8CString)
        let made = unsafe name.withUnsafeMutableBufferPointer { buffer -> String? in
            guard let base = buffer.baseAddress, let made = unsafe mkdtemp(base) else { return nil }
            return unsafe String(cString: made)
        }
        guard let made else { fatalError("mkdtemp in /dev/shm: errno \(errno)") }
        path = made
        unsafe mkdir("\(path)/files", 0o700)
    }

    deinit {
        for name in names { unsafe unlink("\(path)/files/\(name)") }
        unsafe unlink("\(path)/archive")
        unsafe rmdir("\(path)/files")
        require(unsafe rmdir(path) == 0, "nothing is written beside the directory")
    }

    var names: [String] {
        guard let directory = unsafe opendir("\(path)/files") else { return [] }
        defer { unsafe closedir(directory) }
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    var bytes: Int {
        names.reduce(0) { sum, name in
            var info = stat()
            unsafe lstat("\(path)/files/\(name)", &info)
            require(info.st_mode & S_IFMT == S_IFREG, "only regular files are made")
            return sum + Int(info.st_size)
        }
    }

    func unpack(_ archive: [UInt8], _ bounds: TarReader.Bounds) -> [TarReader.Entry]? {
        write(archive)
        return try? TarReader.unpack("\(path)/archive", into: "\(path)/files", bounds: bounds)
    }

    /// The bytes of an archive of these files.
    func pack(_ names: [String]) -> [UInt8]? {
        let files = names.map { (name: $0, path: "\(path)/files/\($0)") }
        guard (try? TarWriter.write(files, to: "\(path)/archive")) != nil else { return nil }
        guard let stream = unsafe fopen("\(path)/archive", "r") else { return nil }
        defer { unsafe fclose(stream) }
        var bytes = [UInt8](repeating: 0, count: 1 << 18)
        let count = unsafe fread(&bytes, 1, bytes.count, stream)
        return Array(bytes[..<count])
    }

    private func write(_ archive: [UInt8]) {
        guard let stream = unsafe fopen("\(path)/archive", "w") else { fatalError("fopen: errno \(errno)") }
        unsafe fwrite(archive, 1, archive.count, stream)
        unsafe fclose(stream)
    }
}
