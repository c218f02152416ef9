// The archive that carries an artefact: ustar with regular files and plain names, read with bounds on everything.
package import Core
internal import Glibc
internal import Platform

private let blockSize = 512

package enum TarWriter {
    /// The name field holds 99 bytes and an end, the size field 11 octal digits.
    private static let longestName = 99
    private static let largestFile = (8 << 30) - 1

    /// Writes files under their plain names.
    package static func write(_ files: [(name: String, path: String)], to archive: String) throws(RuntimeError) {
        do {
            let output = try FileDescriptor.open(archive, flags: O_WRONLY | O_CREAT | O_TRUNC)
            for file in files {
                let input = try FileDescriptor.open(file.path, flags: O_RDONLY)
                var info = stat()
                try libc("fstat(\(file.path))") { unsafe fstat(input.raw, &info) }
                let size = Int(info.st_size)
                try check(file.name, size: size, archive: archive)
                try writeAll(output.raw, header(file.name, size: size))
                try copy(input.raw, to: output.raw, size: size)
                try writeAll(output.raw, [UInt8](repeating: 0, count: (blockSize - size % blockSize) % blockSize))
            }
            try writeAll(output.raw, [UInt8](repeating: 0, count: 2 * blockSize))
        } catch let error as RuntimeError {
            throw error
        } catch {
            throw RuntimeError(
                .insufficientStorage, step: "pack \(archive)", cause: "\(error)",
                next: "check the files and the space on disk")
        }
    }

    private static func check(_ name: String, size: Int, archive: String) throws(RuntimeError) {
        guard name.utf8.count <= longestName, size <= largestFile else {
            throw RuntimeError(
                .badRequest, step: "pack \(archive)",
                cause: "\(Names.quoted(name)) has a name over \(longestName) bytes, or 8 GiB or more in it",
                next: "give it a shorter name, or make it smaller")
        }
    }

    private static func header(_ name: String, size: Int) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: blockSize)
        func put(_ text: String, at offset: Int) {
            for (index, byte) in text.utf8.enumerated() { block[offset + index] = byte }
        }
        func octal(_ value: Int, width: Int) -> String {
            let digits = String(value, radix: 8)
            return String(repeating: "0", count: width - digits.count) + digits
        }
        put(name, at: 0)
        put("0000644", at: 100)
        put("0000000", at: 108)
        put("0000000", at: 116)
        put(octal(size, width: 11), at: 124)
        put("00000000000", at: 136)
        put("        ", at: 148)
        put("0", at: 156)
        put("ustar", at: 257)
        put("00", at: 263)
        put(octal(block.reduce(0) { $0 + Int($1) }, width: 6), at: 148)
        block[154] = 0
        return block
    }
}

