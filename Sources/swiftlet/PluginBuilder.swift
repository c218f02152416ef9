// Turns a handler's source folder into a plugin: picks the sources, writes the glue, runs the compiler, shows its words.
internal import Glibc

/// Where the SDK lies that plugins are built against; laid out by `scripts/build-sdk`.
package struct PluginSDK: Sendable {
    let include: String
    let modules: String
    let libraries: String

    package init(prefix: String) {
        include = prefix + "/sdk/include"
        modules = prefix + "/sdk/modules"
        libraries = prefix + "/lib"
    }
}

/// Why a plugin could not be built: the step, the cause, what the compiler said.
package struct PluginBuildError: Error, CustomStringConvertible {
    package let step: String
    package let cause: String
    package var diagnostics = ""

    package var description: String {
        (diagnostics.isEmpty ? "" : diagnostics + (diagnostics.hasSuffix("\n") ? "" : "\n"))
            + "build: \(step): \(cause)"
    }
}

package struct PluginBuilder: Sendable {
    package enum Language: String, Sendable { case swift, c }

    let sdk: PluginSDK
    let swiftc: String
    let cc: String

    package init(sdk: PluginSDK, swiftc: String = "swiftc", cc: String = "cc") {
        self.sdk = sdk
        self.swiftc = swiftc
        self.cc = cc
    }

    /// Builds `directory` into the shared object `output` and returns that path. An older `output` stays until the new
    /// one is complete.
    ///
    /// - `handlerType`: the Swift type that is the handler; a C handler exports its entry itself.
    /// - `sources`: paths in `directory`; empty: every source file in it, or in its `Sources` folder.
    package func build(
        directory: String, language: Language, handlerType: String?, name: String, version: String,
        sources: [String] = [],
        output: String
    ) throws(PluginBuildError) -> String {
        try requirePlain("name", name)
        try requirePlain("version", version)
        let files =
            try sources.isEmpty ? Self.findSources(in: directory, language) : sources.map { "\(directory)/\($0)" }
        let scratch = try makeScratch()
        defer { removeScratch(scratch) }
        let built = "\(scratch)/plugin.so"
        switch language {
        case .swift:
            guard let handlerType else {
                throw PluginBuildError(
                    step: "manifest", cause: "no handler type: add `handler: \"YourType\"` to swiftlet.json5")
            }
            try requirePlain("handler", handlerType)
            let glue = "\(scratch)/Entry.swift"
            try write(Self.glue(handlerType: handlerType, name: name, version: version), to: glue)
            try write("{ global: swiftlet_plugin_entry; local: *; };\n", to: "\(scratch)/exports.map")
            try run(swiftc, swiftArguments(files + [glue], name: name, scratch: scratch, output: built))
        case .c:
            try run(cc, cArguments(files, name: name, output: built))
        }
        try move(built, to: output)
        return output
    }

    // MARK: sources and glue

    /// The only code between a handler and the C world; the handler's file stays free of pointers.
    package static func glue(handlerType: String, name: String, version: String) -> String {
        """
        import SwiftletKit

        @c(swiftlet_plugin_entry)
        public func swiftletPluginEntry(_ hostABI: UInt32) -> UnsafeRawPointer? {
            Plugin.entry(\(handlerType).self, name: "\(name)", version: "\(version)", revision: Plugin.revision, hostABI: hostABI)
        }

        """
    }

    static func findSources(in directory: String, _ language: Language) throws(PluginBuildError) -> [String] {
        let suffix = language == .swift ? ".swift" : ".c"
        for folder in ["\(directory)/Sources", directory] {
            let found = names(in: folder).filter { $0.hasSuffix(suffix) && $0 != "Package.swift" }
            if !found.isEmpty { return found.map { "\(folder)/\($0)" } }
        }
        throw PluginBuildError(
            step: "sources", cause: "no *\(suffix) file in \(directory) or \(directory)/Sources: put the handler there")
    }

    private static func names(in folder: String) -> [String] {
        guard let stream = unsafe opendir(folder) else { return [] }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
            }
            names.append(name)
        }
        return names.sorted()
    }

    /// These words end up in source text and in command lines.
    private func requirePlain(_ field: String, _ value: String) throws(PluginBuildError) {
        let isPlain = value.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-+".contains($0)) }
        guard isPlain, !value.isEmpty, !value.hasPrefix("-") else {
            throw PluginBuildError(
                step: "manifest", cause: "\(field) \"\(value)\": use letters, digits, '.', '-' and '_'")
        }
    }

    // MARK: compilers

    private func swiftArguments(_ files: [String], name: String, scratch: String, output: String) -> [String] {
        let module = "plugin_" + name.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }
        let linker = [
            "-z", "relro", "-z", "now", "-z", "noexecstack", "-z", "defs", "--as-needed", "-soname=\(name).so",
        ]
        let hidden = ["--version-script=\(scratch)/exports.map"]
        return [
            "-emit-library", "-O", "-whole-module-optimization", "-parse-as-library", "-swift-version", "6",
            "-module-name", module, "-no-toolchain-stdlib-rpath",
            // Generic types by direct calls: by name, a new process parses the name and searches every conformance.
            "-Xfrontend", "-disable-concrete-type-metadata-mangled-name-accessors",
            "-I", sdk.modules, "-I", sdk.include, "-L", sdk.libraries, "-lSwiftletKit",
        ] + (linker + hidden).flatMap { ["-Xlinker", $0] } + ["-o", output] + files
    }

    private func cArguments(_ files: [String], name: String, output: String) -> [String] {
        [
            "-shared", "-fPIC", "-O2", "-std=gnu17", "-Wall", "-fvisibility=hidden", "-I", sdk.include,
            "-Wl,-z,relro,-z,now,-z,noexecstack,-z,defs,-soname=\(name).so", "-o", output,
        ] + files
    }

    private func run(_ tool: String, _ arguments: [String]) throws(PluginBuildError) {
        let (status, output) = try Subprocess.run(tool, arguments)
        guard status != 0 else { return }
        throw PluginBuildError(
            step: tool, cause: "the compiler stopped (\(status)): correct what it says above, then build again",
            diagnostics: output)
    }

    // MARK: files

    private func makeScratch() throws(PluginBuildError) -> String {
        var template = Array("/tmp/swiftlet-build-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else {
            throw PluginBuildError(step: "mkdtemp in /tmp", cause: lastError())
        }
        return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    private func removeScratch(_ path: String) { _ = try? Subprocess.run("rm", ["-rf", "--", path]) }

    private func write(_ text: String, to path: String) throws(PluginBuildError) {
        guard let file = unsafe fopen(path, "w") else {
            throw PluginBuildError(step: "write \(path)", cause: lastError())
        }
        let written = unsafe fputs(text, file)
        guard unsafe fclose(file) == 0, written >= 0 else {
            throw PluginBuildError(step: "write \(path)", cause: lastError())
        }
    }

    /// Copies beside the target first, because /tmp is often another file system and a half-written plugin must not load.
    private func move(_ built: String, to output: String) throws(PluginBuildError) {
        let beside = output + ".new"
        let (status, text) = try Subprocess.run("cp", ["--", built, beside])
        guard status == 0 else { throw PluginBuildError(step: "write \(beside)", cause: text) }
        guard unsafe rename(beside, output) == 0 else {
            throw PluginBuildError(step: "rename to \(output)", cause: lastError())
        }
    }
}
