// Builds the SDK, the driver and the plugins once, then runs the driver in real child processes.
internal import Glibc
internal import TestSupport
internal import swiftlet

enum Workshop {
    static let repository = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
    static let handlers = repository + "/Tests/KitTests/handlers"
    static let kit = directory.map { $0 + "/lib/libSwiftletKit.so" }

    /// SDK and driver in a folder that one test run shares.
    private static let directory: Result<String, Broken> = Result { () throws(Broken) in
        let build = try buildDirectory()
        let directory = build + "/kit-tests"
        try shell("rm -rf '\(directory)' && '\(repository)/scripts/build-sdk' '\(directory)' '\(build)'")
        try shell(
            "cc -O1 -Wall -I '\(directory)/sdk/include' '\(repository)/Tests/KitTests/driver.c' -o '\(directory)/driver' -ldl"
        )
        return directory
    }

    static let probe = plugin("probe", .swift, handlers, "Probe")
    static let helloSwift = plugin("hello-swift", .swift, repository + "/examples/hello-swift", "Hello")
    static let helloC = plugin("hello-c", .c, repository + "/examples/hello-c", nil)
    static let chat = plugin("chat", .swift, repository + "/examples/chat", "Chat")

    static func builder() throws -> PluginBuilder { PluginBuilder(sdk: PluginSDK(prefix: try directory.get())) }

    static func scratch(_ name: String) throws -> String { try directory.get() + "/" + name }

    private static func plugin(
        _ name: String, _ language: PluginBuilder.Language, _ source: String, _ handler: String?
    ) -> Result<String, any Error> {
        Result {
            try builder().build(
                directory: source, language: language, handlerType: handler, name: name, version: "1.2.3",
                output: try scratch(name + ".so"))
        }
    }

    /// What the driver printed about one plugin.
    struct Report {
        let text: String

        /// The rest of the first line that starts with `fact`.
        subscript(_ fact: String) -> String? { all(fact).first }

        func all(_ fact: String) -> [String] {
            text.split(separator: "\n").filter { $0.hasPrefix(fact + " ") }.map { String($0.dropFirst(fact.count + 1)) }
        }

        func number(_ fact: String) -> Double { self[fact].flatMap(Double.init) ?? .nan }

        var body: String? {
            guard let start = text.range(of: "body <<"), let end = text.range(of: ">>\nmax_open") else { return nil }
            return String(text[start.upperBound..<end.lowerBound])
        }
    }

    static func drive(_ plugin: Result<String, any Error>, _ options: [String] = []) throws -> Report {
        let directory = try directory.get()
        // As a zygote does: the Kit is there before any plugin.
        let words = [try plugin.get(), "--kit", try kit.get()] + options
        let quoted = words.map {
            "'" + $0.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
        }
        return Report(text: try shell("timeout 20 '\(directory)/driver' \(quoted.joined(separator: " "))"))
    }

    /// The folder that this test was built into: the Kit lies beside it.
    private static func buildDirectory() throws(Broken) -> String {
        var path = [UInt8](repeating: 0, count: 4096)
        let size = unsafe readlink("/proc/self/exe", &path, path.count)
        let own = String(decoding: path.prefix(max(0, size)), as: UTF8.self)
        for folder in [own, repository + "/.build/debug/x"].map({
            $0.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 }
        })
        where unsafe access(folder + "/libSwiftletKit.so", R_OK) == 0 { return folder }
        throw Broken(what: "libSwiftletKit.so is not built: run swift build --product SwiftletKit")
    }
}

extension String {
    /// The first place of `needle`.
    fileprivate func range(of needle: String) -> Range<String.Index>? {
        indices.first { self[$0...].hasPrefix(needle) }.map { $0..<index($0, offsetBy: needle.count) }
    }
}