package enum TarReader {
    private static let longestEnd = 1 << 20

    package struct Bounds {
        let files: Int
        let bytes: UInt64

        package init(files: Int, bytes: UInt64) {
            self.files = files
            self.bytes = bytes
        }
    }

    package struct Entry {
        package let name: String
        package let digest: String
    }

    /// Unpacks into an empty directory. On failure what it wrote stays there, for the caller to remove.
    package static func unpack(_ archive: String, into directory: String, bounds: Bounds) throws(RuntimeError)
        -> [Entry]
    {
        do {
            let input = try FileDescriptor.open(archive, flags: O_RDONLY)
            var entries: [Entry] = []
            var total: UInt64 = 0
            while let block = try readBlock(input.raw) {
                if block.allSatisfy({ $0 == 0 }) {
                    try checkEnd(input.raw)
                    return entries
                }
                let (name, size) = try check(block)
                total += size
                guard entries.count < bounds.files else { throw refusal("it holds more than \(bounds.files) files") }
                guard total <= bounds.bytes else { throw refusal("it holds more than \(bounds.bytes) bytes") }
                guard !entries.contains(where: { $0.name == name }) else { throw refusal("it holds \(name) twice") }
                // Unpacked elsewhere they would be one file.
                if let other = entries.first(where: { $0.name.lowercased() == name.lowercased() }) {
                    throw refusal("it holds \(other.name) and \(name), which differ in case only")
                }
                entries.append(try extract(input.raw, name: name, size: size, directory))
            }
            throw refusal("it is cut: the end is missing")
        } catch let error as RuntimeError {
            throw error
        } catch {
            throw RuntimeError(
                .insufficientStorage, step: "unpack the artefact", cause: "\(error)",
                next: "free space in the state directory")
        }
    }

    private static func check(_ block: [UInt8]) throws(RuntimeError) -> (String, UInt64) {
        guard Array(block[257..<262]) == Array("ustar".utf8) else { throw refusal("it is no ustar archive") }
        guard let sum = octal(block[148..<156]), sum == checksum(block) else {
            throw refusal("a checksum in it is wrong")
        }
        let name = String(decoding: block[0..<100].prefix { $0 != 0 }, as: UTF8.self)
        guard block[156] == UInt8(ascii: "0") || block[156] == 0 else { throw refusal("\(name) is no regular file") }
        guard Names.isFileName(name), name.utf8.count < 100, block[345] == 0 else {
            throw refusal("the name \"\(name)\" is not plain")
        }
        guard let size = octal(block[124..<136]) else { throw refusal("the size of \(name) can't be read") }
        // What a reader of another dialect would take for a longer name, a folder or a map of holes.
        guard block[name.utf8.count..<100].allSatisfy({ $0 == 0 }), block[345...].allSatisfy({ $0 == 0 }) else {
            throw refusal("the header of \(name) says more than a plain name")
        }
        return (name, size)
    }

    /// Nothing but zeros may follow, and no more of them than programs write to fill a tape's record.
    private static func checkEnd(_ input: CInt) throws {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var rest = longestEnd
        while true {
            let count = try libc("read") {
                unsafe buffer.withUnsafeMutableBytes { unsafe read(input, $0.baseAddress, $0.count) }
            }
            guard count > 0 else { return }
            rest -= count
            guard rest >= 0, buffer[..<count].allSatisfy({ $0 == 0 }) else {
                throw refusal("something follows its end")
            }
        }
    }

    private static func checksum(_ block: [UInt8]) -> UInt64 {
        block.indices.reduce(0) { $0 + ((148..<156).contains($1) ? 32 : UInt64(block[$1])) }
    }

    private static func octal(_ field: ArraySlice<UInt8>) -> UInt64? {
        let digits = field.prefix { $0 != 0 && $0 != 0x20 }
        // A sign is no digit, though UInt64 would take it.
        guard let first = digits.first, first >= UInt8(ascii: "0"),
            field.dropFirst(digits.count).allSatisfy({ $0 == 0 || $0 == 0x20 })
        else { return nil }
        return UInt64(String(decoding: digits, as: UTF8.self), radix: 8)
    }

    private static func extract(_ input: CInt, name: String, size: UInt64, _ directory: String) throws -> Entry {
        let output = try FileDescriptor.open("\(directory)/\(name)", flags: O_WRONLY | O_CREAT | O_EXCL, mode: 0o444)
        var digest = Digest()
        var rest = size
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while rest > 0 {
            let wanted = Int(min(rest, UInt64(buffer.count)))
            let count = try libc("read") {
                unsafe buffer.withUnsafeMutableBytes { unsafe read(input, $0.baseAddress, wanted) }
            }
            guard count > 0 else { throw refusal("it is cut inside \(name)") }
            unsafe digest.add(buffer.span.bytes.extracting(0..<count))
            try writeAll(output.raw, Array(buffer[..<count]))
            rest -= UInt64(count)
        }
        try libc("fsync(\(name))") { fsync(output.raw) }
        var padding = Int((UInt64(blockSize) - size % UInt64(blockSize)) % UInt64(blockSize))
        while padding > 0 {
            let count = try libc("read") {
                unsafe buffer.withUnsafeMutableBytes { unsafe read(input, $0.baseAddress, padding) }
            }
            guard count > 0 else { throw refusal("it is cut after \(name)") }
            padding -= count
        }
        return Entry(name: name, digest: digest.finish())
    }

    private static func readBlock(_ input: CInt) throws -> [UInt8]? {
        var block = [UInt8](repeating: 0, count: blockSize)
        var have = 0
        while have < blockSize {
            let count = try libc("read") {
                unsafe block.withUnsafeMutableBytes {
                    unsafe read(input, $0.baseAddress?.advanced(by: have), blockSize - have)
                }
            }
            guard count > 0 else { return nil }
            have += count
        }
        return block
    }

    private static func refusal(_ cause: String) -> RuntimeError {
        RuntimeError(.pluginInvalid, step: "unpack the artefact", cause: cause, next: "send it with `swiftlet deploy`")
    }
}

private func copy(_ input: CInt, to output: CInt, size: Int) throws {
    var buffer = [UInt8](repeating: 0, count: 1 << 18)
    var rest = size
    while rest > 0 {
        let count = try libc("read") {
            unsafe buffer.withUnsafeMutableBytes { unsafe read(input, $0.baseAddress, min(rest, $0.count)) }
        }
        guard count > 0 else { throw SystemError(call: "read: the file became shorter", code: EIO) }
        try writeAll(output, Array(buffer[..<count]))
        rest -= count
    }
}

private func writeAll(_ output: CInt, _ bytes: [UInt8]) throws(SystemError) {
    var offset = 0
    while offset < bytes.count {
        offset += try libc("write") {
            unsafe bytes.withUnsafeBytes {
                unsafe write(output, $0.baseAddress?.advanced(by: offset), bytes.count - offset)
            }
        }
    }
}
