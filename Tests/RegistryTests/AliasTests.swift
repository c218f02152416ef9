// What the versions of a model are called, and which of them are kept; over restarts.
import Core
import TestSupport
import Testing

@testable import Registry

private func version(_ digest: String, at time: Int64) -> Deployment {
    var manifest = Manifest(name: "m", kind: .backend, version: "1.\(time)")
    manifest.library = "plugin.so"
    let stamp = FileStamp(bytes: .max, modified: -1, inode: .max - 1)
    return Deployment(
        tenant: Deployment.platform, name: "m", kind: .backend, digest: digest, manifest: manifest, createdAt: time,
        files: [ArtefactFile(name: "plugin.so", sha256: "s\(digest)", stamp: stamp)])
}

private func names(_ snapshot: RegistrySnapshot) -> [String: [String]] {
    Dictionary(uniqueKeysWithValues: snapshot.modelVersions.map { ($0.deployment.digest, $0.aliases) })
}

@Suite struct AliasTests {
    /// A registry that is opened anew after each change says the same as the one that made it.
    private func expect(_ registry: inout Registry?, _ scratch: Scratch, _ expected: [String: [String]]) throws {
        #expect(names(try #require(registry).snapshot) == expected)
        let order = registry?.snapshot.modelVersions.map(\.deployment)
        registry = nil
        registry = try Registry(stateDirectory: scratch.path)
        #expect(names(try #require(registry).snapshot) == expected, "after a restart")
        #expect(registry?.snapshot.modelVersions.map(\.deployment) == order)
    }

    @Test func theLatestAndThePreviousVersionAreKeptAndWhatAnAliasNames() throws {
        let scratch = try Scratch()
        var registry: Registry? = try Registry(stateDirectory: scratch.path)
        let versions = (1...4).map { version("\($0)", at: Int64($0)) }
        try registry?.publish(versions[0])
        try expect(&registry, scratch, ["1": ["latest"]])
        try registry?.setAlias("stable", to: versions[0])
        try registry?.publish(versions[1])
        try expect(&registry, scratch, ["2": ["latest"], "1": ["previous", "stable"]])
        try registry?.publish(versions[2])
        try registry?.publish(versions[3])
        try expect(&registry, scratch, ["4": ["latest"], "3": ["previous"], "1": ["stable"]])
        #expect(registry?.snapshot.digests == [Deployment.platform: ["4", "3", "1"]])
        // Back, and back again.
        try registry?.setAlias("latest", to: versions[2])
        try expect(&registry, scratch, ["3": ["latest"], "4": ["previous"], "1": ["stable"]])
        try registry?.setAlias("latest", to: versions[0])
        try expect(&registry, scratch, ["1": ["latest", "stable"], "3": ["previous"]])
        try registry?.removeAlias("stable", of: "m")
        try expect(&registry, scratch, ["1": ["latest"], "3": ["previous"]])
        _ = try registry?.remove(versions[0].key, kind: .backend)
        try expect(&registry, scratch, [:])
        // Nothing of the old names comes back with the model.
        try registry?.publish(version("5", at: 5))
        try expect(&registry, scratch, ["5": ["latest"]])
    }

    @Test func theSameContentAgainIsNoNewVersionButIsNewer() throws {
        let scratch = try Scratch()
        var registry: Registry? = try Registry(stateDirectory: scratch.path)
        for (digest, time) in [("1", 1), ("2", 2), ("2", 3), ("1", 4)] {
            try registry?.publish(version(digest, at: Int64(time)))
        }
        try expect(&registry, scratch, ["1": ["latest"], "2": ["previous"]])
        #expect(registry?.snapshot.models["m"]?.createdAt == 4)
    }

    @Test func whatIsKnownOfFilesCanBeRenewed() throws {
        let scratch = try Scratch()
        var registry: Registry? = try Registry(stateDirectory: scratch.path)
        let one = version("1", at: 1)
        try registry?.publish(one)
        try registry?.publish(version("2", at: 2))
        var files = one.files
        files[0].stamp.bytes = 7
        try registry?.restamp(one, files: files)
        #expect(registry?.snapshot.aliases["m"]?["previous"]?.files == files)
        try expect(&registry, scratch, ["2": ["latest"], "1": ["previous"]])
        #expect(registry?.snapshot.models["m"]?.files == version("2", at: 2).files)
    }

    @Test func namesOfTheHostAndNamesThatAreNoneAreRefused() throws {
        let scratch = try Scratch()
        let registry = try Registry(stateDirectory: scratch.path)
        let one = version("1", at: 1)
        try registry.publish(one)
        for (alias, code) in [("previous", RuntimeError.Code.badRequest), ("A", .badRequest), ("", .badRequest)] {
            #expect { try registry.setAlias(alias, to: one) } throws: { ($0 as? RuntimeError)?.code == code }
        }
        #expect { try registry.removeAlias("latest", of: "m") } throws: { ($0 as? RuntimeError)?.code == .badRequest }
        #expect { try registry.removeAlias("none", of: "m") } throws: { ($0 as? RuntimeError)?.code == .notFound }
    }
}
