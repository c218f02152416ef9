// The 512 bytes before each file of an archive: written in one way, and read only where they say nothing else.
package import Core

package enum TarHeader {
    package static let blockSize = 512
    /// Two blocks of zeros end an archive.
    package static let end = [UInt8](repeating: 0, count: 2 * blockSize)
    /// The name field holds 99 bytes and an end, the size field 11 octal digits.
    package static let longestName = 99
    package static let largestFile = (8 << 30) - 1

    /// - Parameters:
    ///   - name: at most `longestName` bytes.
    ///   - size: at most `largestFile`.
    package static func bytes(_ name: String, size: Int) -> [UInt8] {
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

    /// How many zeros follow a file of this size.
    package static func padding(_ size: UInt64) -> Int {
        Int((UInt64(blockSize) - size % UInt64(blockSize)) % UInt64(blockSize))
    }

    /// The file that a block announces; anything but a regular file with a plain name is refused.
    package static func read(_ block: [UInt8]) throws(RuntimeError) -> (name: String, size: UInt64) {
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

    static func refusal(_ cause: String) -> RuntimeError {
        RuntimeError(.pluginInvalid, step: "unpack the artefact", cause: cause, next: "send it with `swiftlet deploy`")
    }
}
