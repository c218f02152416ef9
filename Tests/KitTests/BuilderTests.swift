// What `swiftlet build` makes of good and bad source folders.
import TestSupport
internal import swiftlet
import Testing

@Suite struct Builder {
    @Test func aPluginExportsOneSymbolAndNamesItsLibraries() throws {
        let symbols = try shell("nm -D --defined-only '\(try Workshop.helloSwift.get())'")
        #expect(symbols.split(separator: "\n").count == 1 && symbols.contains(" T swiftlet_plugin_entry"))
        let dynamic = try shell("readelf -dlW '\(try Workshop.helloSwift.get())'")
        #expect(dynamic.contains("[libSwiftletKit.so]") && !dynamic.contains("RUNPATH") && !dynamic.contains("RPATH"))
        #expect(!dynamic.contains("libFoundation.so") && dynamic.contains("BIND_NOW") && !dynamic.contains("RWE"))
    }

    @Test func aPluginOfAnotherKitIsRefusedInWords() throws {
        let folder = try Workshop.scratch("older")
        let entry = PluginBuilder.glue(handlerType: "Hello", name: "older", version: "1")
            .replacing("Plugin.revision", with: "0").replacing("swiftletPluginEntry", with: "entry")
        let sdk = try Workshop.scratch("sdk")
        try shell("mkdir -p '\(folder)' && cat > '\(folder)/Entry.swift' <<'END'\n\(entry)END")
        try shell(
            "swiftc -emit-library -O -parse-as-library -module-name older -I '\(sdk)/modules' -I '\(sdk)/include' "
                + "-L '\(sdk)/../lib' -lSwiftletKit -o '\(folder)/older.so' '\(folder)/Entry.swift' "
                + "'\(Workshop.repository)/examples/hello-swift/Hello.swift'")
        let report = try Workshop.drive(.success(folder + "/older.so"))
        #expect(report["init"] == "-1")
        #expect(report["fail"]?.contains("revision 0, this host has 1: build it again") == true)
    }

    @Test func compilerWordsAreShown() throws {
        let folder = try Workshop.scratch("wrong")
        try shell("mkdir -p '\(folder)' && echo 'struct Hello: Handlr {}' > '\(folder)/a.swift'")
        let error = try #require(throws: PluginBuildError.self) { try build(folder) }
        #expect(error.step == "swiftc" && "\(error)".contains("cannot find type 'Handlr' in scope"))
        #expect(try shell("ls '\(try Workshop.scratch("."))' | grep -c wrong.so || true") == "0\n")
    }

    @Test func badInputIsRefusedBeforeTheCompilerRuns() throws {
        let folder = try Workshop.scratch("empty")
        try shell("mkdir -p '\(folder)'")
        #expect(try #require(throws: PluginBuildError.self) { try build(folder) }.step == "sources")
        let example = Workshop.repository + "/examples/hello-swift"
        #expect(try #require(throws: PluginBuildError.self) { try build(example, type: nil) }.step == "manifest")
        let injected = try #require(throws: PluginBuildError.self) { try build(example, type: "A.self); exit(1") }
        #expect(injected.step == "manifest")
    }

    @Test func aMissingCompilerSaysWhatToInstall() throws {
        let builder = PluginBuilder(sdk: PluginSDK(prefix: "/nowhere"), swiftc: "no-such-swiftc")
        let error = try #require(throws: PluginBuildError.self) {
            try builder.build(
                directory: Workshop.repository + "/examples/hello-swift", language: .swift, handlerType: "Hello",
                name: "x",
                version: "1", output: "/nowhere/x.so")
        }
        #expect(error.cause.contains("install it"))
    }

    private func build(_ folder: String, type: String? = "Hello") throws {
        _ = try Workshop.builder().build(
            directory: folder, language: .swift, handlerType: type, name: "wrong", version: "1.0.0",
            output: try Workshop.scratch("wrong.so"))
    }
}
