// A database's schema, brought from the version that a file has to the one that this program knows.
package import Core

extension Database {
    /// Makes each change that the file does not have yet, in order and each whole or not at all.
    ///
    /// - Parameter changes: one statement each, numbered by their place; a new one is added at the end and none is ever changed.
    package func migrate(_ changes: [String]) throws(RuntimeError) {
        var version = 0
        try run("PRAGMA user_version") { version = Int($0[0]) ?? 0 }
        guard version <= changes.count else {
            throw RuntimeError(
                .conflict, step: "open \(path)",
                cause: "its schema is version \(version), and this program knows versions up to \(changes.count)",
                next: "run a newer swiftlet, or choose another directory with --state")
        }
        for number in version..<changes.count {
            try transaction { () throws(RuntimeError) in
                try run(changes[number])
                try run("PRAGMA user_version=\(number + 1)")
            }
        }
    }
}
