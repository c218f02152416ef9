// ElfCheck against a real plugin: each thing it refuses, and no bytes that crash it.
import Core
import PluginHost
import TestSupport
import Testing

private let pluginSource = """
    const void *swiftlet_plugin_entry(unsigned host) { return host == 0 ? 0 : "x"; }
    """

/// A small plugin, compiled once.
private let sample: Result<[UInt8], any Error> = Result { try build("sample", pluginSource) }

private func build(_ name: String, _ source: String, _ options: String = "") throws -> [UInt8] {
    let scratch = try Scratch()
    _ = try scratch.compile(name, source, options: "-shared -fPIC -s \(options)")
    return try scratch.read(name)
}

private func verdict(_ file: [UInt8], isPlugin: Bool = true, beside: Set<String> = []) -> RuntimeError? {
    do throws(RuntimeError) {
        try ElfCheck.check(file, name: "plugin.so", isPlugin: isPlugin, beside: beside)
        return nil
    } catch {
        return error
    }
}

/// Where things stand in an ELF-64 file, for tests that change one of them.
private struct Layout {
    var bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func number(_ offset: Int, _ width: Int) -> UInt64 {
        (0..<width).reduce(0) { $0 | UInt64(bytes[offset + $1]) << (8 * UInt64($1)) }
    }

    mutating func set(_ offset: Int, _ width: Int, _ value: UInt64) {
        for index in 0..<width { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index))) }
    }

    /// Offsets of the program headers of a type.
    func segments(_ type: UInt64) -> [Int] {
        (0..<Int(number(56, 2))).map { Int(number(32, 8)) + 56 * $0 }.filter { number($0, 4) == type }
    }

    /// Offsets of the dynamic entries with a tag.
    func entries(_ tag: UInt64) -> [Int] {
        guard let segment = segments(2).first else { return [] }
        let start = Int(number(segment + 8, 8))
        return (0..<Int(number(segment + 32, 8)) / 16).map { start + 16 * $0 }.filter { number($0, 8) == tag }
    }
}

@Suite struct ElfCheckTests {
    @Test func aPluginPasses() throws {
        #expect(verdict(try sample.get()) == nil)
        #expect(verdict(try build("math", pluginSource, "-Wl,--no-as-needed -lm -lpthread")) == nil)
    }

