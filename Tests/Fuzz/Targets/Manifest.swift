// swiftlet.json5: text to manifest, to canonical text, and back.
import Core
import Inference

extension Target {
    static let manifest = Target(name: "manifest") { bytes in
        if let value = try? JSON5.decode(bytes, step: "fuzz") {
            // Canonical text may be longer than what was written, so its size is not held against it here.
            let text = Array(value.text.utf8)
            let again = text.count <= JSON5.largest ? try? JSON5.decode(text, step: "fuzz") : value
            require(again == value, "a JSON value reads back equal from its canonical text: \(value.text)")
        }
        let manifest: Manifest
        do throws(RuntimeError) {
            manifest = try Manifest.decode(json5: bytes, file: "fuzz")
        } catch {
            return require(!error.cause.isEmpty && !error.next.isEmpty, "a refusal says why and what to do")
        }
        let text = manifest.canonicalJSON
        let again = try? Manifest.decode(json5: Array(text.utf8), file: "fuzz")
        require(again == manifest, "a manifest reads back equal from its canonical text: \(text)")
        require(again?.canonicalJSON == text, "canonical text is the same the second time: \(text)")
        checkPromises(manifest)
        checkConfig(manifest.config)
    }

    /// What later rooms rely on without asking again.
    private static func checkPromises(_ manifest: Manifest) {
        require(Names.isValid(manifest.name), "the name follows the rule")
        require(Names.isFileName(manifest.libraryFile), "the library is a plain file name")
        require(manifest.model.map(Names.isFileName) ?? true, "the model is a plain file name")
        for source in manifest.sources {
            require(
                !source.hasPrefix("/") && !source.split(separator: "/").contains(".."), "sources stay in the folder")
        }
        let limits = manifest.limits
        require(limits.memoryBytes >= 4 << 20 && limits.memoryBytes <= 1 << 40, "memory is within its range")
        require((1...1024).contains(limits.concurrency) && (0...65_536).contains(limits.queue), "so are the counts")
        require((0...604_800_000).contains(manifest.idleTimeoutMilliseconds), "and the times")
        require((0...604_800_000).contains(manifest.keepAliveMilliseconds), "and the times")
    }

    /// Plugins get the configuration as plain JSON: a parser that knows nothing of JSON5 must take it.
    private static func checkConfig(_ config: String) {
        var parser = JSONParser()
        let bytes = Array(config.utf8)
        let isObject = try? parser.read(bytes.span, refuse: { $0 }) { (root) throws(JSONFailure) in root.kind == .object
        }
        require(isObject == true, "the configuration is a JSON object: \(config)")
        require(!bytes.contains(0), "the configuration has no NUL")
    }
}
