// New keys for old ones: at any moment one of the two opens everything.
import Core
import TestSupport
import Testing

@testable import Vault

@Suite struct RotationTests {
    private static let tenants = 40

    private func filled(_ scratch: Scratch) throws {
        let vault = try Vault(stateDirectory: scratch.path, keys: [masterKey()])
        for number in 0..<Self.tenants {
            try vault.set(SecretPlace(tenant: "t\(number)", function: nil, name: "A"), to: secret("value-\(number)"))
        }
    }

    private func expectAll(_ scratch: Scratch, under key: MasterKey) throws {
        let vault = try Vault(stateDirectory: scratch.path, keys: [key])
        for number in 0..<Self.tenants {
            let function = FunctionKey(tenant: "t\(number)", name: "f")
            #expect(text(try vault.value("A", for: function)) == "value-\(number)")
        }
    }

    @Test func theMasterKeyIsReplacedAndTheOldOneOpensNothing() throws {
        let scratch = try Scratch()
        try filled(scratch)
        let (old, new) = (try masterKey(1), try masterKey(2))
        let wrapped = try VaultDatabase(stateDirectory: scratch.path).keys().map { Hex.text($0.wrapped) }
        #expect(try Vault.rotateMaster(stateDirectory: scratch.path, from: old, to: new) == Self.tenants)
        try expectAll(scratch, under: new)
        #expect(fails(.unavailable, new.name) { try expectAll(scratch, under: old) })
        for key in wrapped { #expect(try !holds(scratch, key)) }
        // Again, as after a crash: it is done.
        #expect(try Vault.rotateMaster(stateDirectory: scratch.path, from: old, to: new) == nil)
        #expect(
            fails(.forbidden, old.name) {
                _ = try Vault.rotateMaster(stateDirectory: scratch.path, from: old, to: masterKey(3))
            })
        try expectAll(scratch, under: new)
    }

    @Test(arguments: [0, 1, 7, tenants - 1, tenants])
    func aRotationThatStopsHalfwayChangesNothing(_ answers: Int) throws {
        let scratch = try Scratch()
        try filled(scratch)
        let (old, new) = (try masterKey(1), try masterKey(2))
        let leaving = LeavingWrapper(new, answers: answers)
        #expect(
            fails(.unavailable, "key service") {
                _ = try Vault.rotateMaster(stateDirectory: scratch.path, from: old, to: leaving)
            })
        try expectAll(scratch, under: old)
        #expect(try Vault.rotateMaster(stateDirectory: scratch.path, from: old, to: new) == Self.tenants)
        try expectAll(scratch, under: new)
    }

    @Test func aVaultThatIsEmptyHasNothingToRotate() throws {
        let scratch = try Scratch()
        #expect(
            fails(.notFound, "nothing was sealed") {
                _ = try Vault.rotateMaster(stateDirectory: scratch.path, from: masterKey(1), to: masterKey(2))
            })
    }

    @Test func aTenantsNewKeySealsAndItsOldOneOpensUntilAllIsResealed() throws {
        let scratch = try Scratch()
        let function = FunctionKey(tenant: "acme", name: "f")
        var vault: Vault! = try Vault(stateDirectory: scratch.path, keys: [masterKey()])
        #expect(fails(.notFound, "acme") { _ = try vault.rotateKey(of: "acme") })
        try vault.set(SecretPlace(tenant: "acme", function: nil, name: "OLD"), to: secret("old"))
        let data = try vault.seal(secret("data"), tenant: "acme", purpose: "test")
        #expect(try vault.rotateKey(of: "acme") == 2)
        try vault.set(SecretPlace(tenant: "acme", function: nil, name: "NEW"), to: secret("new"))
        try vault.forgetOldKeys(of: "acme")
        #expect(vault.keyVersions(of: "acme") == [1, 2], "a secret still needs the first")
        vault = try Vault(stateDirectory: scratch.path, keys: [masterKey()])
        #expect(text(try vault.value("OLD", for: function)) == "old")
        #expect(text(try vault.value("NEW", for: function)) == "new")
        #expect(text(try vault.open(data, tenant: "acme", purpose: "test")) == "data")
        #expect(try vault.resealSecrets(of: "acme") == 1)
        #expect(try vault.resealSecrets(of: "acme") == 0)
        #expect(text(try vault.value("OLD", for: function)) == "old")
        try vault.forgetOldKeys(of: "acme")
        #expect(vault.keyVersions(of: "acme") == [2])
        vault = try Vault(stateDirectory: scratch.path, keys: [masterKey()])
        #expect(vault.keyVersions(of: "acme") == [2])
        #expect(text(try vault.value("OLD", for: function)) == "old")
        // What only the first key sealed is noise now.
        #expect(fails(.notFound, "key 1") { _ = try vault.open(data, tenant: "acme", purpose: "test") })
    }

    @Test func dataOpensForItsTenantAndItsPurposeOnly() throws {
        let scratch = try Scratch()
        let vault = try Vault(stateDirectory: scratch.path, keys: [masterKey()])
        var sealed = try vault.seal(secret("data"), tenant: "acme", purpose: "a")
        _ = try vault.seal(secret("data"), tenant: "evil", purpose: "a")
        #expect(text(try vault.open(sealed, tenant: "acme", purpose: "a")) == "data")
        #expect(fails(.internalError, "changed") { _ = try vault.open(sealed, tenant: "acme", purpose: "b") })
        #expect(fails(.internalError, "changed") { _ = try vault.open(sealed, tenant: "evil", purpose: "a") })
        #expect(fails(.notFound, "key 1") { _ = try vault.open(sealed, tenant: "nobody", purpose: "a") })
        #expect(
            fails(.internalError, "sealed") { _ = try vault.open(Array("plain".utf8), tenant: "acme", purpose: "a") })
        #expect(fails(.internalError, "sealed") { _ = try vault.open([], tenant: "acme", purpose: "a") })
        for cut in [12, 20, sealed.count - 1] {
            #expect((try? vault.open(Array(sealed[..<cut]), tenant: "acme", purpose: "a")) == nil)
        }
        sealed[sealed.count - 1] ^= 1
        #expect((try? vault.open(sealed, tenant: "acme", purpose: "a")) == nil)
    }
}
