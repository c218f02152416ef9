// Where deployments lie: nothing half-written is seen, and what is there never changes.
import Core
import Glibc
import Signing
import TestSupport
import Testing

@testable import PluginHost

private func archive(_ scratch: Scratch, _ name: String, _ files: [(String, String)]) throws -> String {
    var members: [(name: String, path: String)] = []
    for (file, text) in files { members.append((file, try scratch.write("\(name)-\(file)", text))) }
    let path = scratch.file("\(name).tar")
    try TarWriter.write(members, to: path)
    return path
}

private func isThere(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

@Suite struct ArtefactStoreTests {
    @Test func aCommittedArtefactIsWholeAndUnderItsDigest() throws {
        let scratch = try Scratch()
        let store = try ArtefactStore(stateDirectory: scratch.path)
        let staged = try store.stage(try archive(scratch, "one", [("b", "2"), ("a", "1")]), limit: 1000)
        #expect(staged.files == ["b", "a"] && staged.digest.count == 64)
        #expect(try scratch.names(in: "artefacts") == [], "staged is not there yet")
        try store.commit(staged.directory, tenant: "acme", digest: staged.digest, digests: staged.digests)
        #expect(store.root(of: "acme") == scratch.file("artefacts/acme"))
        #expect(try scratch.names(in: "artefacts/acme") == [staged.digest])
        #expect(try scratch.read("artefacts/acme/\(staged.digest)/a") == Array("1".utf8))
        #expect(!isThere(staged.directory))
    }

    @Test func theDigestIsOfNamesAndContentsNotOfTheirOrder() throws {
        let scratch = try Scratch()
        let store = try ArtefactStore(stateDirectory: scratch.path)
        func digest(_ name: String, _ files: [(String, String)]) throws -> String {
            try store.stage(try archive(scratch, name, files), limit: 1000).digest
        }
        let first = try digest("1", [("a", "x"), ("b", "y")])
        #expect(try digest("2", [("b", "y"), ("a", "x")]) == first)
        let others = [[("a", "y"), ("b", "x")], [("a", "x")], [("a", "x"), ("c", "y")], [("a", "xb"), ("b", "y")]]
        for (index, files) in others.enumerated() { #expect(try digest("o\(index)", files) != first) }
    }

    @Test func theSameDigestTwiceKeepsTheFirst() throws {
        let scratch = try Scratch()
        let store = try ArtefactStore(stateDirectory: scratch.path)
        var inodes: Set<String> = []
        for round in 1...2 {
            let staged = try store.stage(try archive(scratch, "r\(round)", [("a", "same")]), limit: 1000)
            try store.commit(staged.directory, tenant: "acme", digest: staged.digest, digests: staged.digests)
            inodes.insert(try shell("stat -c %i '\(scratch.file("artefacts/acme"))/\(staged.digest)/a'"))
        }
        #expect(inodes.count == 1)
        #expect(try scratch.names(in: "artefacts/acme").count == 1)
        #expect(try scratch.names(in: "staging") == [], "the second is not left behind")
    }

    /// 444 and 555: its owner too must change a mode before it changes a file.
    @Test func whatIsThereIsSealed() throws {
        let scratch = try Scratch()
        let store = try ArtefactStore(stateDirectory: scratch.path)
        let staged = try store.stage(try archive(scratch, "one", [("a", "1")]), limit: 1000)
        try store.commit(staged.directory, tenant: "acme", digest: staged.digest, digests: staged.digests)
        let place = scratch.file("artefacts/acme/\(staged.digest)")
        #expect(try shell("stat -c %a '\(place)' '\(place)/a'") == "555\n444\n")
        // A crash just before the last step left it open: the next start closes it.
        try shell("chmod 755 '\(place)'")
        try ArtefactStore(stateDirectory: scratch.path).sweep(keeping: ["acme": [staged.digest]])
        #expect(try shell("stat -c %a '\(place)'") == "555\n")
        store.remove(tenant: "acme", digest: staged.digest)
        #expect(try scratch.names(in: "artefacts/acme") == [])
    }

    /// A changed, a missing and an added file: each time the copy that is deployed again takes the place as a whole.
    @Test(arguments: ["echo evil > a", "rm a", "echo evil > more", "mv a more"]) func aDamagedCopyIsReplaced(
        _ damage: String
    ) throws {
        let scratch = try Scratch()
        let store = try ArtefactStore(stateDirectory: scratch.path)
        for round in 1...2 {
            let staged = try store.stage(try archive(scratch, "r\(round)", [("a", "1"), ("b", "2")]), limit: 1000)
            try store.commit(staged.directory, tenant: "acme", digest: staged.digest, digests: staged.digests)
            let place = "artefacts/acme/\(staged.digest)"
            #expect(try scratch.names(in: place) == ["a", "b"])
            #expect(try scratch.read("\(place)/a") == Array("1".utf8))
            #expect(try shell("stat -c %a '\(scratch.file(place))'") == "555\n")
            if round == 1 { try shell("cd '\(scratch.file(place))' && chmod 777 . * && \(damage)") }
        }
        #expect(try scratch.names(in: "staging") == [])
    }

    @Test func whatCantBeUnpackedLeavesNothing() throws {
        let scratch = try Scratch()
        let store = try ArtefactStore(stateDirectory: scratch.path)
        let path = try archive(scratch, "large", [("a", "small"), ("b", String(repeating: "x", count: 600))])
        #expect(throws: RuntimeError.self) { try store.stage(path, limit: 500) }
        let cut = try scratch.write("cut.tar", Array(try scratch.read("large.tar")[..<1300]))
        #expect(throws: RuntimeError.self) { try store.stage(cut, limit: 5000) }
        #expect(!isThere("\(path).d") && !isThere("\(cut).d"))
        #expect(try scratch.names(in: "artefacts") == [])
    }

    @Test func anInterruptedDeploymentIsClearedAtTheNextStart() throws {
        let scratch = try Scratch()
        let store = try ArtefactStore(stateDirectory: scratch.path)
        let upload = store.uploadPath(named: "upload-1.tar")
        try shell("mkdir -p '\(upload).d' && touch '\(upload)' '\(upload).d/plugin.so'")
        try shell("mkdir -p '\(store.root(of: "acme"))/digest'")
        _ = try ArtefactStore(stateDirectory: scratch.path)
        #expect(try scratch.names(in: "staging") == [])
        #expect(try scratch.names(in: "artefacts/acme") == ["digest"])
    }

    @Test func removalTakesOneArtefactOnly() throws {
        let scratch = try Scratch()
        let store = try ArtefactStore(stateDirectory: scratch.path)
        try shell(
            "mkdir -p '\(store.root(of: "acme"))/one' '\(store.root(of: "acme"))/two' '\(store.root(of: "b"))/one'")
        store.remove(tenant: "acme", digest: "one")
        store.remove(tenant: "acme", digest: "none")
        #expect(try scratch.names(in: "artefacts/acme") == ["two"])
        #expect(try scratch.names(in: "artefacts/b") == ["one"])
    }

    @Test func aStateDirectoryThatCantBeUsedSaysSo() throws {
        let scratch = try Scratch()
        let file = try scratch.write("file", "not a directory")
        do throws(RuntimeError) {
            _ = try ArtefactStore(stateDirectory: file)
            Issue.record("a file was taken for a directory")
        } catch {
            #expect(error.code == .insufficientStorage && error.step == "make \(file)/staging")
            #expect(error.cause.contains("Not a directory") && error.next.contains("--state"))
        }
    }
}

/// The whole way in, with a real plugin and a probe that the test answers for.
@Suite struct PluginAdmissionTests {
    private let scratch: Scratch
    private let store: ArtefactStore

    init() throws {
        scratch = try Scratch()
        store = try ArtefactStore(stateDirectory: scratch.path)
        _ = try scratch.compile("plugin.so", "int swiftlet_plugin_entry(void) { return 0; }")
    }

    private let manifest = #"{name: "f", kind: "handler", version: "1", library: "plugin.so"}"#

    /// Admits a folder; `files` overrides and adds to the manifest and the plugin.
    private func admit(
        tenant: String = "acme", manifest: String? = nil, files: [String: [UInt8]] = [:], without: String = "",
        inUse: Bool = false, probeFails: Bool = false, trust: Trust = Trust()
    ) throws -> Result<Deployment, RuntimeError> {
        var all: [String: [UInt8]] = [
            "swiftlet.json5": Array((manifest ?? self.manifest).utf8), "plugin.so": try scratch.read("plugin.so"),
        ]
        all.merge(files) { $1 }
        all[without] = nil
        var members: [(name: String, path: String)] = []
        for (name, bytes) in all.sorted(by: { $0.key < $1.key }) {
            members.append((name, try scratch.write("in-\(name)", bytes)))
        }
        try TarWriter.write(members, to: scratch.file("upload.tar"))
        let admission = PluginAdmission(store: store)
        do throws(RuntimeError) {
            let admitted = try admission.admit(
                archive: scratch.file("upload.tar"), tenant: tenant, trust: trust, inUse: { _ in inUse }
            ) { (deployment, root) throws(RuntimeError) in
                guard isThere("\(root)/\(deployment.directoryName)/plugin.so"), !probeFails else {
                    throw RuntimeError(.pluginInvalid, step: "probe", cause: "it fails", next: "mend it")
                }
            }
            return .success(admitted.deployment)
        } catch {
            return .failure(error)
        }
    }

    private func refusal(_ result: Result<Deployment, RuntimeError>) -> RuntimeError? {
        guard case .failure(let error) = result else { return nil }
        return error
    }

    private func stored() throws -> [String] {
        try shell("find '\(scratch.file("artefacts"))' '\(scratch.file("staging"))' -mindepth 2")
            .split(separator: "\n").map(String.init)
    }

    @Test func aGoodFolderIsAdmitted() throws {
        let deployment = try admit().get()
        #expect(deployment.key == FunctionKey(tenant: "acme", name: "f") && deployment.kind == .handler)
        #expect(try scratch.names(in: "artefacts/acme/\(deployment.digest)") == ["plugin.so", "swiftlet.json5"])
        #expect(!isThere(scratch.file("upload.tar.d")))
    }

    @Test func whatIsRefusedLeavesNothing() throws {
        let backend = #"{name: "f", kind: "backend", version: "1", library: "plugin.so"}"#
        let cases: [(Result<Deployment, RuntimeError>, RuntimeError.Code, String)] = [
            (try admit(tenant: "../x"), .badRequest, "no name of a tenant"),
            (try admit(tenant: "Acme"), .badRequest, "no name of a tenant"),
            (try admit(manifest: "{"), .manifestInvalid, "not JSON5"),
            (try admit(manifest: backend), .forbidden, "can't belong to tenant acme"),
            (try admit(tenant: "platform"), .forbidden, "can't belong to tenant platform"),
            (try admit(without: "swiftlet.json5"), .pluginInvalid, "not in the artefact"),
            (try admit(without: "plugin.so"), .pluginInvalid, "plugin.so that the manifest names is missing"),
            (try admit(files: ["plugin.so": [1, 2, 3]]), .pluginInvalid, "no ELF file"),
            (try admit(files: ["libx.so.1": [1, 2, 3]]), .pluginInvalid, "no ELF file"),
            (try admit(probeFails: true), .pluginInvalid, "it fails"),
        ]
        for (result, code, words) in cases {
            let error = refusal(result)
            #expect(error?.code == code && error?.cause.contains(words) == true, "\(String(describing: error))")
        }
        #expect(try stored() == [])
    }

    @Test func aFailureLeavesAnArtefactInUseAlone() throws {
        let digest = try admit().get().digest
        #expect(refusal(try admit(inUse: true, probeFails: true)) != nil)
        #expect(try scratch.names(in: "artefacts/acme") == [digest])
        #expect(refusal(try admit(probeFails: true)) != nil)
        #expect(try scratch.names(in: "artefacts/acme") == [])
    }

    @Test func whoSignedItIsRecordedAndTheListIsCompared() throws {
        let key = try SecretKey()
        let id = "\(key.id)"
        let trust = Trust(keys: [try key.publicKey], unsigned: .refuse)
        let files = try ["plugin.so": try scratch.read("plugin.so"), "swiftlet.json5": Array(manifest.utf8)].map {
            name, bytes in
            let path = try scratch.write("sum", bytes)
            return (name: name, sha256: String(try shell("sha256sum < '\(path)'").prefix(64)))
        }
        let list = Array(SignedList(files).file.utf8)
        let signature = Array(try Signature(of: list, by: key, trustedComment: "x").file.utf8)
        let signed = [SignedList.name: list, SignedList.signatureName: signature]
        #expect(try admit(files: signed, trust: trust).get().signer == id)
        #expect(try admit(files: signed).get().signer == nil, "nobody is trusted")
        #expect(refusal(try admit(trust: trust))?.code == .forbidden)
        let added = refusal(try admit(files: signed.merging(["more": [1]]) { $1 }, trust: Trust()))
        #expect(added?.step == "check SHA256SUMS" && added?.cause == "it does not list more")
        let large = [SignedList.name: [UInt8](repeating: 65, count: SignedList.largest + 1)]
        #expect(refusal(try admit(files: large))?.cause == "it is larger than 65536 bytes")
    }

    @Test(
        arguments: [
            (#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}"#, nil),
            (#"{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT"}"#, nil),
            ("", "not a JSON object"), ("[]", "not a JSON object"), ("{", "not JSON"), ("{}", "it says neither"),
            (#"{"bomFormat": "CycloneDX"}"#, "it says neither"),
            (#"{"bomFormat": "Cyclone", "specVersion": "1.5"}"#, "it says neither"),
            (#"{"bomFormat": 1, "specVersion": "1.5"}"#, "not JSON"), (#"{"spdxVersion": "2"}"#, "it says neither"),
            (#"{"bomFormat": "CycloneDX", "specVersion": "1.5", "spdxVersion": "SPDX-2.3"}"#, "it says neither"),
            ("{\"spdxVersion\": \"SPDX-2.3\"} x", "not JSON"),
            (String(repeating: #"{"a":"#, count: 100_000), "not JSON"),
        ] as [(String, String?)])
    func aBillOfMaterialsIsWhatItSays(_ text: String, _ words: String?) throws {
        let error = refusal(try admit(files: [BillOfMaterials.name: Array(text.utf8)]))
        #expect(
            error.map { $0.step == "check sbom.json" && $0.cause.contains(words ?? "-") } ?? (words == nil),
            "\(String(describing: error))")
    }

    @Test func aBillOfMaterialsIsBounded() throws {
        let pad = String(repeating: "x", count: BillOfMaterials.largest - 100)
        let fits = Array(#"{"spdxVersion": "SPDX-2.3", "comment": "\#(pad)"}"#.utf8)
        #expect(refusal(try admit(files: [BillOfMaterials.name: fits])) == nil)
        let large = Array(#"{"spdxVersion": "SPDX-2.3", "comment": "\#(pad)\#(pad)"}"#.utf8)
        #expect(refusal(try admit(files: [BillOfMaterials.name: large]))?.cause == "it is larger than 4194304 bytes")
        let notText = Array(#"{"spdxVersion": "SPDX-2.3", "x": ""#.utf8) + [0xff] + Array("\"}".utf8)
        #expect(refusal(try admit(files: [BillOfMaterials.name: notText]))?.cause.contains("UTF-8") == true)
    }

    @Test func dataMayBeNamedAsItLikes() throws {
        let data = Array("text".utf8)
        #expect(refusal(try admit(files: ["list.songs.json": data, "a.source": data, "so": data])) == nil)
    }

    /// A library by another name is loaded all the same, so it can't be linked.
    @Test func aLibraryUnderADataNameCantBeLinked() throws {
        _ = try scratch.compile("evil.dat", "int other(void) { return 1; }", options: "-shared -fPIC -z execstack")
        let source = "int other(void); int swiftlet_plugin_entry(void) { return other(); }"
        _ = try scratch.compile(
            "linking.so", source, options: "-shared -fPIC -Wl,--no-as-needed -L'\(scratch.path)' -l:evil.dat")
        let result = try admit(
            files: ["plugin.so": try scratch.read("linking.so"), "evil.dat": try scratch.read("evil.dat")])
        #expect(refusal(result)?.cause == "it links evil.dat, which workers don't have")
    }
}
