// What the tests of the vault share: keys, and a look at every byte of a folder.
import Core
import TestSupport

@testable import Vault

/// A wrapper that answers so many times and then can't, like a key service that goes away.
final class LeavingWrapper: KeyWrapper, @unchecked Sendable {
    private let inner: MasterKey
    private var left: Int

    init(_ inner: MasterKey, answers: Int) {
        self.inner = inner
        left = answers
    }

    var name: String { inner.name }

    func wrap(_ key: SecretBytes, purpose: String) throws(RuntimeError) -> [UInt8] {
        try answer()
        return try inner.wrap(key, purpose: purpose)
    }

    func unwrap(_ wrapped: [UInt8], purpose: String) throws(RuntimeError) -> SecretBytes? {
        try inner.unwrap(wrapped, purpose: purpose)
    }

    private func answer() throws(RuntimeError) {
        guard left > 0 else {
            throw RuntimeError(.unavailable, step: "ask the key service", cause: "gone", next: "wait")
        }
        left -= 1
    }
}

func masterKey(_ seed: UInt8 = 1) throws -> MasterKey {
    var bytes = (0..<32).map { UInt8($0) &+ seed }
    return try MasterKey(SecretBytes(taking: &bytes))
}

func secret(_ text: String) -> SecretBytes {
    var bytes = Array(text.utf8)
    return SecretBytes(taking: &bytes)
}

func text(_ value: SecretBytes?) -> String? { value.map { String(decoding: $0.copy, as: UTF8.self) } }

/// True when a text is anywhere in the files of a folder.
func holds(_ scratch: Scratch, _ text: String) throws -> Bool {
    let found = try shell("grep -rlaF -- '\(text)' '\(scratch.path)' || true")
    return !found.isEmpty
}

func fails(_ code: RuntimeError.Code, _ words: String, _ body: () throws -> Void) -> Bool {
    do {
        try body()
        return false
    } catch let error as RuntimeError {
        return error.code == code && error.description.contains(words)
    } catch {
        return false
    }
}

/// Changes a vault's database behind its back.
func sql(_ scratch: Scratch, _ statement: String) throws {
    try scratch.write("change.sql", statement)
    let script =
        "import sqlite3,sys; d=sqlite3.connect(sys.argv[1]); d.execute(open(sys.argv[2]).read()); d.commit(); d.close()"
    try shell("python3 -c '\(script)' '\(scratch.file("vault.db"))' '\(scratch.file("change.sql"))'")
}
