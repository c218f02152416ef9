// The registry on a real disk: what was published is there after a restart, and what can't be read says why.
import Core
import Glibc
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Registry

private func deployment(
    _ tenant: String, _ name: String, kind: PluginKind = .handler, digest: String = "d", at time: Int64 = 1
) -> Deployment {
    var manifest = Manifest(name: name, kind: kind, version: "1.\(time)")
    manifest.library = "plugin.so"
    return Deployment(
        tenant: tenant, name: name, kind: kind, digest: digest, manifest: manifest, createdAt: time)
}

private func failure(_ body: () throws(RuntimeError) -> Void) -> RuntimeError? {
    do throws(RuntimeError) {
        try body()
        return nil
    } catch {
        return error
    }
}

private func opening(_ directory: String) -> RuntimeError? {
    failure { () throws(RuntimeError) in _ = try Registry(stateDirectory: directory) }
}

@Suite struct RegistryTests {
    @Test func aNewRegistryIsEmpty() throws {
        let scratch = try Scratch()
        let snapshot = try Registry(stateDirectory: scratch.file("a/b/state")).snapshot
        #expect(snapshot.functions.isEmpty && snapshot.models.isEmpty && snapshot.digests.isEmpty)
    }

    @Test func whatWasPublishedIsThereAfterARestart() throws {
        let scratch = try Scratch()
        let published = [
            deployment("acme", "f", digest: "1"), deployment("other", "f", digest: "2"),
            deployment(Deployment.platform, "f", kind: .backend, digest: "3"),
        ]
        do {
            let registry = try Registry(stateDirectory: scratch.path)
            for item in published { try registry.publish(item) }
        }
        let snapshot = try Registry(stateDirectory: scratch.path).snapshot
        #expect(snapshot.functions.count == 2 && snapshot.models == ["f": published[2]])
        #expect(snapshot.functions[published[0].key] == published[0])
        #expect(snapshot.functions[published[1].key] == published[1])
        #expect(snapshot.digests == ["acme": ["1"], "other": ["2"], Deployment.platform: ["3"]])
    }

    @Test func theLatestOfANameIsServedAndAnOldSnapshotStays() throws {
        let scratch = try Scratch()
        let registry = try Registry(stateDirectory: scratch.path)
        try registry.publish(deployment("acme", "f", digest: "old", at: 1))
        let (before, revision) = (registry.snapshot, registry.revision)
        try registry.publish(deployment("acme", "f", digest: "new", at: 2))
        #expect(registry.revision != revision)
        let key = FunctionKey(tenant: "acme", name: "f")
        #expect(registry.snapshot.functions[key]?.digest == "new" && registry.snapshot.digests == ["acme": ["new"]])
        #expect(before.functions[key]?.digest == "old")
        // The same millisecond again: the later one counts.
        try registry.publish(deployment("acme", "f", digest: "newer", at: 2))
        #expect(registry.snapshot.functions[key]?.digest == "newer")
        // An older version again: a roll-back.
        try registry.publish(deployment("acme", "f", digest: "old", at: 1))
        #expect(registry.snapshot.functions[key]?.digest == "old" && registry.snapshot.functions.count == 1)
    }

    @Test func removalIsOfOneNameAndKindAndLasts() throws {
        let scratch = try Scratch()
        let key = FunctionKey(tenant: "acme", name: "f")
        do {
            let registry = try Registry(stateDirectory: scratch.path)
            try registry.publish(deployment("acme", "f"))
            try registry.publish(deployment("acme", "g"))
            try registry.publish(deployment(Deployment.platform, "f", kind: .backend))
            #expect(try registry.remove(key, kind: .handler)?.key == key)
            #expect(try registry.remove(key, kind: .handler) == nil)
            #expect(registry.snapshot.functions.keys.map(\.name) == ["g"] && registry.snapshot.models["f"] != nil)
            let model = try registry.remove(FunctionKey(tenant: Deployment.platform, name: "f"), kind: .backend)
            #expect(model?.kind == .backend && registry.snapshot.models.isEmpty)
        }
        let registry = try Registry(stateDirectory: scratch.path)
        #expect(registry.snapshot.functions.keys.map(\.name) == ["g"] && registry.snapshot.models.isEmpty)
        try registry.publish(deployment("acme", "f", at: 9))
        #expect(registry.snapshot.functions[key]?.createdAt == 9)
    }

