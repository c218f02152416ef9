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
        if words == ["ok"], try isCut() { words = ["the file ends in the middle of a page"] }
        guard words != ["ok"] else { return }
        throw RuntimeError(
            .internalError, step: "check \(path) (PRAGMA quick_check)", cause: words.joined(separator: "; "),
            next: "nothing was written to it: keep a copy, and restore the state directory from a backup with "
                + "`swiftlet restore` (docs/backup.md)")
    }

    /// SQLite reads what is missing of a last page as zeros. While there is a log, that has the page.
    private func isCut() throws(RuntimeError) -> Bool {
        var (file, log) = (stat(), stat())
        guard unsafe stat(path, &file) == 0, unsafe stat(path + "-wal", &log) != 0 || log.st_size == 0 else {
            return false
        }
        var page = 0
        try run("PRAGMA page_size") { page = Int($0[0]) ?? 0 }
        return page > 0 && Int(file.st_size) % page != 0
    }

    func checkWhenSmall() throws(RuntimeError) {
        var info = stat()
        guard unsafe stat(path, &info) == 0, info.st_size <= Self.checkedAtOpening else { return }
        try check()
    }
}
