// Which files are taken for a master key, and which are refused with words that help.
import Core
import TestSupport
import Testing

@testable import Vault

@Suite struct MasterKeyTests {
    private static let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

    private func read(_ scratch: Scratch, _ text: [UInt8], mode: String = "600") throws -> MasterKey {
        let path = try scratch.write("key", text)
        try shell("chmod \(mode) '\(path)'")
        return try MasterKeySource.read(path, owner: 59_990)
    }

    @Test func oneKeyInFourFormsIsOneKey() throws {
        let scratch = try Scratch()
        let raw = (0..<32).map { UInt8($0) }
        let name = try read(scratch, raw).name
        #expect(name.utf8.count == 16)
        for text in [Self.hex, Self.hex.uppercased() + "\n", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\r\n"] {
            #expect(try read(scratch, Array(text.utf8)).name == name)
        }
    }

    @Test func whatIsNoKeyIsRefused() throws {
        let scratch = try Scratch()
        for text in [
            "", "short", String(Self.hex.dropLast()), Self.hex + "0", String(repeating: "g", count: 64),
            String(repeating: "x", count: 5000), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        ] {
            #expect(fails(.badRequest, "neither a key") { _ = try read(scratch, Array(text.utf8)) }, "\(text)")
        }
        #expect(fails(.badRequest, "the same") { _ = try read(scratch, [UInt8](repeating: 0, count: 32)) })
        for mode in ["644", "604", "640", "660"] {
            #expect(fails(.forbidden, "chmod 600") { _ = try read(scratch, Array(Self.hex.utf8), mode: mode) })
        }
        #expect(fails(.unavailable, "No such file") { _ = try MasterKeySource.read(scratch.file("none"), owner: 0) })
        #expect(fails(.badRequest, "no plain file") { _ = try MasterKeySource.read(scratch.path, owner: 0) })
        try shell("mkfifo '\(scratch.file("pipe"))'")
        #expect(fails(.badRequest, "no plain file") { _ = try MasterKeySource.read(scratch.file("pipe"), owner: 0) })
    }

    @Test func aFirstStartMakesAKeyAndASecondTakesIt() throws {
        let scratch = try Scratch()
        func source(mayMake: Bool) throws -> MasterKeySource {
            try MasterKeySource(file: nil, environment: nil, state: scratch.path, owner: 59_990, mayMake: mayMake)
        }
        let first = try source(mayMake: true)
        #expect(first.isOwn && first.keys.count == 1)
        #expect(try shell("stat -c %a '\(scratch.file("master.key"))'") == "600\n")
        #expect(try source(mayMake: true).keys.map(\.name) == first.keys.map(\.name))
        #expect(try source(mayMake: false).keys.map(\.name) == first.keys.map(\.name))
        try shell("rm '\(scratch.file("master.key"))'")
        #expect(fails(.unavailable, "--master-key-file") { _ = try source(mayMake: false) })
        #expect(try scratch.names().isEmpty)
        // A new one is another one.
        #expect(try source(mayMake: true).keys.map(\.name) != first.keys.map(\.name))
    }

    @Test func theNextKeyOfAnUnfinishedRotationIsTakenAsWell() throws {
        let scratch = try Scratch()
        let path = scratch.file("key")
        try MasterKeySource.make(path, owner: nil)
        try MasterKeySource.make(path + ".next", owner: nil)
        let source = try MasterKeySource(file: path, environment: nil, state: scratch.path, owner: 0, mayMake: false)
        #expect(source.keys.count == 2)
        // The vault takes whichever opens it.
        _ = try Vault(stateDirectory: scratch.path, keys: [source.keys[1]])
        #expect(try Vault(stateDirectory: scratch.path, keys: source.keys).masterName == source.keys[1].name)
    }

    @Test func aKeyThatIsGivenTwiceIsRefused() throws {
        let scratch = try Scratch()
        let path = scratch.file("key")
        try MasterKeySource.make(path, owner: nil)
        #expect(
            fails(.conflict, "given by") {
                _ = try MasterKeySource(
                    file: path, environment: secret(Self.hex), state: scratch.path, owner: 0, mayMake: true)
            })
        let given = try MasterKeySource(
            file: nil, environment: secret(Self.hex), state: scratch.path, owner: 0, mayMake: true)
        #expect(given.keys.map(\.name) == [try masterKey(0).name])
        #expect(try scratch.names() == ["key"])
        #expect(
            fails(.badRequest, "SWIFTLET_MASTER_KEY") {
                _ = try MasterKeySource(
                    file: nil, environment: secret("short"), state: scratch.path, owner: 0, mayMake: true)
            })
    }
}
