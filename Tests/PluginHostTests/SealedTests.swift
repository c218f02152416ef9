// Artefacts of tenants: sealed where they are kept, plain only where they are used, and gone with their key.
import Core
import Glibc
import TestSupport
import Testing

@testable import PluginHost
@testable import Vault

private func archive(_ scratch: Scratch, _ name: String, _ files: [(String, String)]) throws -> String {
    var members: [(name: String, path: String)] = []
    for (file, text) in files { members.append((file, try scratch.write("\(name)-\(file)", text))) }
    let path = scratch.file("\(name).tar")
    try TarWriter.write(members, to: path)
    return path
}

@Suite struct SealedArtefactTests {
    /// A state directory, a directory for plain copies, and a place for what is deployed.
    private let (state, room, sources): (Scratch, Scratch, Scratch)
    private let vault: Vault
    private let store: ArtefactStore

    init() throws {
        (state, room, sources) = (try Scratch(), try Scratch(), try Scratch())
        vault = try Vault(stateDirectory: state.path, keys: [MasterKey(SecretBytes.random(32))])
        let sealed = try SealedArtefacts(vault: vault, stateDirectory: state.path, room: room.path)
        store = try ArtefactStore(stateDirectory: state.path, sealed: sealed)
    }

    private func commit(_ tenant: String, _ files: [(String, String)]) throws -> Deployment {
        let staged = try store.stage(try archive(sources, tenant, files), limit: 1000)
        try store.commit(staged.directory, tenant: tenant, digest: staged.digest, digests: staged.digests)
        return Deployment(
            tenant: tenant, name: "f", kind: .handler, digest: staged.digest,
            manifest: Manifest(name: "f", kind: .handler, version: "1"), createdAt: 0)
    }

    private func holds(_ scratch: Scratch, _ text: String) throws -> Bool {
        try !shell("grep -rlaF -- '\(text)' '\(scratch.path)' || true").isEmpty
    }

    /// What a host that starts again finds: nothing plain.
    private func forgetPlain() throws { try shell("rm -rf '\(room.path)'/[a-z]*") }

    @Test func theDiskHasItSealedAndTheRoomPlain() throws {
        let deployed = try commit("acme", [("a", "marker-a"), ("b", "")])
        #expect(store.root(of: "acme") == room.file("acme"))
        #expect(try room.read("acme/\(deployed.digest)/a") == Array("marker-a".utf8))
        #expect(try state.names(in: "artefacts/acme/\(deployed.digest)") == ["a", "b"])
        #expect(try !holds(state, "marker"))
        #expect(try state.names(in: "staging") == [])
        try forgetPlain()
        #expect(store.sealed?.isReady(deployed) == false)
        try store.sealed?.unseal(deployed)
        #expect(store.sealed?.isReady(deployed) == true)
        #expect(try room.read("acme/\(deployed.digest)/a") == Array("marker-a".utf8))
        #expect(try room.read("acme/\(deployed.digest)/b") == [])
        // What the platform deploys stays as it is.
        let model = try commit(Deployment.platform, [("model", "weights")])
        #expect(try state.read("artefacts/platform/\(model.digest)/model") == Array("weights".utf8))
    }

    @Test func whatWasTamperedWithIsNotUsed() throws {
        let deployed = try commit("acme", [("a", "one"), ("b", "two")])
        let other = try commit("evil", [("a", "one"), ("b", "two")])
        let place = "artefacts/acme/\(deployed.digest)"
        let good = try state.read("\(place)/a")
        for change in [
            "rm", "cp '\(state.file("\(place)/b"))'", "cp '\(state.file("artefacts/evil/\(other.digest)/a"))'",
            "printf one >", "truncate -s 20", "printf x >>",
            "cp '\(state.file("\(place)/b"))' '\(state.file("\(place)/c"))'; true",
        ] {
            try forgetPlain()
            try shell("\(change) '\(state.file("\(place)/a"))'")
            #expect(throws: RuntimeError.self, "\(change)") { try store.sealed?.unseal(deployed) }
            #expect(try !room.names().contains("acme") || room.names(in: "acme").isEmpty, "\(change)")
            try shell("rm -f '\(state.file("\(place)/c"))'")
            try state.write("\(place)/a", good)
        }
        try store.sealed?.unseal(deployed)
        #expect(try room.read("acme/\(deployed.digest)/a") == Array("one".utf8))
    }

    @Test func aNewKeyResealsAndTheOldOneMayGo() throws {
        let deployed = try commit("acme", [("a", "one"), ("b", "two")])
        #expect(try vault.rotateKey(of: "acme") == 2)
        #expect(try store.sealed?.reseal("acme") == 2)
        #expect(try store.sealed?.reseal("acme") == 0)
        try vault.forgetOldKeys(of: "acme")
        #expect(vault.keyVersions(of: "acme") == [2])
        try forgetPlain()
        try store.sealed?.unseal(deployed)
        #expect(try room.read("acme/\(deployed.digest)/b") == Array("two".utf8))
    }

    @Test func anEarlierVersionsPlainFilesAreSealed() throws {
        let deployed = try commit("acme", [("a", "marker-a"), ("b", "marker-b")])
        try state.write("artefacts/acme/\(deployed.digest)/a", "marker-a")
        try state.write("artefacts/acme/\(deployed.digest)/b", "marker-b")
        #expect(try holds(state, "marker"))
        store.sealed?.sealEverything()
        #expect(try !holds(state, "marker"))
        try forgetPlain()
        try store.sealed?.unseal(deployed)
        #expect(try room.read("acme/\(deployed.digest)/a") == Array("marker-a".utf8))
    }

    @Test func aShreddedTenantsArtefactsStayClosed() throws {
        let deployed = try commit("acme", [("a", "marker")])
        _ = try commit("other", [("a", "stays")])
        let copy = try state.read("artefacts/acme/\(deployed.digest)/a")
        try vault.shred("acme")
        #expect(store.removeAll(of: "acme") == 1)
        #expect(try !holds(state, "marker") && !holds(room, "marker"))
        #expect(try room.names(in: "acme") == [])
        // A copy from a backup, under every key that is left.
        try shell("mkdir -p '\(state.file("artefacts/acme/\(deployed.digest)"))'")
        try state.write("artefacts/acme/\(deployed.digest)/a", copy)
        #expect(throws: RuntimeError.self) { try store.sealed?.unseal(deployed) }
        _ = try commit("acme", [("b", "new")])
        #expect(throws: RuntimeError.self) { try store.sealed?.unseal(deployed) }
    }
}
