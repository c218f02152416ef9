// Which version a name means.
import Core
@testable import Inference
import Testing
import Workers

private func spec(_ name: String, _ version: String, _ digest: String, _ aliases: [String]) -> ModelSpec {
    var spec = ModelSpec(
        name: name, created: 0,
        worker: WorkerSpec(
            purpose: .backend, key: FunctionKey(tenant: "platform", name: name), trust: "t", root: "/",
            directory: digest,
            library: "l.so", limits: Limits(defaultsFor: .backend)), keepAliveMilliseconds: 0)
    spec.version = version
    spec.aliases = aliases
    return spec
}

@Suite struct ModelDirectoryTests {
    @Test func aNameMeansOneVersion() {
        let directory = ModelDirectory([
            spec("m", "2", "cccccccc99", ["previous"]), spec("m", "1.0", "bbbbbbbb88", ["latest", "2"]),
            spec("m", "1.0", "aaaaaaaa77", ["stable"]), spec("n", "1.0", "dddddddd66", ["latest"]),
        ])
        func digest(_ name: String) -> String? { directory[name]?.worker.directory.prefix(1).description }
        for (name, expected) in [
            ("m", "b"), ("m@latest", "b"), ("m@previous", "c"), ("m@stable", "a"), ("n", "d"), ("n@1.0", "d"),
            // An alias comes before a version, a newer version before an older one.
            ("m@2", "b"), ("m@1.0", "b"), ("m@aaaaaaaa", "a"), ("m@aaaaaaaa77", "a"), ("m@bbbbbbbb88", "b"),
        ] {
            #expect(digest(name) == expected, "\(name)")
        }
        for name in [
            "", "@", "m@", "@latest", "x", "m@aaaaaaa", "m@aaaaaaaa7x", "m@latest@latest", "M", "m@Latest",
            "n@previous",
        ] {
            #expect(digest(name) == nil, "\(name)")
        }
        #expect(directory.latest.map(\.name) == ["m", "n"] && directory.versions.count == 4)
        for version in directory.versions { #expect(directory[version.reference]?.reference == version.reference) }
    }
}
