// One SQLite connection and its statements, owned so that each is closed once.
package import Core
internal import CSQLite

/// An open database, for one thread at a time: whoever shares it holds a lock around each use.
// SAFETY: the pointers are private; the connection's is set once, and the owner's lock guards the kept statements.
@safe package final class Database: @unchecked Sendable {
    /// More different statements than any room has; one that writes its values into the text would fill memory else.
    private static let keptStatements = 64
    private static let isTuned: Bool = csqlite_count_no_memory() == SQLITE_OK

    private let handle: OpaquePointer
    package let path: String
    /// Prepared ones that nobody runs now, by their text.
    private var kept: [String: OpaquePointer] = unsafe [:]

    /// - Parameters:
    ///   - survivesPowerLoss: false: what is written survives the program's end, and not the machine's.
    ///   - patience: milliseconds to wait for another connection's lock.
    package init(path: String, survivesPowerLoss: Bool = true, patience: Int32 = 5000) throws(RuntimeError) {
        _ = Self.isTuned
        var handle: OpaquePointer?
        // Without SQLite's own lock on each call: the owner holds one.
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX
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
        unsafe sqlite3_busy_timeout(opened, patience)
        try run("PRAGMA journal_mode=WAL")
        try run("PRAGMA synchronous=\(survivesPowerLoss ? "FULL" : "NORMAL")")
        try run("PRAGMA foreign_keys=ON")
        try checkWhenSmall()
        // What is deleted is overwritten: a deleted tenant's manifest must not lie in a free page.
        try run("PRAGMA secure_delete=ON")
    }

    deinit {
        // Not a loop: swift-format joins the words of `for unsafe`.
        unsafe kept.values.forEach { unsafe sqlite3_finalize($0) }
        unsafe sqlite3_close_v2(handle)
    }

    // MARK: statements

    /// Runs one statement that is kept prepared for its next run: its text must not carry values.
    ///
    /// `row` may run other statements, and the same one.
    package func execute(
        _ sql: String, _ values: [SQLValue] = [], row: (borrowing Row) throws(RuntimeError) -> Void = { _ in }
    ) throws(RuntimeError) {
        let statement = unsafe try take(sql)
        defer { unsafe keep(statement, sql) }
        for (index, value) in values.enumerated() {
            guard unsafe bind(value, to: statement, at: Int32(index + 1)) == SQLITE_OK else { throw failure(sql) }
        }
        while true {
            switch unsafe sqlite3_step(statement) {
            case SQLITE_DONE: return
            case SQLITE_ROW: try row(unsafe Row(statement))
            default: throw failure(sql)
            }
        }
    }

    /// Runs one statement, kept as by `execute`, once for each of many elements; for inserts, since it shows no rows.
    ///
    /// - Parameter bind: gives the statement its values of one element, in their order.
    package func execute<Element>(
        _ sql: String, each elements: [Element], bind: (inout Binding, Element) -> Void
    ) throws(RuntimeError) {
        let statement = unsafe try take(sql)
        defer { unsafe keep(statement, sql) }
        var binding = unsafe Binding(statement)
        for element in elements {
            binding.begin()
            bind(&binding, element)
            guard binding.isWhole, unsafe sqlite3_step(statement) == SQLITE_DONE else { throw failure(sql) }
            unsafe sqlite3_reset(statement)
        }
    }

    /// Runs one statement once, with text parameters; `row` sees each row's columns as text.
    package func run(
        _ sql: String, _ parameters: [String] = [], row: ([String]) throws(RuntimeError) -> Void = { _ in }
    ) throws(RuntimeError) {
        let statement = unsafe try prepare(sql, for: 0)
        defer { unsafe sqlite3_finalize(statement) }
        for (index, value) in parameters.enumerated() {
            guard unsafe bind(.text(value), to: statement, at: Int32(index + 1)) == SQLITE_OK else {
                throw failure(sql)
            }
        }
        while true {
            switch unsafe sqlite3_step(statement) {
            case SQLITE_DONE: return
            case SQLITE_ROW:
                let columns = unsafe Row(statement)
                try row((0..<columns.count).map { columns.text($0) })
            default: throw failure(sql)
            }
        }
    }

    /// Runs `body` in one transaction: all of it is stored, or nothing.
    package func transaction(_ body: () throws(RuntimeError) -> Void) throws(RuntimeError) {
        try execute("BEGIN IMMEDIATE")
        do throws(RuntimeError) {
            try body()
            try execute("COMMIT")
        } catch {
            // SQLite may have rolled back itself, e.g. when the disk is full.
            if unsafe sqlite3_get_autocommit(handle) == 0 { try? execute("ROLLBACK") }
            throw error
        }
    }

    /// Rows that the last INSERT, UPDATE or DELETE touched.
    package var changes: Int { Int(unsafe sqlite3_changes64(handle)) }

    /// The row number of the last INSERT.
    package var lastRow: Int64 { unsafe sqlite3_last_insert_rowid(handle) }

    // MARK: inside

    /// A kept statement, or a new one to keep. Whoever runs it owns it: a second run meanwhile prepares another.
    private func take(_ sql: String) throws(RuntimeError) -> OpaquePointer {
        if let ready = unsafe kept.removeValue(forKey: sql) { return unsafe ready }
        return unsafe try prepare(sql, for: UInt32(SQLITE_PREPARE_PERSISTENT))
    }

    private func prepare(_ sql: String, for flags: UInt32) throws(RuntimeError) -> OpaquePointer {
        var statement: OpaquePointer?
        guard unsafe sqlite3_prepare_v3(handle, sql, -1, flags, &statement, nil) == SQLITE_OK,
            let prepared = unsafe statement
        else { throw failure(sql) }
        return unsafe prepared
    }

    private func keep(_ statement: OpaquePointer, _ sql: String) {
        // Its error was seen at the step; a statement that isn't reset holds its locks.
        _ = unsafe sqlite3_reset(statement)
        _ = unsafe sqlite3_clear_bindings(statement)
        guard unsafe kept[sql] == nil, unsafe kept.count < Self.keptStatements else {
            unsafe sqlite3_finalize(statement)
            return
        }
        unsafe kept[sql] = statement
    }

    private func bind(_ value: SQLValue, to statement: OpaquePointer, at place: Int32) -> Int32 {
        switch value {
        case .null: unsafe sqlite3_bind_null(statement, place)
        case .integer(let number): unsafe sqlite3_bind_int64(statement, place, number)
        case .real(let number): unsafe sqlite3_bind_double(statement, place, number)
        case .text(let text):
            unsafe sqlite3_bind_text(statement, place, text, Int32(clamping: text.utf8.count), csqlite_transient())
        case .blob(let bytes):
            // No bytes have no address, and an address of nil would mean NULL.
            bytes.isEmpty
                ? unsafe sqlite3_bind_zeroblob(statement, place, 0)
                : unsafe sqlite3_bind_blob64(statement, place, bytes, UInt64(bytes.count), csqlite_transient())
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
                next: "nothing was written to it: keep a copy, and restore the state directory from a backup with "
                    + "`swiftlet restore` (docs/backup.md)")
        case SQLITE_BUSY, SQLITE_LOCKED:
            let holder = FileHolders.text(of: path)
            return RuntimeError(
                .unavailable, step: "\(verb) in \(path)", cause: holder.map { "\(cause) by \($0)" } ?? cause,
                next: holder == nil
                    ? "end the program that holds the file, then try again" : "end that program, then try again")
        default:
            return RuntimeError(
                .unavailable, step: "\(verb) in \(path)", cause: cause,
                next: "check that the state directory is writable and that no other program holds the file")
        }
    }
}
