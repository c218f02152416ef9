// The archive reader against archives that no honest client sends.
import Core
import Glibc
import TestSupport
import Testing

@testable import PluginHost

/// One member of a hand-made archive; every field may lie.
private struct Member {
    var name = "a.txt"
    var content: [UInt8] = Array("hello".utf8)
    var size: String?
    var type = UInt8(ascii: "0")
    var magic = "ustar"
    var prefix = ""
    var checksum: UInt64?
    var padded = true

    var bytes: [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            for (index, byte) in text.utf8.enumerated() { block[offset + index] = byte }
        }
        func octal(_ value: UInt64, _ width: Int) -> String {
            let digits = String(value, radix: 8)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        put(name, at: 0)
        put(size ?? octal(UInt64(content.count), 11), at: 124)
        put("        ", at: 148)
        block[156] = type
        put("/etc/passwd", at: 157)
        put(magic, at: 257)
        put(prefix, at: 345)
        put(octal(checksum ?? block.reduce(0) { $0 + UInt64($1) }, 6), at: 148)
        block[154] = 0
        let padding = padded ? (512 - content.count % 512) % 512 : 0
        return block + content + [UInt8](repeating: 0, count: padding)
    }
}

private let end = [UInt8](repeating: 0, count: 1024)

private struct Unpacked {
    let entries: [TarReader.Entry]
    let error: RuntimeError?
    let scratch: Scratch
}

private func unpack(_ archive: [UInt8], files: Int = 4, bytes: UInt64 = 10_000) throws -> Unpacked {
    let scratch = try Scratch()
    let path = try scratch.write("archive.tar", archive)
    try shell("mkdir '\(scratch.file("out"))'")
    do throws(RuntimeError) {
        let entries = try TarReader.unpack(path, into: scratch.file("out"), bounds: .init(files: files, bytes: bytes))
        return Unpacked(entries: entries, error: nil, scratch: scratch)
    } catch {
        return Unpacked(entries: [], error: error, scratch: scratch)
    }
}

private func refusal(_ archive: [UInt8]) throws -> String? {
    let unpacked = try unpack(archive)
    #expect(unpacked.error == nil || unpacked.error?.step == "unpack the artefact")
    return unpacked.error?.cause
}

@Suite struct TarReaderTests {
    @Test func honestFilesComeOutWhole() throws {
        let large = (0..<3000).map { UInt8(truncatingIfNeeded: $0) }
        let archive =
            Member().bytes + Member(name: "large.bin", content: large).bytes + Member(name: "none", content: []).bytes
        let unpacked = try unpack(archive + end)
        #expect(unpacked.error == nil && unpacked.entries.map(\.name) == ["a.txt", "large.bin", "none"])
        #expect(try unpacked.scratch.read("out/large.bin") == large)
        #expect(try unpacked.scratch.names(in: "out") == ["a.txt", "large.bin", "none"])
        #expect(
            unpacked.entries.first?.digest == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
        // Nobody may change what is there, its owner included.
        #expect(try shell("stat -c %a '\(unpacked.scratch.file("out/a.txt"))'") == "444\n")
    }

    @Test(arguments: [
        "../evil", "/etc/evil", "a/../../evil", "a/b", "..", ".", "./a", ".hidden", "", "a\\b", "a b", "a\nb", "ä",
        "a\u{7f}",
    ])
    func namesThatAreNotPlainAreRefused(_ name: String) throws {
        let unpacked = try unpack(Member(name: name).bytes + end)
        #expect(unpacked.error?.cause.contains("is not plain") == true)
        #expect(try unpacked.scratch.names() == ["archive.tar", "out"])
        #expect(try unpacked.scratch.names(in: "out") == [])
    }

