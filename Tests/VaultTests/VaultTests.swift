// What is set is read by whom it is for; what is on the disk tells nothing; what was shredded is gone.
import Core
import Synchronization
import TestSupport
import Testing

@testable import Vault

private let chat = FunctionKey(tenant: "acme", name: "chat")
private let other = FunctionKey(tenant: "acme", name: "other")
private let stranger = FunctionKey(tenant: "evil", name: "chat")

@Suite struct VaultTests {
    private func open(_ scratch: Scratch, _ key: MasterKey? = nil) throws -> Vault {
        try Vault(stateDirectory: scratch.path, keys: [key ?? masterKey()])
    }

    @Test func aFunctionsOwnSecretWinsAndNobodyElsesIsSeen() throws {
        let scratch = try Scratch()
        let vault = try open(scratch)
        try vault.set(SecretPlace(tenant: "acme", function: nil, name: "TOKEN"), to: secret("of-the-tenant"))
        try vault.set(SecretPlace(tenant: "acme", function: "chat", name: "TOKEN"), to: secret("of-chat"))
        #expect(text(try vault.value("TOKEN", for: chat)) == "of-chat")
        #expect(text(try vault.value("TOKEN", for: other)) == "of-the-tenant")
        #expect(try vault.value("TOKEN", for: stranger) == nil)
        #expect(try vault.value("token", for: chat) == nil)
        #expect(vault.list(tenant: "acme").map(\.place.function) == [nil, "chat"])
        #expect(vault.list(tenant: "acme", function: "chat").map(\.version) == [1])
        #expect(vault.list(tenant: "evil").isEmpty)
    }

    @Test func everythingOutlivesARestartAndNothingOfItIsOnTheDisk() throws {
        let scratch = try Scratch()
        var vault: Vault? = try open(scratch)
        let place = SecretPlace(tenant: "acme", function: nil, name: "TOKEN")
        try vault?.set(place, to: secret("marker-one"))
        let second = try vault?.set(place, to: secret("marker-two"))
        #expect(second?.version == 2)
        #expect(try !holds(scratch, "marker"))
        vault = nil
        vault = try open(scratch)
        #expect(text(try vault?.value("TOKEN", for: chat)) == "marker-two")
        #expect(vault?.list(tenant: "acme") == second.map { [$0] })
        #expect(try vault?.remove(place) == true)
        #expect(try vault?.remove(place) == false)
        vault = nil
        #expect(try open(scratch).value("TOKEN", for: chat) == nil)
    }

    @Test func anyBytesUpToTheLimitAndNoMore() throws {
        let scratch = try Scratch()
        let vault = try open(scratch)
        let place = SecretPlace(tenant: "acme", function: nil, name: "BYTES")
        var bytes = (0..<Vault.largestSecret).map { UInt8(truncatingIfNeeded: $0 / 3) }
        let expected = bytes
        try vault.set(place, to: SecretBytes(taking: &bytes))
        #expect(bytes.isEmpty)
        #expect(try vault.value("BYTES", for: chat)?.copy == expected)
        var tooLong = [UInt8](repeating: 1, count: Vault.largestSecret + 1)
        #expect(fails(.payloadTooLarge, "65536") { try vault.set(place, to: SecretBytes(taking: &tooLong)) })
        #expect(fails(.badRequest, "empty") { try vault.set(place, to: secret("")) })
        #expect(try vault.value("BYTES", for: chat)?.copy == expected)
    }

