// Where the log lies below a state directory, and the few things that are done to its files.
internal import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform

struct AuditPlace: Sendable {
    let state: String

    var directory: String { "\(state)/audit" }
    var archive: String { "\(directory)/archive" }
    var head: String { "\(directory)/head" }
    /// Not beside the log: who gets the one by mistake doesn't have the other.
    var key: String { "\(state)/audit.key" }
    var newKey: String { "\(state)/audit.key.new" }

    /// A segment is called by the number of its first entry.
    func segment(_ first: UInt64) -> String { "\(directory)/\(Self.name(first))" }

    static func name(_ first: UInt64) -> String {
        let number = String(first)
        return String(repeating: "0", count: 20 - number.count) + number + ".log"
    }

    /// First numbers of the segments, in order.
    func segments() throws(SystemError) -> [UInt64] {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: directory) else {
            let code = unsafe access(directory, R_OK) == 0 ? EIO : errno
            guard code == ENOENT else { throw SystemError(call: "opendir(\(directory))", code: code) }
            return []
        }
        return names.compactMap { name in
            guard name.hasSuffix(".log"), let first = UInt64(name.dropLast(4)), Self.name(first) == name else {
                return nil
            }
            return first
        }.sorted()
    }

    /// Nil when there is no such file.
    static func read(_ path: String) throws(SystemError) -> [UInt8]? {
        guard let file = try openExisting(path) else { return nil }
        var info = stat()
        try libc("fstat(\(path))") { unsafe fstat(file.raw, &info) }
        var bytes = [UInt8](repeating: 0, count: Int(info.st_size))
        var have = 0
        while have < bytes.count {
            let count = try libc("read(\(path))") {
                unsafe bytes.withUnsafeMutableBytes {
                    unsafe Glibc.read(file.raw, $0.baseAddress?.advanced(by: have), $0.count - have)
                }
            }
            guard count > 0 else { return Array(bytes[..<have]) }
            have += count
        }
        return bytes
    }

    private static func openExisting(_ path: String) throws(SystemError) -> FileDescriptor? {
        do throws(SystemError) {
            return try FileDescriptor.open(path, flags: O_RDONLY)
        } catch {
            guard error.code == ENOENT else { throw error }
            return nil
        }
    }

    static func write(_ bytes: [UInt8], to file: borrowing FileDescriptor, at place: Int, _ path: String)
        throws(SystemError)
    {
        var done = 0
        while done < bytes.count {
            done += try libc("write(\(path))") {
                unsafe bytes.withUnsafeBytes {
                    unsafe pwrite(file.raw, $0.baseAddress?.advanced(by: done), bytes.count - done, off_t(place + done))
                }
            }
        }
    }

    static func sync(_ file: borrowing FileDescriptor, _ path: String) throws(SystemError) {
        try libc("fdatasync(\(path))") { fdatasync(file.raw) }
    }

    static func make(_ directory: String) throws(SystemError) {
        try libc("mkdir(\(directory))") { unsafe mkdir(directory, 0o700) == 0 || errno == EEXIST ? 0 : -1 }
    }

    static func rename(_ old: String, _ new: String) throws(SystemError) {
        try libc("rename(\(old))") { unsafe Glibc.rename(old, new) }
    }

    /// Writes a file that is there whole or not at all.
    static func create(_ path: String, _ bytes: [UInt8]) throws(SystemError) {
        let new = "\(path).tmp"
        let file = try FileDescriptor.open(new, flags: O_WRONLY | O_CREAT | O_TRUNC)
        try write(bytes, to: file, at: 0, new)
        try sync(file, new)
        try rename(new, path)
    }
}