    @Test func aNameInTheSecondFieldIsRefused() throws {
        #expect(try refusal(Member(prefix: "../..").bytes + end)?.contains("is not plain") == true)
        #expect(
            try refusal(Member(name: String(repeating: "a", count: 100)).bytes + end)?.contains("not plain") == true)
    }

    @Test(arguments: Array("123456789DKLSVgx".utf8) + [0xff]) func onlyRegularFilesAreTaken(_ type: UInt8) throws {
        let unpacked = try unpack(Member(content: [], type: type).bytes + end)
        #expect(unpacked.error?.cause == "a.txt is no regular file")
        #expect(try unpacked.scratch.names(in: "out") == [])
    }

    @Test func aNameTwiceIsRefused() throws {
        #expect(try refusal(Member().bytes + Member().bytes + end) == "it holds a.txt twice")
    }

    @Test(arguments: ["77777777777", "777777777777", "23421"]) func sizesOverTheBoundAreRefused(_ size: String) throws {
        let unpacked = try unpack(Member(size: size).bytes + end)
        #expect(unpacked.error?.cause == "it holds more than 10000 bytes")
        #expect(try unpacked.scratch.names(in: "out") == [])
    }

    @Test func theSumOfAllSizesIsBounded() throws {
        let parts = (1...3).map { Member(name: "p\($0)", content: [UInt8](repeating: 1, count: 400)).bytes }
        #expect(try unpack(parts.joined() + end, bytes: 1200).error == nil)
        #expect(try unpack(parts.joined() + end, bytes: 1199).error?.cause == "it holds more than 1199 bytes")
        #expect(try unpack(parts.joined() + end, files: 2).error?.cause == "it holds more than 2 files")
    }

    @Test(arguments: ["", "-1", "8", "0x10", "abc", "\u{80}\u{0}", "1e3", "+7", "-0"])
    func sizesThatAreNoNumberAreRefused(_ size: String) throws {
        #expect(try refusal(Member(content: [], size: size).bytes + end) == "the size of a.txt can't be read")
    }

    @Test func otherFormatsAndDamageAreRefused() throws {
        #expect(try refusal(Member(magic: "gnutr").bytes + end) != nil)
        #expect(try refusal(Member(checksum: 1).bytes + end) == "a checksum in it is wrong")
        #expect(try refusal([]) == "it is cut: the end is missing")
        #expect(try refusal([UInt8](repeating: 7, count: 2048)) != nil)
        let pax = Member(name: "././@PaxHeader", type: UInt8(ascii: "x")).bytes
        #expect(try refusal(pax + Member().bytes + end) != nil)
    }

    @Test func namesThatDifferInCaseOnlyAreRefused() throws {
        let error = try refusal(Member(name: "A.so").bytes + Member(name: "a.so").bytes + end)
        #expect(error == "it holds A.so and a.so, which differ in case only")
    }

    @Test func nothingFollowsTheEnd() throws {
        #expect(try refusal(Member().bytes + end + [1]) == "something follows its end")
        #expect(try refusal(Member().bytes + end + Member(name: "b").bytes) == "something follows its end")
        #expect(
            try refusal(Member().bytes + [UInt8](repeating: 0, count: 513 + 1 << 20)) == "something follows its end")
        // GNU tar fills a record of 20 blocks.
        #expect(try refusal(Member().bytes + [UInt8](repeating: 0, count: 9 * 1024)) == nil)
    }

    /// Each is right by its checksum, and says more to a reader of another dialect.
    @Test(arguments: [(6, UInt8(ascii: "x")), (99, 1), (346, 1), (499, 1), (511, 1), (386, 0x30)])
    func hiddenFieldsAreRefused(
        _ at: Int, _ byte: UInt8
    ) throws {
        var block = Array(Member(content: []).bytes[..<512])
        block[at] = byte
        for index in 148..<156 { block[index] = 0x20 }
        let sum = String(block.reduce(0) { $0 + Int($1) }, radix: 8)
        for (index, digit) in (String(repeating: "0", count: 6 - sum.count) + sum).utf8.enumerated() {
            block[148 + index] = digit
        }
        block[154] = 0
        #expect(try refusal(block + end) == "the header of a.txt says more than a plain name")
    }

    /// What the tars of this machine make of folders with tricks in them, in each of their formats.
    @Test(arguments: ["ustar", "gnu", "pax", "v7", "oldgnu"]) func tarsOwnTricksAreRefused(_ format: String) throws {
        let scratch = try Scratch()
        try shell(
            """
            cd '\(scratch.path)' && echo x > plain && ln -s /etc/passwd link && mkfifo pipe && mkdir folder && echo y > folder/inside
            ln plain second && truncate -s 1M holes && echo z >> holes && echo n > \(String(repeating: "n", count: 120))
            """)
        for tricks in [
            "link", "pipe", "folder", "plain second", "../*/plain -P", String(repeating: "n", count: 120), "-S holes",
        ] {
            try shell("cd '\(scratch.path)' && rm -f x.tar && tar --format=\(format) -cf x.tar \(tricks) 2>&1 || true")
            // v7 and ustar can't hold some of them: there is nothing to refuse then.
            guard let bytes = try? scratch.read("x.tar"), bytes.contains(where: { $0 != 0 }) else { continue }
            let unpacked = try unpack(bytes, bytes: 10 << 20)
            #expect(unpacked.error != nil || (tricks == "-S holes" && ["ustar", "v7"].contains(format)), "\(tricks)")
            #expect(try unpacked.scratch.names() == ["archive.tar", "out"])
        }
    }

    @Test func everyCutIsNoticed() throws {
        let archive = Member().bytes + Member(name: "b").bytes
        let whole = archive + [UInt8](repeating: 0, count: 512)
        #expect(try unpack(whole).error == nil)
        for length in stride(from: 0, to: whole.count, by: 97) {
            #expect(try refusal(Array(whole[..<length]))?.hasPrefix("it is cut") == true, "\(length)")
        }
    }

    @Test func everyChangedHeaderByteIsNoticed() throws {
        let good = Member().bytes + end
        for index in 0..<512 {
            var bytes = good
            bytes[index] ^= 0x55
            // The last two bytes of the checksum's own field carry nothing.
            guard index != 154, index != 155 else { continue }
            #expect(try unpack(bytes).error != nil, "\(index)")
        }
    }

    @Test func aMissingArchiveIsAnError() throws {
        let scratch = try Scratch()
        #expect(throws: RuntimeError.self) {
            try TarReader.unpack(scratch.file("none"), into: scratch.path, bounds: .init(files: 1, bytes: 1))
        }
    }
}

