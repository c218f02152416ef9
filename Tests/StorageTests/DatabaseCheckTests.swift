// Damage is found before a file is used, and who holds a lock is named.
import Core
import Glibc
import TestSupport
import Testing

@testable import Storage

@Suite struct DatabaseCheckTests {
    /// A database of some pages in its main file only.
    private func made(_ scratch: Scratch) throws -> [UInt8] {
        do {
            let database = try Database(path: scratch.file("a.db"))
            try database.run("CREATE TABLE t (a TEXT PRIMARY KEY, b TEXT) STRICT")
            try database.transaction { () throws(RuntimeError) in
                for number in 0..<200 {
                    try database.run("INSERT INTO t VALUES (?1,?2)", ["\(number)", String(repeating: "x", count: 200)])
                }
            }
            try database.run("PRAGMA wal_checkpoint(TRUNCATE)")
        }
        return try scratch.read("a.db")
    }

    @Test func damageIsFoundAtOpeningAndNothingIsWritten() throws {
        let scratch = try Scratch()
        let whole = try made(scratch)
        let page = 4096
        #expect(whole.count > 8 * page)
        _ = try Database(path: scratch.file("a.db"))
        for damaged in [
            Array(whole[..<(4 * page)]), Array(whole[..<page]), Array(whole[..<(whole.count - 100)]),
            Array(whole[..<(2 * page)]) + [UInt8](repeating: 0xA5, count: 2 * page) + Array(whole[(4 * page)...]),
            Array("this is no database, whatever its name says".utf8) + [UInt8](repeating: 7, count: page),
        ] {
            try scratch.write("a.db", damaged)
            var found: RuntimeError?
            do throws(RuntimeError) { _ = try Database(path: scratch.file("a.db")) } catch { found = error }
            let error = try #require(found, "\(damaged.count) of \(whole.count) bytes")
            #expect(error.step.contains(scratch.file("a.db")) && error.next.contains("swiftlet restore"), "\(error)")
            #expect(try scratch.read("a.db") == damaged)
        }
    }

    @Test func holdersOfALockAreRead() {
        let locks = """
            1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF
            2: FLOCK  ADVISORY  WRITE 99 00:2e:42 0 EOF
            2: -> POSIX  ADVISORY  READ 77 00:2e:5678 120 120
            3: POSIX  ADVISORY  READ 0 00:2e:5678 0 EOF
            broken
            4: OFDLCK ADVISORY  READ -1 00:2e:5678 0 EOF
            """
        #expect(FileHolders.pids(in: locks, of: [5678]) == [1234, 77])
        #expect(FileHolders.pids(in: locks, of: [42, 1]) == [99])
        #expect(FileHolders.pids(in: locks, of: []) == [])
    }
}
