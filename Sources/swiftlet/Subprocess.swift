// Other programs, run to their end.
internal import Glibc

/// Runs a tool to its end and keeps what it said.
enum Subprocess {
    static func run(_ tool: String, _ arguments: [String]) throws(PluginBuildError) -> (status: Int32, output: String) {
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else { throw PluginBuildError(step: "pipe", cause: lastError()) }
        // The child gets a copy without this flag; the originals must not reach it, or the reader waits for ever.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let spawned = spawn(tool, arguments, output: ends[1])
        close(ends[1])
        defer { close(ends[0]) }
        guard case .success(let child) = spawned else {
            throw PluginBuildError(
                step: tool,
                cause: "can't start it: install it (Swift 6.3 for swiftc, build-essential for cc) and put it on PATH")
        }
        let output = readAll(ends[0])
        var status: Int32 = 0
        while unsafe waitpid(child, &status, 0) < 0 && errno == EINTR {}
        let signal = status & 0x7f
        return (signal == 0 ? (status >> 8) & 0xff : 128 + signal, output)
    }

    private struct NotStarted: Error {}

    private static func spawn(_ tool: String, _ arguments: [String], output: Int32) -> Result<pid_t, NotStarted> {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, output, 1)
        unsafe posix_spawn_file_actions_adddup2(&actions, output, 2)
        var argv = unsafe ([tool] + arguments).map { unsafe strdup($0) }
        defer { unsafe argv.forEach { unsafe free($0) } }
        unsafe argv.append(nil)
        var child: pid_t = 0
        let result = unsafe posix_spawnp(&child, tool, &actions, nil, argv, environ)
        return result == 0 ? .success(child) : .failure(NotStarted())
    }

    private static func readAll(_ descriptor: Int32) -> String {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = unsafe read(descriptor, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return String(decoding: all, as: UTF8.self) }
            all += buffer[..<count]
        }
    }
}

func lastError() -> String { unsafe String(cString: strerror(errno)) }
