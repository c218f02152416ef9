// Whether a database's file is sound: asked before anything is read from it or written to it.
package import Core
internal import Glibc

extension Database {
    /// Files up to this size are checked whenever they are opened; a larger one takes seconds.
    static let checkedAtOpening = 64 << 20

    /// Reads the whole file. Throws when a page of it is not what SQLite wrote.
    package func check() throws(RuntimeError) {
        var words: [String] = []
        do throws(RuntimeError) {
            try run("PRAGMA quick_check(3)") { words.append($0[0]) }
        } catch  where error.code == .internalError {
            words = [error.cause]
        }
        guard words != ["ok"] else { return }
        throw RuntimeError(
            .internalError, step: "check \(path) (PRAGMA quick_check)", cause: words.joined(separator: "; "),
            next: "nothing was written to it: keep a copy, and restore the state directory from a backup with "
                + "`swiftlet restore` (docs/backup.md)")
    }

    func checkWhenSmall() throws(RuntimeError) {
        var info = stat()
        guard unsafe stat(path, &info) == 0, info.st_size <= Self.checkedAtOpening else { return }
        try check()
    }
}
