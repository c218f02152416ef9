// The archive that carries an artefact: ustar with regular files and plain names, read with bounds on everything.
package import Core
internal import Glibc
internal import Platform

private let blockSize = TarHeader.blockSize

package enum TarWriter {
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
                try output.write(TarHeader.bytes(file.name, size: size), archive)
                try copy(input.raw, to: output, archive, size: size)
                try output.write([UInt8](repeating: 0, count: TarHeader.padding(UInt64(size))), archive)
            }
            try output.write(TarHeader.end, archive)
        } catch let error as RuntimeError {
            throw error
        } catch {
            throw RuntimeError(
                .insufficientStorage, step: "pack \(archive)", cause: "\(error)",
                next: "check the files and the space on disk")
        }
    }

    private static func check(_ name: String, size: Int, archive: String) throws(RuntimeError) {
        guard name.utf8.count <= TarHeader.longestName, size <= TarHeader.largestFile else {
            throw RuntimeError(
                .badRequest, step: "pack \(archive)",
                cause: "\(Names.quoted(name)) has a name over \(TarHeader.longestName) bytes, or 8 GiB or more in it",
                next: "give it a shorter name, or make it smaller")
        }
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
                let (name, size) = try TarHeader.read(block)
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
            unsafe try output.write(buffer.span.bytes.extracting(0..<count), name)
            rest -= UInt64(count)
        }
        try output.sync(name)
        var padding = TarHeader.padding(size)
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

    private static func refusal(_ cause: String) -> RuntimeError { TarHeader.refusal(cause) }
}

private func copy(_ input: CInt, to output: borrowing FileDescriptor, _ name: String, size: Int) throws {
    var buffer = [UInt8](repeating: 0, count: 1 << 18)
    var rest = size
    while rest > 0 {
        let count = try libc("read") {
            unsafe buffer.withUnsafeMutableBytes { unsafe read(input, $0.baseAddress, min(rest, $0.count)) }
        }
        guard count > 0 else { throw SystemError(call: "read: the file became shorter", code: EIO) }
        unsafe try output.write(buffer.span.bytes.extracting(0..<count), name)
        rest -= count
    }
}
