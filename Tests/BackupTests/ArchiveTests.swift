// The archive of a backup: what goes in comes out, tar reads it too, and names stay where they belong.
import Core
import Platform
import TestSupport
import Testing

@testable import Backup

@Suite struct ArchiveTests {
    @Test func filesComeOutAsTheyWentIn() throws {
        let scratch = try Scratch()
        let names = [
            "registry.db",
            "artefacts/\(String(repeating: "t", count: 63))/\(String(repeating: "d", count: 64))/\(String(repeating: "f", count: 99))",
            "audit/00000000000000000001.log",
        ]
        var random = SeededGenerator(seed: 3)
        let contents = [0, 513, 700_000].map { size in (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
        }
        let archive = try ArchiveWriter(scratch.file("a.tar"))
        for (name, bytes) in zip(names, contents) { try archive.add(name, bytes) }
        try archive.finish()
        let reader = try ArchiveReader(scratch.file("a.tar"))
        for (name, bytes) in zip(names, contents) {
            var got: [UInt8] = []
            let file = try reader.next({ found, size in #expect(found == name && size == bytes.count) }) { piece in
                unsafe piece.withUnsafeBytes { unsafe got.append(contentsOf: $0) }
            }
            #expect(got == bytes && file?.name == name)
            let sum = try scratch.write("one", bytes)
            #expect(try shell("sha256sum '\(sum)'").prefix(64) == file?.sha256 ?? "")
        }
        #expect(try reader.next({ _, _ in }, { _ in }) == nil)
        #expect(try shell("tar tf '\(scratch.file("a.tar"))'").split(separator: "\n").map(String.init) == names)
        #expect(throws: SystemError.self) { try addName(scratch, String(repeating: "x", count: 100)) }
        #expect(throws: SystemError.self) { try addName(scratch, "\(String(repeating: "x", count: 155))/y") }
    }

    private func addName(_ scratch: Scratch, _ name: String) throws {
        let archive = try ArchiveWriter(scratch.file("b.tar"))
        try archive.add(name, [])
    }

    @Test(arguments: [
        "registry.db", "vault.db", "audit/00000000000000000001.log", "artefacts/acme/0a1b/plugin.so",
    ]) func namesOfABackup(_ name: String) { #expect(BackupContents.isAllowed(name)) }

    @Test(arguments: [
        "", "/registry.db", "../registry.db", "registry.db/", "lock", "master.key", "audit.key", "audit/head",
        "audit/../x.log",
        "audit/archive/x.log", "artefacts/acme/0a1b", "artefacts/acme/../plugin.so", "artefacts/acme/0a1b/../plugin.so",
        "artefacts/ACME/0a1b/plugin.so", "artefacts//0a1b/plugin.so", "artefacts/acme/0a1b/.plugin.so", "tls/x/y/z.db",
        ".hidden.db", "a\0.db", "MANIFEST.json",
    ]) func namesThatHaveNoPlaceInOne(_ name: String) { #expect(!BackupContents.isAllowed(name)) }
}
