// Files of a deployment that were changed are found: by their stamps at each load, by their bytes when it is deployed again.
import Core
import Glibc
import TestSupport
import Testing

@testable import PluginHost

@Suite struct ArtefactCheckTests {
    private func stored(_ scratch: Scratch, _ store: ArtefactStore) throws -> (directory: String, files: [ArtefactFile])
    {
        let members = [
            (name: "model", path: try scratch.write("in-model", "weights")),
            (name: "plugin.so", path: try scratch.write("in-plugin", "code")),
        ]
        try TarWriter.write(members, to: scratch.file("one.tar"))
        let staged = try store.stage(scratch.file("one.tar"), limit: 1000)
        try store.commit(staged.directory, tenant: "platform", digest: staged.digest, digests: staged.digests)
        let directory = "\(store.root(of: "platform"))/\(staged.digest)"
        return (directory, store.files(tenant: "platform", digest: staged.digest, staged.digests))
    }

    @Test func whatWasDeployedIsWithoutFault() throws {
        let scratch = try Scratch()
        let (directory, files) = try stored(scratch, try ArtefactStore(stateDirectory: scratch.path))
        #expect(files.map(\.name) == ["model", "plugin.so"] && files[0].stamp.bytes == 7)
        #expect(files[0].sha256 == "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c")
        #expect(ArtefactCheck.fault(in: directory, files) == nil)
        #expect(ArtefactCheck.restamped(in: directory, files) == files)
    }

    @Test(arguments: ["longer weights", "WEIGHTS", ""]) func aChangedFileIsNamed(_ text: String) throws {
        let scratch = try Scratch()
        let (directory, files) = try stored(scratch, try ArtefactStore(stateDirectory: scratch.path))
        usleep(10_000)
        try shell("printf '%s' '\(text)' > '\(directory)/model'")
        let fault = ArtefactCheck.fault(in: directory, files)
        #expect(fault?.contains("its file model was changed after it was deployed") == true)
        // Its bytes are others: no new stamp makes it good.
        #expect(ArtefactCheck.restamped(in: directory, files) == files)
    }

    @Test func aMissingFileALinkAndAFolderAreFaults() throws {
        let scratch = try Scratch()
        let (directory, files) = try stored(scratch, try ArtefactStore(stateDirectory: scratch.path))
        for change in ["rm", "ln -s plugin.so", "mkdir"] {
            try shell("cd '\(directory)' && rm -rf model && \(change == "rm" ? "true" : change + " model")")
            #expect(ArtefactCheck.fault(in: directory, files) == "its file model is missing", "\(change)")
        }
    }

    @Test func aCopyIsGoodAgainAfterItsBytesWereCompared() throws {
        let scratch = try Scratch()
        let (directory, files) = try stored(scratch, try ArtefactStore(stateDirectory: scratch.path))
        try shell("cd '\(directory)' && cp model copy && mv copy model && touch -d 2001-01-01 model")
        #expect(ArtefactCheck.fault(in: directory, files)?.contains("time or number differs") == true)
        let renewed = ArtefactCheck.restamped(in: directory, files)
        #expect(renewed.map(\.sha256) == files.map(\.sha256) && renewed != files)
        #expect(ArtefactCheck.fault(in: directory, renewed) == nil)
    }

    @Test func deployingAgainMendsWhatWasChanged() throws {
        let scratch = try Scratch()
        let store = try ArtefactStore(stateDirectory: scratch.path)
        let (directory, _) = try stored(scratch, store)
        try shell("printf WEIGHTS > '\(directory)/model'")
        let (again, files) = try stored(scratch, store)
        #expect(again == directory && ArtefactCheck.fault(in: directory, files) == nil)
        let name = directory.split(separator: "/").last.map(String.init) ?? ""
        #expect(try scratch.read("artefacts/platform/\(name)/model") == Array("weights".utf8))
        #expect(try scratch.names(in: "staging").filter { $0 != "one.tar" } == [], "nothing is left behind")
    }
}