    @Test func textThatLooksLikeSQLIsText() throws {
        let scratch = try Scratch()
        let registry = try Registry(stateDirectory: scratch.path)
        var hostile = deployment("acme", "f", digest: "'); DROP TABLE deployment; --")
        var manifest = hostile.manifest
        manifest.config = #"{"a":"'; DELETE FROM deployment; --","ä":"𝄞"}"#
        hostile = Deployment(
            tenant: "acme", name: "f", kind: .handler, digest: hostile.digest, manifest: manifest, createdAt: 1)
        try registry.publish(hostile)
        try registry.publish(deployment("acme", "g"))
        #expect(registry.snapshot.functions[hostile.key] == hostile && registry.snapshot.functions.count == 2)
    }

    /// The file as a crash leaves it: the write-ahead log holds what the main file does not.
    @Test func whatWasCommittedSurvivesACrash() throws {
        let scratch = try Scratch()
        let registry = try Registry(stateDirectory: scratch.file("a"))
        try registry.publish(deployment("acme", "f"))
        try shell("mkdir '\(scratch.file("b"))' && cp '\(scratch.file("a"))'/registry.db* '\(scratch.file("b"))'")
        #expect(try Registry(stateDirectory: scratch.file("b")).snapshot.functions.count == 1)
        // A log that was cut in the middle loses its last transaction, not the file.
        try registry.publish(deployment("acme", "g"))
        try shell("mkdir '\(scratch.file("c"))' && cp '\(scratch.file("a"))'/registry.db* '\(scratch.file("c"))'")
        let size = try scratch.read("c/registry.db-wal").count
        _ = unsafe truncate(scratch.file("c/registry.db-wal"), size - 100)
        #expect(try Registry(stateDirectory: scratch.file("c")).snapshot.functions.keys.map(\.name) == ["f"])
    }

    @Test func twoHostsCantShareAStateDirectory() throws {
        let scratch = try Scratch()
        var registry: Registry? = try Registry(stateDirectory: scratch.path)
        let error = opening(scratch.path)
        #expect(error?.code == .conflict && error?.cause == "another host uses this state directory")
        #expect(error?.step == "use \(scratch.path)" && error?.next.contains("--state") == true)
        #expect(registry != nil)
        registry = nil
        #expect(opening(scratch.path) == nil)
    }

    @Test func manyThreadsPublishAndReadAtOnce() throws {
        let scratch = try Scratch()
        let registry = try Registry(stateDirectory: scratch.path)
        let faults = Mutex<[String]>([])
        try withThreads(6) { thread in
            var seen = 0
            for round in 1...12 {
                let published = failure { () throws(RuntimeError) in
                    let name = "f\(round % 4)"
                    try registry.publish(deployment("t\(thread)", name, digest: "\(thread)", at: Int64(round)))
                    guard round % 4 == 0 else { return }
                    _ = try registry.remove(FunctionKey(tenant: "t\(thread)", name: "f1"), kind: .handler)
                }
                if let published { faults.withLock { $0.append("\(published)") } }
                let own = registry.snapshot.functions.keys.count { $0.tenant == "t\(thread)" }
                if own < min(seen, 3) - 1 { faults.withLock { $0.append("a snapshot lost what was published") } }
                seen = own
            }
        }
        #expect(faults.withLock(\.self) == [])
        let snapshot = registry.snapshot
        #expect(snapshot.functions.count == 6 * 3)
        #expect(snapshot.functions.values.allSatisfy { $0.createdAt >= 9 && "t\($0.digest)" == $0.tenant })
    }
}

@Suite struct RegistryFailureTests {
    @Test func aDirectoryThatCantBeMadeSaysWhy() throws {
        let scratch = try Scratch()
        let file = try scratch.write("file", "")
        let error = opening("\(file)/state")
        #expect(error?.code == .unavailable && error?.step == "use the state directory \(file)/state")
        #expect(error?.cause.contains("Not a directory") == true && error?.next.contains("--state") == true)
        #expect(opening("/proc/swiftlet/state")?.cause.contains("mkdir(/proc/swiftlet)") == true)
    }

    @Test func aDatabaseThatCantBeOpenedSaysWhy() throws {
        let scratch = try Scratch()
        try shell("mkdir '\(scratch.file("registry.db"))'")
        let error = opening(scratch.path)
        #expect(error?.code == .unavailable && error?.step == "open \(scratch.file("registry.db"))")
        #expect(error?.cause == "unable to open database file" && error?.next.contains("writable") == true)
    }