@Suite struct TarWriterTests {
    private func pack(_ files: [(name: String, path: String)], to archive: String) -> RuntimeError? {
        do throws(RuntimeError) {
            try TarWriter.write(files, to: archive)
            return nil
        } catch {
            return error
        }
    }

    @Test func whatIsWrittenIsReadAndTarAgrees() throws {
        let scratch = try Scratch()
        for (name, count) in [("zero", 0), ("one", 1), ("block", 512), ("more", 513)] {
            try scratch.write(name, [UInt8](repeating: 65, count: count))
        }
        let names = ["zero", "one", "block", "more"]
        #expect(pack(names.map { ($0, scratch.file($0)) }, to: scratch.file("x.tar")) == nil)
        let unpacked = try unpack(try scratch.read("x.tar"))
        #expect(unpacked.entries.map(\.name) == names)
        #expect(try unpacked.scratch.read("out/more").count == 513)
        #expect(try shell("tar tf '\(scratch.file("x.tar"))'") == names.map { $0 + "\n" }.joined())
    }

    @Test func whatTheFormatCantHoldIsRefusedNotCut() throws {
        let scratch = try Scratch()
        let file = try scratch.write("file", "x")
        let long = String(repeating: "n", count: 100)
        #expect(pack([(long, file)], to: scratch.file("x.tar"))?.step == "pack \(scratch.file("x.tar"))")
        // Sparse: eight gibibytes of size, nothing on disk.
        let huge = try scratch.write("huge", "")
        _ = unsafe truncate(huge, 8 << 30)
        #expect(pack([("huge", huge)], to: scratch.file("x.tar"))?.cause.contains("8 GiB") == true)
        #expect(pack([("none", scratch.file("none"))], to: scratch.file("x.tar"))?.cause.contains("none") == true)
    }
}
