// Who holds a database's file locked, as far as the kernel tells: for the words of an error only.
internal import Glibc

enum FileHolders {
    /// `pid 42 (sqlite3)`, of other processes; nil when none is seen.
    static func text(of path: String) -> String? {
        guard let locks = read("/proc/locks") else { return nil }
        let inodes = ["", "-wal", "-shm"].compactMap { inode(of: path + $0) }
        let own = getpid()
        var found: [Int32] = []
        for pid in pids(in: locks, of: inodes) where pid != own && !found.contains(pid) { found.append(pid) }
        guard !found.isEmpty else { return nil }
        return found.map { pid in
            let name = read("/proc/\(pid)/comm").map { $0.prefix { $0 != "\n" } } ?? "?"
            return "pid \(pid) (\(name))"
        }.joined(separator: ", ")
    }

    /// Lines are `1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF`; one that waits has `->` behind its number.
    static func pids(in locks: String, of inodes: [UInt64]) -> [Int32] {
        locks.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ").filter { $0 != "->" }
            guard words.count >= 6, let inode = words[5].split(separator: ":").last.flatMap({ UInt64($0) }),
                inodes.contains(inode), let pid = Int32(words[4]), pid > 0
            else { return nil }
            return pid
        }
    }

    private static func inode(of path: String) -> UInt64? {
        var info = stat()
        return unsafe stat(path, &info) == 0 ? UInt64(info.st_ino) : nil
    }

    private static func read(_ path: String) -> String? {
        guard let file = unsafe fopen(path, "re") else { return nil }
        defer { unsafe fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = unsafe fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}
