// swiftlet build: a handler's folder becomes plugin.so.
internal import Core
internal import FoundationEssentials
internal import Glibc

enum BuildCommand {
    static func run(_ arguments: Arguments) throws -> Int32 {
        let directory = try arguments.only("folder")
        let manifest = try readManifest(directory)
        let output = try build(
            manifest, directory: directory, output: arguments.value("--output") ?? "\(directory)/plugin.so")
        Output.line(output)
        return 0
    }

    static func readManifest(_ directory: String) throws -> Manifest {
        let file = "\(directory)/swiftlet.json5"
        guard let data = try? Data(contentsOf: URL(filePath: file)) else {
            throw RuntimeError(
                .manifestInvalid, step: "read \(file)", cause: "the file can't be read",
                next: "name a folder that holds a swiftlet.json5; docs/manifest.md shows one")
        }
        return try Manifest.decode(json5: Array(data), file: file)
    }

    static func build(_ manifest: Manifest, directory: String, output: String) throws -> String {
        guard let language = manifest.language.flatMap(PluginBuilder.Language.init(rawValue:)) else {
            throw RuntimeError(
                .manifestInvalid, step: "build \(directory)",
                cause: "the manifest names no `language` this program builds",
                next: "set language to \"swift\" or \"c\", or build the library yourself and name it in `library`")
        }
        let builder = PluginBuilder(sdk: PluginSDK(prefix: Installation.current.prefix))
        return try builder.build(
            directory: directory, language: language, handlerType: manifest.handlerType, name: manifest.name,
            version: manifest.version, sources: manifest.sources, output: output)
    }
}