    @Test func whatIsNoSharedObjectForThisMachineIsRefused() throws {
        let good = Layout(try sample.get())
        #expect(verdict([])?.cause == "it is no ELF file")
        #expect(
            verdict(Array("#!/bin/sh\nexit 0\n".utf8) + [UInt8](repeating: 0, count: 100))?.cause == "it is no ELF file"
        )
        let changes: [(Int, UInt64, String)] = [
            (0, 0x7e, "it is no ELF file"), (4, 1, "no 64-bit"), (5, 2, "no 64-bit little-endian"),
            (16, 2, "no shared object"), (16, 4, "no shared object"), (18, 3, "another machine (number 3)"),
            (54, 32, "program header is malformed"), (56, 0, "program header is malformed"),
            (56, 65, "program header is malformed"),
        ]
        for (offset, value, words) in changes {
            var file = good
            file.set(offset, 1, value)
            let error = verdict(file.bytes)
            #expect(error?.code == .pluginInvalid && error?.cause.contains(words) == true, "\(offset) \(value)")
            #expect(error?.step == "check plugin.so" && error?.next.isEmpty == false)
        }
        var far = good
        far.set(32, 8, .max)
        #expect(verdict(far.bytes)?.cause == "its program header is cut")
    }

    @Test func codeThatCanBeWrittenIsRefused() throws {
        let good = Layout(try sample.get())
        var writable = good
        for segment in good.segments(1) where good.number(segment + 4, 4) & 1 == 1 { writable.set(segment + 4, 4, 7) }
        #expect(verdict(writable.bytes)?.cause == "a segment is writable and executable")
        let stack = try build("stack", pluginSource, "-z execstack")
        #expect(verdict(stack)?.cause == "it asks for an executable stack")
        var flags = good
        // DT_FLAGS with DF_TEXTREL, in the place of an entry that nobody needs for this check.
        let spare = try #require(good.entries(0x6fff_fff0).first ?? good.entries(12).first)
        flags.set(spare, 8, 30)
        flags.set(spare + 8, 8, 4)
        #expect(verdict(flags.bytes)?.cause.contains("TEXTREL") == true)
        flags.set(spare, 8, 22)
        #expect(verdict(flags.bytes)?.cause.contains("TEXTREL") == true)
    }

    @Test func segmentsOutsideTheFileAreRefused() throws {
        let good = Layout(try sample.get())
        let load = try #require(good.segments(1).first)
        for (field, value) in [(8, UInt64.max), (8, UInt64(good.bytes.count) + 1), (32, .max), (40, (1 << 36) + 1)] {
            var file = good
            file.set(load + field, 8, value)
            #expect(verdict(file.bytes)?.cause == "a segment lies outside the file", "\(field) \(value)")
        }
    }

    @Test func whatItLinksMustBeThereAndBeNamedPlainly() throws {
        let scratch = try Scratch()
        let other = try scratch.compile("libother.so", "int other(void) { return 1; }")
        let source = pluginSource + "\nextern int other(void); int use(void) { return other(); }\n"
        let linking = try build("linking", source, "-Wl,--no-as-needed '\(other)'")
        // Linked by its path and without a soname: the path itself is what the loader would follow.
        #expect(verdict(linking, beside: ["libother.so"])?.cause.contains("it links /") == true)
        let byName = try build("named", source, "-Wl,--no-as-needed -L'\(scratch.path)' -l:libother.so")
        #expect(verdict(byName)?.cause == "it links libother.so, which workers don't have")
        #expect(verdict(byName, beside: ["libother.so"]) == nil)
    }

    @Test func itMayLookForLibrariesBesideItOnly() throws {
        let origin = "-Wl,-rpath,'$ORIGIN'"
        #expect(verdict(try build("origin", pluginSource, origin)) == nil)
        for path in ["/tmp", "$ORIGIN/..", "$ORIGIN:/tmp", "lib"] {
            for tags in ["--enable-new-dtags", "--disable-new-dtags"] {
                let file = try build("path", pluginSource, "-Wl,\(tags),-rpath,'\(path)'")
                #expect(verdict(file)?.cause.contains("it looks for libraries in") == true, "\(path)")
            }
        }
        let auditor = try build("audit", pluginSource, "-Wl,--audit,libm.so.6")
        #expect(verdict(auditor)?.cause.contains("auditor") == true)
    }

    /// A file that shows this check one table and the loader another.
    @Test func twoMeaningsAreRefused() throws {
        let good = Layout(try sample.get())
        var moved = good
        let dynamic = try #require(good.segments(2).first)
        moved.set(dynamic + 16, 8, good.number(dynamic + 16, 8) + 16)
        var second = good
        second.set(try #require(good.segments(0x6474_e550).first), 4, 2)
        let spare = try #require(good.entries(12).first)
        let tables = ([5, 6, 10] as [UInt64]).map { tag -> Layout in
            var file = good
            file.set(spare, 8, tag)
            return file
        }
        for file in [moved, second] + tables {
            #expect(verdict(file.bytes)?.cause == "its dynamic section is ambiguous")
        }
    }

    @Test func aPluginExportsItsEntryAndALibraryNeedNot() throws {
        let library = try build("library", "int helper(void) { return 1; }")
        #expect(verdict(library)?.cause == "it does not export swiftlet_plugin_entry")
        #expect(verdict(library, isPlugin: false) == nil)
        let hidden = try build("hidden", "__attribute__((visibility(\"hidden\"))) " + pluginSource)
        #expect(verdict(hidden)?.cause == "it does not export swiftlet_plugin_entry")
        let wanted = try build(
            "wanted", "extern void swiftlet_plugin_entry(void); void f(void) { swiftlet_plugin_entry(); }")
        #expect(verdict(wanted)?.cause == "it does not export swiftlet_plugin_entry")
        let data = try build("data", "int swiftlet_plugin_entry = 1;")
        #expect(verdict(data)?.cause == "it does not export swiftlet_plugin_entry")
    }
}

