// Files written whole: what is there after a success, and what is not after a failure.
import Foundation
import Glibc
import TestSupport
import Testing

@testable import Platform

@Suite struct WholeFilesTests {
    private func names(_ folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    }

    @Test func aFileHasItsContentAndItsMode() throws {
        let scratch = try Scratch()
        let path = "\(scratch.path)/key"
        for text in ["one", "another that is longer"] {
            try WholeFiles.write(Array(text.utf8), to: path, mode: 0o664)
            #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
        }
        var info = stat()
        #expect(unsafe stat(path, &info) == 0 && info.st_mode & 0o777 == 0o664, "also beyond the process's mask")
        #expect(try names(scratch.path) == ["key"])
    }

    @Test func aFailureLeavesWhatWasThere() throws {
        let scratch = try Scratch()
        let path = "\(scratch.path)/folder"
        try FileManager.default.createDirectory(atPath: "\(path)/full", withIntermediateDirectories: true)
        let failure = #expect(throws: SystemError.self) { try WholeFiles.write([1], to: path, mode: 0o600) }
        #expect(failure?.call == "rename(\(path).new)")
        #expect(try names(scratch.path) == ["folder"] && names(path) == ["full"])
        let missing = #expect(throws: SystemError.self) {
            try WholeFiles.write([1], to: "\(scratch.path)/none/key", mode: 0o600)
        }
        #expect(missing?.code == ENOENT)
    }

    @Test func whatLiesInTheWayIsNotWrittenThrough() throws {
        let scratch = try Scratch()
        let (path, other) = ("\(scratch.path)/key", "\(scratch.path)/other")
        try WholeFiles.write([1], to: other, mode: 0o600)
        try FileManager.default.createSymbolicLink(atPath: "\(path).new", withDestinationPath: other)
        try WholeFiles.write([2], to: path, mode: 0o600)
        #expect(try Data(contentsOf: URL(filePath: other)) == Data([1]))
        #expect(try Data(contentsOf: URL(filePath: path)) == Data([2]) && names(scratch.path) == ["key", "other"])
    }
}
