// One SQLite connection and its statements, owned so that each is closed once.
package import Core
internal import CSQLite

/// An open database. Used under its owner's lock only.
// SAFETY: the pointer is private, set once, and every use happens under the one lock of its owner.
@safe package final class Database: @unchecked Sendable {
    private let handle: OpaquePointer
    private let path: String

    /// - Parameter survivesPowerLoss: false: what is written survives the program's end, and not the machine's.
    package init(path: String, survivesPowerLoss: Bool = true) throws(RuntimeError) {
        var handle: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX
        let code = unsafe sqlite3_open_v2(path, &handle, flags, nil)
        guard code == SQLITE_OK, let opened = unsafe handle else {
            let cause = unsafe String(cString: sqlite3_errstr(code))
            unsafe sqlite3_close_v2(handle)
            throw RuntimeError(
                .unavailable, step: "open \(path)", cause: cause,
                next: "check that the state directory exists and is writable")
        }
        unsafe self.handle = opened
        self.path = path
        unsafe sqlite3_busy_timeout(opened, 5000)
        try run("PRAGMA journal_mode=WAL")
        try run("PRAGMA synchronous=\(survivesPowerLoss ? "FULL" : "NORMAL")")
        try run("PRAGMA foreign_keys=ON")
        // What is deleted is overwritten: a deleted tenant's manifest must not lie in a free page.
        try run("PRAGMA secure_delete=ON")
    }

    deinit { unsafe sqlite3_close_v2(handle) }

    /// Runs one statement with text and number parameters; `row` sees each row's columns as text.
    package func run(_ sql: String, _ parameters: [String] = [], row: ([String]) throws(RuntimeError) -> Void = { _ in })
        throws(RuntimeError)
    {
        var statement: OpaquePointer?
        guard unsafe sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK else { throw failure(sql) }
        defer { unsafe sqlite3_finalize(statement) }
        for (index, value) in parameters.enumerated() {
            guard unsafe sqlite3_bind_text(statement, Int32(index + 1), value, -1, csqlite_transient()) == SQLITE_OK
            else {
                throw failure(sql)
            }
        }
        while true {
            switch unsafe sqlite3_step(statement) {
            case SQLITE_DONE: return
            case SQLITE_ROW:
                var columns: [String] = []
                for column in 0..<(unsafe sqlite3_column_count(statement)) {
                    guard let text = unsafe sqlite3_column_text(statement, column) else {
                        columns.append("")
                        continue
                    }
                    columns.append(unsafe String(cString: text))
                }
                try row(columns)
            default: throw failure(sql)
            }
        }
    }

    /// Runs `body` in one transaction: all of it is stored, or nothing.
    package func transaction(_ body: () throws(RuntimeError) -> Void) throws(RuntimeError) {
        try run("BEGIN IMMEDIATE")
        do throws(RuntimeError) {
            try body()
            try run("COMMIT")
        } catch {
            try? run("ROLLBACK")
            throw error
        }
    }

    private func failure(_ sql: String) -> RuntimeError {
        let code = unsafe sqlite3_errcode(handle)
        let cause = unsafe String(cString: sqlite3_errmsg(handle))
        let verb = sql.prefix { $0 != " " }.lowercased()
        switch code {
        case SQLITE_FULL, SQLITE_IOERR:
            return RuntimeError(
                .insufficientStorage, step: "\(verb) in \(path)", cause: cause,
                next: "free space on its disk, then try again")
        case SQLITE_NOTADB, SQLITE_CORRUPT:
            return RuntimeError(
                .internalError, step: "read \(path)", cause: cause,
                next: "restore the file from a backup; nothing was written to it")
        default:
            return RuntimeError(
                .unavailable, step: "\(verb) in \(path)", cause: cause,
                next: "check that the state directory is writable and that no other program holds the file")
        }
    }
}
