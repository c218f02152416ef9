// The archive of an export: its plan is what tar programs read, and whatever the pieces it comes in, the same is read of it.
import Core
import PluginHost
import TestSupport
import Testing

@testable import Transfer

/// All that a feed says of an archive that comes in pieces of a size: names, and contents.
private func read(_ archive: [UInt8], by size: Int) throws(RuntimeError) -> (files: [String: [UInt8]], isComplete: Bool)
{
    var feed = ArchiveFeed()
    var files: [String: [UInt8]] = [:]
    var current = ""
    var at = 0
    while true {
        switch try feed.next() {
        case .file(let name, _): (current, files[name]) = (name, [])
        case .bytes(let bytes): files[current, default: []] += bytes
        case .fileEnd: current = ""
        case .wanting:
            guard at < archive.count else { return (files, feed.isComplete) }
            let end = min(archive.count, at + size)
            unsafe feed.append(Array(archive[at..<end]).span.bytes)
            at = end
        }
    }
}

private func member(_ name: String, _ content: [UInt8], _ change: (inout [UInt8]) -> Void = { _ in }) -> [UInt8] {
    var head = TarHeader.bytes(name, size: content.count)
    change(&head)
    // Its sum is right again, so that what is refused is what was changed.
    for at in 148..<156 { head[at] = 0x20 }
    let digits = String(head.reduce(0) { $0 + Int($1) }, radix: 8)
    let sum = String(repeating: "0", count: 6 - digits.count) + digits
    for (index, byte) in sum.utf8.enumerated() { head[148 + index] = byte }
    head[154] = 0
    return head + content + [UInt8](repeating: 0, count: TarHeader.padding(UInt64(content.count)))
}

private func cause(_ archive: [UInt8]) -> String {
    do throws(RuntimeError) {
        return try read(archive, by: 700).isComplete ? "" : "cut"
    } catch {
        return error.cause
    }
}

private func deployment(_ name: String, _ files: [(String, Int)]) throws -> Deployment {
    Deployment(
        tenant: "t", name: name, kind: .handler, digest: String(repeating: "c", count: 64),
        manifest: try Manifest.decode(
            json5: Array("{name: '\(name)', kind: 'handler', version: '1', library: 'plugin.so'}".utf8), file: "test"),
        createdAt: 1,
        files: files.map { name, size in
            ArtefactFile(
                name: name, sha256: "", stamp: FileStamp(bytes: UInt64(size), modified: 0, inode: 0))
        })
}

@Suite struct ArchiveTests {
    @Test func aPlanIsAnArchiveOfArchives() throws {
        let deployments = [
            try deployment("a", [("swiftlet.json5", 40), ("plugin.so", 1000), ("empty", 0)]),
            try deployment("b", [("x", 512)]),
        ]
        let export = TenantExport(
            exportedAt: 1, tenant: Tenant(name: "t", createdAt: 0), functions: try ExportPlan.functions(deployments))
        let plan = try ExportPlan(export, deployments)
        let archive = plan.pieces.flatMap { piece -> [UInt8] in
            switch piece {
            case .bytes(let bytes): bytes
            case .file(let file, _): [UInt8](repeating: UInt8(ascii: "x"), count: Int(file.stamp.bytes))
            }
        }
        #expect(UInt64(archive.count) == plan.bytes)
        for size in [1, 511, 512, 513, 4096, archive.count] {
            let (files, isComplete) = try read(archive, by: size)
            #expect(isComplete && files.keys.sorted() == ["a.tar", "b.tar", TenantExport.file], "\(size)")
            #expect(try TenantExport(files[TenantExport.file] ?? []) == export)
            let inner = try read(files["a.tar"] ?? [], by: size)
            #expect(
                inner.isComplete
                    && inner.files.mapValues(\.count) == ["swiftlet.json5": 40, "plugin.so": 1000, "empty": 0])
        }
        // What `deploy` takes, and any tar.
        let scratch = try Scratch()
        defer { withExtendedLifetime(scratch) {} }
        let path = try scratch.write("a.tar", try read(archive, by: 512).files["a.tar"] ?? [])
        try shell(
            "mkdir '\(scratch.file("out"))' && tar xf '\(path)' -C '\(scratch.file("out"))' && test $(ls '\(scratch.file("out"))' | wc -l) = 3"
        )
    }

    @Test func aDeploymentWithoutAListOfFilesIsNamed() throws {
        let old = try deployment("old", [])
        #expect(throws: RuntimeError.self) { try ExportPlan.functions([old]) }
    }

    @Test func whatIsNoPlainFileIsRefused() {
        let good = member("a", [1, 2, 3])
        #expect(cause(good + TarHeader.end) == "")
        for type in "1234567gxLKS" {
            #expect(
                cause(member("a", [1]) { $0[156] = type.asciiValue ?? 0 } + TarHeader.end).contains("no regular file"),
                "\(type)")
        }
        for name in ["../a", "/etc/passwd", "a/b", ".a", "-a", "a b", "a\u{1}"] {
            #expect(cause(member(name, [1]) + TarHeader.end).contains("not plain"), "\(name)")
        }
        #expect(cause(member("a", [1]) { $0[345] = 0x61 } + TarHeader.end) != "")
        #expect(cause(member("a", [1]) { $0[257] = 0 } + TarHeader.end).contains("ustar"))
        #expect(cause(member("a", [1]) { $0[124] = 0x80 } + TarHeader.end).contains("size"))
        #expect(cause(good + TarHeader.end + [0, 0, 1]).contains("follows its end"))
        #expect(cause(good + TarHeader.end + [UInt8](repeating: 0, count: 2 << 20)).contains("follows its end"))
        #expect(cause(good) == "cut" && cause(Array(good.dropLast(600))) == "cut" && cause([]) == "cut")
    }

    @Test func theFeedKeepsNoMoreThanWhatCameLast() throws {
        var feed = ArchiveFeed()
        unsafe feed.append(TarHeader.bytes("big", size: 1 << 30).span.bytes)
        #expect(try feed.next() == .file(name: "big", size: 1 << 30))
        let piece = [UInt8](repeating: 7, count: 1 << 16)
        for _ in 0..<100 {
            unsafe feed.append(piece.span.bytes)
            #expect(try feed.next() == .bytes(piece))
            #expect(try feed.next() == .wanting)
        }
    }
}