    @Test(arguments: [0, 100, 5000]) func aFileThatIsNoDatabaseIsRefused(_ size: Int) throws {
        let scratch = try Scratch()
        let bytes = [UInt8](repeating: UInt8(ascii: "x"), count: size)
        try scratch.write("registry.db", bytes)
        let error = opening(scratch.path)
        // An empty file is a new database.
        guard size > 0 else { return #expect(error == nil) }
        #expect(error?.code == .internalError && error?.step == "read \(scratch.file("registry.db"))")
        #expect(error?.cause == "file is not a database" && error?.next.contains("backup") == true)
        #expect(try scratch.read("registry.db") == bytes, "nothing was written to it")
    }

    @Test func damageInsideTheFileIsFoundWhenItIsRead() throws {
        let scratch = try Scratch()
        do {
            let registry = try Registry(stateDirectory: scratch.path)
            for index in 0..<40 { try registry.publish(deployment("acme", "f\(index)")) }
        }
        let good = try scratch.read("registry.db")
        #expect(good.count >= 3 * 4096)
        var bytes = good
        for index in 4096..<bytes.count { bytes[index] = 0xA5 }
        try scratch.write("registry.db", bytes)
        let error = opening(scratch.path)
        #expect(error?.code == .internalError && error?.cause.isEmpty == false)
        // Cut after its first page.
        try scratch.write("registry.db", Array(good[..<4096]))
        #expect(opening(scratch.path)?.step == "read \(scratch.file("registry.db"))")
    }

    @Test func randomDamageIsAnErrorOrIsHarmlessButNeverACrash() throws {
        let scratch = try Scratch()
        do {
            let registry = try Registry(stateDirectory: scratch.path)
            for index in 0..<20 { try registry.publish(deployment("acme", "f\(index)")) }
        }
        let good = try scratch.read("registry.db")
        var random = SeededGenerator(seed: 3)
        for _ in 0..<60 {
            var bytes = good
            for _ in 0..<8 {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            try shell("rm -f '\(scratch.path)'/registry.db*")
            try scratch.write("registry.db", bytes)
            let error = opening(scratch.path)
            #expect(error == nil || error?.cause.isEmpty == false && error?.next.isEmpty == false)
        }
    }

    @Test func aNewerSchemaIsRefusedAndLeftAlone() throws {
        let scratch = try Scratch()
        do { try Registry(stateDirectory: scratch.path).publish(deployment("acme", "f")) }
        var known = ""
        do { try Database(path: scratch.file("registry.db")).run("PRAGMA user_version") { known = $0[0] } }
        do { try Database(path: scratch.file("registry.db")).run("PRAGMA user_version=1000") }
        let error = opening(scratch.path)
        #expect(error?.code == .conflict && error?.step == "open \(scratch.file("registry.db"))")
        #expect(error?.cause == "its schema is version 1000, and this program knows versions up to \(known)")
        #expect(error?.next.contains("newer swiftlet") == true)
        do { try Database(path: scratch.file("registry.db")).run("PRAGMA user_version=\(known)") }
        #expect(try Registry(stateDirectory: scratch.path).snapshot.functions.count == 1)
    }

    /// Version 1 as it was first released; the registry of every later version opens it.
    @Test func theFirstSchemaIsStillRead() throws {
        let scratch = try Scratch()
        do {
            let database = try Database(path: scratch.file("registry.db"))
            try database.run(
                """
                CREATE TABLE deployment (
                    tenant TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, digest TEXT NOT NULL,
                    manifest TEXT NOT NULL, created_at INTEGER NOT NULL, current INTEGER NOT NULL,
                    PRIMARY KEY (tenant, name, kind, created_at)) STRICT
                """)
            let manifest = #"{"name":"f","kind":"handler","version":"1","library":"plugin.so"}"#
            try database.run(
                "INSERT INTO deployment VALUES ('acme','f','handler','abc',?1,7,1)", [manifest])
            try database.run("PRAGMA user_version=1")
        }
        let snapshot = try Registry(stateDirectory: scratch.path).snapshot
        #expect(snapshot.functions[FunctionKey(tenant: "acme", name: "f")]?.createdAt == 7)
    }

    @Test func aSchemaThatIsHalfThereIsAnError() throws {
        let scratch = try Scratch()
        do { try Database(path: scratch.file("registry.db")).run("PRAGMA user_version=1") }
        #expect(opening(scratch.path)?.cause == "no such table: deployment")
        do {
            let database = try Database(path: scratch.file("registry.db"))
            try database.run("CREATE TABLE deployment (x TEXT)")
            try database.run("PRAGMA user_version=0")
        }
        #expect(opening(scratch.path)?.cause.contains("already exists") == true)
    }
}
