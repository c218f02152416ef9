// A crash at any step of a deployment: what is on the disk then is looked at as the next start finds it.
import Core
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import PluginHost

@Suite struct CrashTests {
    private final class Snapshots: Sendable {
        let list = Mutex<[(step: ArtefactStore.Step, path: String)]>([])

        /// The disk of this moment, with every mode and time.
        func take(_ step: ArtefactStore.Step, of state: String, into scratch: Scratch) {
            list.withLock { list in
                let path = scratch.file("\(list.count)")
                try? _ = shell("cp -a '\(state)' '\(path)'")
                list.append((step, path))
            }
        }
    }

    private func pack(_ scratch: Scratch, _ text: String) throws -> String {
        try scratch.write("a-\(text)", text)
        try scratch.write("b-\(text)", "b" + text)
        try TarWriter.write(
            [("a", scratch.file("a-\(text)")), ("b", scratch.file("b-\(text)"))], to: scratch.file("\(text).tar"))
        return scratch.file("\(text).tar")
    }

    private func deploy(_ archive: String, _ store: ArtefactStore, state: String) throws -> String {
        try shell("cp '\(archive)' '\(store.uploadPath(named: "u.tar"))'")
        let staged = try store.stage(store.uploadPath(named: "u.tar"), limit: 1000)
        try store.commit(staged.directory, tenant: "acme", digest: staged.digest, digests: staged.digests)
        return staged.digest
    }

    private func check(_ state: String, has digest: String, of text: String, mayMiss: Bool) throws {
        let store = try ArtefactStore(stateDirectory: state)
        store.sweep(keeping: ["acme": [digest]])
        #expect(try shell("ls -A '\(state)/staging'") == "")
        let place = "\(state)/artefacts/acme/\(digest)"
        guard unsafe access(place, F_OK) == 0 else {
            #expect(mayMiss, "\(place) is gone")
            return
        }
        #expect(try shell("cd '\(place)' && cat a b && ls -A") == "\(text)b\(text)a\nb\n")
        #expect(try shell("stat -c %a '\(place)'") == "555\n")
    }

    /// The version that is published stays whole; the new one is whole or not there, and what is in between is cleared.
    @Test func aNewVersionIsThereWholeOrNotAtAll() throws {
        let (scratch, copies, state) = (try Scratch(), try Scratch(), try Scratch())
        let snapshots = Snapshots()
        let first = try deploy(try pack(scratch, "old"), ArtefactStore(stateDirectory: state.path), state: state.path)
        let store = try ArtefactStore(stateDirectory: state.path) { snapshots.take($0, of: state.path, into: copies) }
        let second = try deploy(try pack(scratch, "new"), store, state: state.path)
        let taken = snapshots.list.withLock { $0 }
        #expect(taken.map(\.step) == [.unpacked, .synced, .moved, .sealed])
        for (step, path) in taken {
            // The registry names the old one until the deployment is published, the new one from then on.
            try shell("cp -a '\(path)' '\(path).new'")
            try check(path, has: first, of: "old", mayMiss: false)
            try check("\(path).new", has: second, of: "new", mayMiss: step == .unpacked || step == .synced)
        }
    }

    /// A damaged copy is replaced at once: there is no moment at which its place is empty.
    @Test func aReplacedCopyIsNeverAway() throws {
        let (scratch, copies, state) = (try Scratch(), try Scratch(), try Scratch())
        let snapshots = Snapshots()
        let archive = try pack(scratch, "same")
        let digest = try deploy(archive, ArtefactStore(stateDirectory: state.path), state: state.path)
        try shell("cd '\(state.path)/artefacts/acme/\(digest)' && chmod 777 . a && echo evil > a")
        let store = try ArtefactStore(stateDirectory: state.path) { snapshots.take($0, of: state.path, into: copies) }
        #expect(try deploy(archive, store, state: state.path) == digest)
        let taken = snapshots.list.withLock { $0 }
        #expect(taken.map(\.step) == [.unpacked, .synced, .opened, .exchanged, .moved, .sealed])
        for (step, path) in taken {
            let text = try shell("cat '\(path)/artefacts/acme/\(digest)/a'")
            #expect(text == ([.unpacked, .synced, .opened].contains(step) ? "evil\n" : "same"), "\(step)")
        }
    }
}