/// None of these expects a certain answer: that there is one, and no trap, is the promise.
@Suite struct HostileElfTests {
    @Test func everyLengthIsRefusedOrRead() throws {
        let good = try sample.get()
        var passed = 0
        for length in 0..<good.count where verdict(Array(good[..<length])) == nil { passed += 1 }
        // What lies behind the last segment, the section headers, is nothing that the loader reads.
        let end = Layout(good).segments(1).map { Layout(good).number($0 + 8, 8) + Layout(good).number($0 + 32, 8) }
            .max()
        #expect(passed <= good.count - Int(try #require(end)))
    }

    @Test func everyCorruptedByteIsSurvived() throws {
        let good = try sample.get()
        let file = Layout(good)
        var hot = Set(0..<64 + 56 * Int(file.number(56, 2)))
        for type: UInt64 in [2, 0x6474_e551] {
            for segment in file.segments(type) {
                let start = Int(file.number(segment + 8, 8))
                hot.formUnion(start..<start + Int(file.number(segment + 32, 8)))
            }
        }
        var bytes = good
        for index in bytes.indices {
            // Everywhere a few values; where the format speaks, all of them.
            let values: [UInt8] = hot.contains(index) ? Array(0...255) : [0, 0x7f, 0x80, 0xff]
            for value in values {
                bytes[index] = value
                _ = verdict(bytes)
            }
            bytes[index] = good[index]
        }
    }

    @Test func extremeNumbersInEveryFieldAreSurvived() throws {
        let good = Layout(try sample.get())
        let extremes: [UInt64] = [0, 1, 0x7fff_ffff, 0xffff_ffff, 1 << 63, .max - 1, .max, UInt64(good.bytes.count)]
        let dynamic = try #require(good.segments(2).first)
        let start = Int(good.number(dynamic + 8, 8))
        let fields =
            Array(stride(from: 24, to: 56, by: 8)) + Array(stride(from: 64, to: 64 + 56 * 8, by: 8))
            + Array(stride(from: start, to: start + Int(good.number(dynamic + 32, 8)), by: 8))
        for (index, field) in fields.enumerated() {
            for value in extremes {
                var file = good
                file.set(field, 8, value)
                _ = verdict(file.bytes)
                for other in fields[(index + 1)...] {
                    let before = file.number(other, 8)
                    file.set(other, 8, .max)
                    _ = verdict(file.bytes)
                    file.set(other, 8, before)
                }
            }
        }
    }

    /// A string index that wraps round the end of the number range, into the file again.
    @Test func aStringIndexThatWrapsIsSurvived() throws {
        var file = Layout(try build("needy", pluginSource, "-Wl,--no-as-needed -lm"))
        let size = try #require(file.entries(10).first)
        let needed = try #require(file.entries(1).first)
        file.set(size + 8, 8, .max)
        file.set(needed + 8, 8, .max - 1)
        #expect(verdict(file.bytes)?.cause.contains("it links ?") == true)
    }

    @Test func randomDamageIsSurvived() throws {
        let good = try sample.get()
        var random = SeededGenerator(seed: 11)
        for _ in 0..<4000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                let index = Int.random(in: 0..<min(bytes.count, 0x4000), using: &random)
                bytes[index] = [0, 0xff, UInt8.random(in: 0...255, using: &random)].randomElement(using: &random) ?? 0
            }
            _ = verdict(bytes)
        }
    }
}