    @Test(arguments: ["", "..", "a/b", "a.b", "1A", "-A", "ä", "A B", "A\0", "A\n", String(repeating: "A", count: 65)])
    func namesThatAreNone(_ name: String) throws {
        let scratch = try Scratch()
        let vault = try open(scratch)
        #expect(
            fails(.badRequest, "name") {
                try vault.set(SecretPlace(tenant: "acme", function: nil, name: name), to: secret("x"))
            })
        #expect(
            fails(.badRequest, "name") {
                try vault.set(SecretPlace(tenant: name, function: nil, name: "A"), to: secret("x"))
            } || Names.isValid(name))
        #expect(
            fails(.badRequest, "name") {
                try vault.set(SecretPlace(tenant: "acme", function: name, name: "A"), to: secret("x"))
            } || Names.isValid(name))
        #expect(vault.list(tenant: "acme").isEmpty)
    }

    @Test func aTenantHasABoundOfSecretsAndOfBytes() throws {
        let scratch = try Scratch()
        let vault = try open(scratch)
        for number in 0..<Vault.mostSecrets {
            try vault.set(SecretPlace(tenant: "acme", function: nil, name: "S\(number)"), to: secret("x"))
        }
        let more = SecretPlace(tenant: "acme", function: nil, name: "MORE")
        #expect(fails(.conflict, "100 secrets") { try vault.set(more, to: secret("x")) })
        // One that is there may have a new value.
        try vault.set(SecretPlace(tenant: "acme", function: nil, name: "S7"), to: secret("y"))
        let large = String(repeating: "x", count: Vault.largestSecret)
        var stored = 0
        let isFull = fails(.conflict, "4194304 bytes") {
            for number in 0..<100 {
                try vault.set(SecretPlace(tenant: "acme", function: "f", name: "L\(number)"), to: secret(large))
                stored += 1
            }
        }
        #expect(isFull)
        #expect(stored == 63)
        try vault.set(SecretPlace(tenant: "evil", function: nil, name: "MORE"), to: secret("x"))
    }

    /// Whoever can write to the database can't hand a value to somebody else.
    @Test func aSealedValueOpensInItsPlaceOnly() throws {
        for change in [
            "UPDATE secret SET tenant='evil'", "UPDATE secret SET function='chat'", "UPDATE secret SET name='B'",
            "UPDATE secret SET version=2", "UPDATE secret SET sealed=substr(sealed,1,length(sealed)-2)||'00'",
            "UPDATE secret SET sealed='00'",
        ] {
            let scratch = try Scratch()
            var vault: Vault? = try open(scratch)
            try vault?.set(SecretPlace(tenant: "acme", function: nil, name: "A"), to: secret("x"))
            try vault?.set(SecretPlace(tenant: "evil", function: nil, name: "C"), to: secret("x"))
            vault = nil
            try sql(scratch, "\(change) WHERE name='A'")
            let tampered = try open(scratch)
            for caller in [chat, other, stranger] {
                for name in ["A", "B"] { #expect((try? tampered.value(name, for: caller)) == nil, "\(change)") }
            }
        }
    }

    @Test func aShreddedTenantIsGoneAndSoIsWhatOpensIt() throws {
        let scratch = try Scratch()
        var vault: Vault? = try open(scratch)
        let place = SecretPlace(tenant: "acme", function: nil, name: "TOKEN")
        try vault?.set(place, to: secret("marker"))
        try vault?.set(SecretPlace(tenant: "evil", function: nil, name: "TOKEN"), to: secret("stays"))
        _ = try vault?.rotateKey(of: "acme")
        let stored = vault.map { opened in opened.state.withLock { $0.secrets[place]?.sealed } }
        let sealed = try #require(stored ?? nil)
        let keys = try vault?.change { database throws(RuntimeError) in try database.keys() } ?? []
        let wrapped = keys.filter { $0.tenant == "acme" }.map(\.wrapped)
        #expect(wrapped.count == 2)
        for key in wrapped { #expect(try holds(scratch, Hex.text(key))) }
        try vault?.shred("acme")
        // Not in the table, its free pages or the log of writes.
        for key in wrapped { #expect(try !holds(scratch, Hex.text(key))) }
        #expect(try !holds(scratch, Hex.text(sealed)))
        vault = nil
        let again = try open(scratch)
        #expect(try again.value("TOKEN", for: chat) == nil)
        #expect(text(try again.value("TOKEN", for: stranger)) == "stays")
        // With every key that is left, a copy of what was sealed stays closed.
        let purpose = SealedSecret.purpose(place, version: 1)
        for (_, keys) in again.state.withLock({ $0.keys }) {
            for (_, key) in keys { #expect(Seal.open(sealed, key: key, purpose: purpose) == nil) }
        }
        // A tenant of the same name begins with another key.
        try again.set(place, to: secret("new"))
        #expect(Seal.open(sealed, key: try #require(again.key(of: "acme", version: 1)), purpose: purpose) == nil)
    }

    @Test func anotherMasterKeyIsRefusedAndNothingIsWritten() throws {
        let scratch = try Scratch()
        var vault: Vault? = try open(scratch)
        try vault?.set(SecretPlace(tenant: "acme", function: nil, name: "TOKEN"), to: secret("x"))
        vault = nil
        let before = try scratch.read("vault.db")
        #expect(fails(.unavailable, try masterKey(2).name) { _ = try open(scratch, masterKey(2)) })
        #expect(fails(.unavailable, "no master key") { _ = try Vault(stateDirectory: scratch.path, keys: []) })
        #expect(try scratch.read("vault.db") == before)
        #expect(text(try open(scratch).value("TOKEN", for: chat)) == "x")
        #expect(try Vault.isInUse(stateDirectory: scratch.path))
        #expect(try !Vault.isInUse(stateDirectory: try Scratch().path))
    }

    @Test func aBrokenDatabaseIsAClearErrorAndStaysAsItIs() throws {
        let scratch = try Scratch()
        try scratch.write("vault.db", String(repeating: "this is no database. ", count: 400))
        let before = try scratch.read("vault.db")
        #expect(fails(.internalError, "backup") { _ = try open(scratch) })
        #expect(try scratch.read("vault.db") == before)

        let second = try Scratch()
        var vault: Vault? = try open(second)
        try vault?.set(SecretPlace(tenant: "acme", function: nil, name: "TOKEN"), to: secret("x"))
        vault = nil
        try sql(second, "UPDATE data_key SET wrapped='00ff'")
        #expect(fails(.internalError, "acme") { _ = try open(second) })
        try sql(second, "UPDATE data_key SET wrapped='no hex'")
        #expect(fails(.internalError, "no hex text") { _ = try open(second) })
        try sql(second, "PRAGMA user_version=99")
        #expect(fails(.conflict, "newer swiftlet") { _ = try open(second) })
    }
}
