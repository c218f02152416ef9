// The archive of a backup: ustar, so that `tar` lists it, with folders in names and sizes without a bound.
internal import Core
internal import Glibc
internal import Platform

private let blockSize = 512
private let chunkSize = 1 << 18

/// Writes files one after another.
struct ArchiveWriter: ~Copyable {
    private let file: FileDescriptor
    private let path: String

    init(_ path: String) throws(SystemError) {
        file = try FileDescriptor.open(path, flags: O_WRONLY | O_CREAT | O_TRUNC)
        self.path = path
    }

    /// Appends the first `bytes` of a file. Returns their SHA-256.
    func add(_ name: String, from source: borrowing FileDescriptor, bytes: Int) throws(SystemError) -> String {
        try write(try Self.header(name, size: bytes))
        var digest = Digest()
        var buffer = [UInt8](repeating: 0, count: chunkSize)
        var rest = bytes
        let raw = source.raw
        while rest > 0 {
            let count = try libc("read(\(name))") {
                unsafe buffer.withUnsafeMutableBytes { unsafe read(raw, $0.baseAddress, min(rest, $0.count)) }
            }
            guard count > 0 else { throw SystemError(call: "read(\(name)): it became shorter", code: EIO) }
            unsafe digest.add(buffer.span.bytes.extracting(0..<count))
            try write(Array(buffer[..<count]))
            rest -= count
        }
        try write([UInt8](repeating: 0, count: (blockSize - bytes % blockSize) % blockSize))
        return digest.finish()
    }

    func add(_ name: String, _ bytes: [UInt8]) throws(SystemError) {
        try write(try Self.header(name, size: bytes.count))
        try write(bytes)
        try write([UInt8](repeating: 0, count: (blockSize - bytes.count % blockSize) % blockSize))
    }

    /// Ends the archive and makes it last.
    func finish() throws(SystemError) {
        try write([UInt8](repeating: 0, count: 2 * blockSize))
        try file.sync(path)
    }

    private func write(_ bytes: [UInt8]) throws(SystemError) { try file.write(bytes, path) }

    private static func header(_ name: String, size: Int) throws(SystemError) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: blockSize)
        func put(_ bytes: some Sequence<UInt8>, at offset: Int) {
            for (index, byte) in bytes.enumerated() { block[offset + index] = byte }
        }
        // The folder goes into a field of its own, since 99 bytes are few.
        let cut = name.utf8.count < 100 ? nil : name.utf8.lastIndex(of: UInt8(ascii: "/"))
        let plain = cut.map { name.utf8[name.utf8.index(after: $0)...] } ?? name.utf8[...]
        let folder = cut.map { name.utf8[..<$0] } ?? name.utf8[..<name.utf8.startIndex]
        guard plain.count < 100, folder.count < 155 else {
            throw SystemError(call: "pack(\(name))", code: ENAMETOOLONG)
        }
        put(plain, at: 0)
        put("0000600".utf8, at: 100)
        put("0000000".utf8, at: 108)
        put("0000000".utf8, at: 116)
        if size < 1 << 33 {
            let digits = String(size, radix: 8)
            put((String(repeating: "0", count: 11 - digits.count) + digits).utf8, at: 124)
        } else {
            block[124] = 0x80
            for index in 0..<8 { block[128 + index] = UInt8(truncatingIfNeeded: size >> (56 - 8 * index)) }
        }
        put("00000000000".utf8, at: 136)
        put("        0".utf8, at: 148)
        put("ustar".utf8, at: 257)
        put("00".utf8, at: 263)
        put(folder, at: 345)
        let sum = String(block.reduce(0) { $0 + Int($1) }, radix: 8)
        put((String(repeating: "0", count: 6 - sum.count) + sum).utf8, at: 148)
        block[154] = 0
        return block
    }
}

/// Reads files one after another.
struct ArchiveReader: ~Copyable {
    /// What is wrong with an archive.
    struct Fault: Error {
        let cause: String
    }

    private let file: FileDescriptor
    private let path: String

    init(_ path: String) throws(SystemError) {
        file = try FileDescriptor.open(path, flags: O_RDONLY)
        self.path = path
    }

    /// Takes the next file: its bytes go to `body` in pieces. Nil after the last one.
    func next(
        _ begin: (_ name: String, _ size: Int) throws -> Void, _ body: (RawSpan) throws -> Void
    ) throws -> (name: String, size: Int, sha256: String)? {
        var block = [UInt8](repeating: 0, count: blockSize)
        guard try fill(&block, blockSize) == blockSize else { throw Fault(cause: "it is cut: its end is missing") }
        if block.allSatisfy({ $0 == 0 }) { return nil }
        let (name, size) = try Self.parse(block)
        try begin(name, size)
        var digest = Digest()
        var buffer = [UInt8](repeating: 0, count: chunkSize)
        var rest = size
        while rest > 0 {
            let count = try fill(&buffer, min(rest, chunkSize))
            guard count > 0 else { throw Fault(cause: "it is cut inside \(Names.quoted(name))") }
            let piece = unsafe buffer.span.bytes.extracting(0..<count)
            digest.add(piece)
            try body(piece)
            rest -= count
        }
        let padding = (blockSize - size % blockSize) % blockSize
        guard try fill(&block, padding) == padding else { throw Fault(cause: "it is cut after \(Names.quoted(name))") }
        return (name, size, digest.finish())
    }

    private func fill(_ buffer: inout [UInt8], _ wanted: Int) throws(SystemError) -> Int {
        var have = 0
        let raw = file.raw
        while have < wanted {
            let count = try libc("read(\(path))") {
                unsafe buffer.withUnsafeMutableBytes {
                    unsafe read(raw, $0.baseAddress?.advanced(by: have), wanted - have)
                }
            }
            guard count > 0 else { break }
            have += count
        }
        return have
    }

    private static func parse(_ block: [UInt8]) throws(Fault) -> (String, Int) {
        guard Array(block[257..<262]) == Array("ustar".utf8) else {
            throw Fault(cause: "it is no backup (no ustar archive)")
        }
        let sum = block.indices.reduce(0) { $0 + ((148..<156).contains($1) ? 32 : Int(block[$1])) }
        guard octal(block[148..<156]) == sum else { throw Fault(cause: "a checksum in it is wrong") }
        let plain = String(decoding: block[0..<100].prefix { $0 != 0 }, as: UTF8.self)
        let folder = String(decoding: block[345..<500].prefix { $0 != 0 }, as: UTF8.self)
        let name = folder.isEmpty ? plain : "\(folder)/\(plain)"
        guard block[156] == UInt8(ascii: "0") || block[156] == 0 else {
            throw Fault(cause: "\(Names.quoted(name)) in it is no regular file")
        }
        let size =
            block[124] == 0x80
            ? Int(exactly: block[128..<136].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }) : octal(block[124..<136])
        guard let size, size < 1 << 50 else { throw Fault(cause: "the size of \(Names.quoted(name)) can't be read") }
        return (name, size)
    }

    private static func octal(_ field: ArraySlice<UInt8>) -> Int? {
        let digits = field.prefix { $0 != 0 && $0 != 0x20 }
        guard let first = digits.first, first >= UInt8(ascii: "0") else { return nil }
        return Int(String(decoding: digits, as: UTF8.self), radix: 8)
    }
}
