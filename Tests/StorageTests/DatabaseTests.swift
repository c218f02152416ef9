// SQLite behind its wrapper: what was bound comes back, kept statements serve again, and each failure says why.
import Core
import Storage
import TestSupport
import Testing

private func failure(_ body: () throws(RuntimeError) -> Void) -> RuntimeError? {
    do throws(RuntimeError) {
        try body()
        return nil
    } catch {
        return error
    }
}

struct DatabaseTests {
    @Test func eachTypeComesBackAsItWasBound() throws {
        let scratch = try Scratch()
        defer { withExtendedLifetime(scratch) {} }
        let database = try Database(path: scratch.file("x.db"))
        try database.execute("CREATE TABLE t (i INTEGER, r REAL, s TEXT, b BLOB, n TEXT, e BLOB) STRICT")
        let text = "a\0b \u{1F600}"
        let bytes: [UInt8] = [0, 255, 1]
        try database.execute(
            "INSERT INTO t VALUES (?1,?2,?3,?4,?5,?6)",
            [.integer(.min), .real(0.5), .text(text), .blob(bytes), .null, .blob([])])
        #expect(database.changes == 1 && database.lastRow == 1)
        var seen = 0
        try database.execute("SELECT i,r,s,b,n,e FROM t") { row in
            seen += 1
            #expect(row.count == 6 && row.integer(0) == .min && row.real(1) == 0.5 && row.text(2) == text)
            #expect(row.blob(3) == bytes && row.isNull(4) && row.text(4) == "" && !row.isNull(5) && row.blob(5) == [])
        }
        #expect(seen == 1)
        #expect(SQLValue(UInt64.max) == .integer(.max) && SQLValue(nil as String?) == .null && SQLValue(true) == 1)
    }

    @Test func aKeptStatementForgetsWhatWasBound() throws {
        let scratch = try Scratch()
        defer { withExtendedLifetime(scratch) {} }
        let database = try Database(path: scratch.file("x.db"))
        try database.execute("CREATE TABLE t (a TEXT) STRICT")
        let insert = "INSERT INTO t VALUES (?1)"
        for index in 0..<200 { try database.execute(insert, [.text("\(index)")]) }
        try database.execute(insert)
        var (count, nulls) = (0, 0)
        try database.execute("SELECT a FROM t") { row in
            count += 1
            nulls += row.isNull(0) ? 1 : 0
        }
        #expect(count == 201 && nulls == 1)
    }

    @Test func aStatementRunsInsideItself() throws {
        let scratch = try Scratch()
        defer { withExtendedLifetime(scratch) {} }
        let database = try Database(path: scratch.file("x.db"))
        try database.execute("CREATE TABLE t (a INTEGER) STRICT")
        for index in 0..<5 { try database.execute("INSERT INTO t VALUES (?1)", [.integer(Int64(index))]) }
        var pairs = 0
        try database.execute("SELECT a FROM t") { (_) throws(RuntimeError) in
            try database.execute("SELECT a FROM t") { _ in pairs += 1 }
        }
        #expect(pairs == 25)
    }

    @Test func aStatementThatFailedServesAgain() throws {
        let scratch = try Scratch()
        defer { withExtendedLifetime(scratch) {} }
        let database = try Database(path: scratch.file("x.db"))
        try database.execute("CREATE TABLE t (a INTEGER PRIMARY KEY) STRICT")
        let insert = "INSERT INTO t VALUES (?1)"
        try database.execute(insert, [1])
        #expect(
            failure { () throws(RuntimeError) in try database.execute(insert, [1]) }?.cause.contains("UNIQUE") == true)
        try database.execute(insert, [2])
        // A row callback that throws ends the statement, and it isn't left open.
        let stopped = RuntimeError(.badRequest, step: "s", cause: "c", next: "n")
        #expect(
            failure { () throws(RuntimeError) in
                try database.execute("SELECT a FROM t") { (_) throws(RuntimeError) in throw stopped }
            } == stopped)
        try database.transaction { () throws(RuntimeError) in try database.execute("DELETE FROM t") }
        #expect(database.changes == 2)
    }

    @Test func manyDifferentStatementsAreNotAllKept() throws {
        let scratch = try Scratch()
        defer { withExtendedLifetime(scratch) {} }
        let database = try Database(path: scratch.file("x.db"))
        var sum: Int64 = 0
        for index in 0..<300 { try database.execute("SELECT \(index)") { row in sum += row.integer(0) } }
        #expect(sum == 299 * 150)
    }

    @Test func anotherConnectionsLockIsWaitedForAsLongAsItSays() throws {
        let scratch = try Scratch()
        let holder = try Database(path: scratch.file("x.db"))
        try holder.execute("CREATE TABLE t (a INTEGER) STRICT")
        let other = try Database(path: scratch.file("x.db"), patience: 20)
        try holder.execute("BEGIN IMMEDIATE")
        let error = failure { () throws(RuntimeError) in try other.execute("INSERT INTO t VALUES (1)") }
        #expect(error?.code == .unavailable && error?.cause == "database is locked")
        try holder.execute("COMMIT")
        try other.execute("INSERT INTO t VALUES (1)")
    }

    @Test func aTransactionThatFailsLeavesNothing() throws {
        let scratch = try Scratch()
        let database = try Database(path: scratch.file("x.db"))
        try database.run("CREATE TABLE t (a TEXT NOT NULL) STRICT")
        let error = failure { () throws(RuntimeError) in
            try database.transaction { () throws(RuntimeError) in
                try database.run("INSERT INTO t VALUES (?1)", ["one"])
                try database.run("INSERT INTO t VALUES (NULL)")
            }
        }
        #expect(error?.cause == "NOT NULL constraint failed: t.a" && error?.step.hasPrefix("insert in ") == true)
        var rows: [[String]] = []
        try database.run("SELECT a FROM t") { rows.append($0) }
        #expect(rows == [])
        try database.transaction { () throws(RuntimeError) in try database.run("INSERT INTO t VALUES (?1)", ["two"]) }
        try database.run("SELECT a FROM t") { rows.append($0) }
        #expect(rows == [["two"]])
    }

    @Test func aFullDiskIsCalledOne() throws {
        let scratch = try Scratch()
        let database = try Database(path: scratch.file("x.db"))
        try database.run("CREATE TABLE t (a TEXT)")
        try database.run("PRAGMA max_page_count=2")
        let error = failure { () throws(RuntimeError) in
            try database.run("INSERT INTO t VALUES (?1)", [String(repeating: "x", count: 50_000)])
        }
        #expect(error?.code == .insufficientStorage && error?.next.contains("free space") == true)
    }
}
