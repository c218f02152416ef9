// Where the plain copies of tenants' artefacts are while the host runs: in memory, so that no disk ever holds them.
internal import CLinux
internal import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform

enum PlainRoom {
    /// Makes it empty. Call it before the first thread and before root is dropped.
    static func make(_ options: ServeOptions) throws -> String {
        let own = "\(options.state)/plain"
        // Of a host that had no memory to put them into.
        try? FileManager.default.removeItem(atPath: own)
        if unsafe mkdir(own, 0o755) != 0, errno != EEXIST { throw SystemError(call: "mkdir(\(own))", code: errno) }
        // In a namespace of our own it goes with the last process that sees it, however the host ends.
        if geteuid() == 0, unsafe clinux_private_tmpfs(own) == 0 { return own }
        if let shared = try sharedMemory(options) { return shared }
        Log.error(
            "there is no memory file system to be had: while this host runs, tenants' artefacts lie PLAIN on the disk "
                + "(docs/secrets.md)", [("directory", own)])
        return own
    }

    /// Removes it; a host that was killed leaves that to the next one of the same state directory.
    static func remove(_ room: String) {
        let isShared = room.hasPrefix("/dev/shm/")
        try? FileManager.default.removeItem(
            atPath: isShared ? String(room[..<(room.lastIndex(of: "/") ?? room.endIndex)]) : room)
    }

    /// A directory of /dev/shm with a name that nobody can guess, if plugins may be loaded from there.
    private static func sharedMemory(_ options: ServeOptions) throws -> String? {
        guard unsafe clinux_may_load_from_memory("/dev/shm") == 1 else { return nil }
        var digest = Digest()
        digest.add(options.state)
        let ours = "/dev/shm/swiftlet-\(geteuid())-\(digest.finish().prefix(16))"
        try? FileManager.default.removeItem(atPath: ours)
        var random = SystemRandomNumberGenerator()
        let secret = String(random.next(), radix: 16) + String(random.next(), radix: 16)
        // Others may pass through, because each worker is another user, but not list it.
        guard unsafe mkdir(ours, 0o711) == 0, unsafe mkdir("\(ours)/\(secret)", 0o755) == 0 else { return nil }
        if geteuid() == 0 {
            for path in [ours, "\(ours)/\(secret)"] { _ = unsafe chown(path, options.uid, options.uid) }
        }
        return "\(ours)/\(secret)"
    }
}
