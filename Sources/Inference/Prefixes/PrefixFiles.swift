// Sealed prefixes as files of one directory; what an earlier host left there nobody can open, and it goes at the start.
internal import FoundationEssentials
internal import Glibc
package import Core
internal import Platform

/// Called on the queue for work that blocks, but for `init`.
package struct PrefixFiles: Sendable {
    private let directory: String

    /// Empties the directory, or makes it.
    package init(stateDirectory: String) throws(RuntimeError) {
        directory = "\(stateDirectory)/prefixes"
        try? FileManager.default.removeItem(atPath: directory)
        guard unsafe mkdir(directory, 0o700) == 0 else {
            throw RuntimeError(
                .insufficientStorage, step: "make \(directory)", cause: SystemError.text(of: errno),
                next: "choose a state directory that can be written, with --state")
        }
    }

    private func path(_ name: String) -> String { "\(directory)/\(name)" }

    /// Under its name when it is whole, or not at all. Returns false after a log line.
    func write(_ state: [UInt8], name: String, seal: PrefixSeal) -> Bool {
        guard let sealed = seal.seal(state, name: name) else { return complain("seal", name, "no memory") }
        let new = path(name) + ".new"
        do {
            try FileDescriptor.open(new, flags: O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600).write(sealed, new)
        } catch {
            _ = unsafe unlink(new)
            return complain("write", name, "\(error)")
        }
        guard unsafe rename(new, path(name)) == 0 else { return complain("rename", name, SystemError.text(of: errno)) }
        return true
    }

    /// Nil after a log line: it is gone, cut, or not what was sealed.
    func read(name: String, bytes: Int, seal: PrefixSeal) -> [UInt8]? {
        guard let data = try? Data(contentsOf: URL(filePath: path(name))) else {
            _ = complain("read", name, "it can't be read")
            return nil
        }
        guard let state = seal.open(Array(data), name: name), state.count == bytes else {
            _ = complain("open", name, "it is not what was sealed: cut, or tampered with")
            return nil
        }
        return state
    }

    func delete(name: String) { _ = unsafe unlink(path(name)) }

    private func complain(_ step: String, _ name: String, _ cause: String) -> Bool {
        Log.error(
            "a prefix on disk is lost; it is read again", [("step", step), ("file", path(name)), ("cause", cause)])
        return false
    }
}
