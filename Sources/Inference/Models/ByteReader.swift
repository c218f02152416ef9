// Reads little-endian values from bytes that a worker sent; every length is checked before it is used.

struct ByteReader {
    private let bytes: [UInt8]
    private var offset = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var rest: ArraySlice<UInt8> { bytes[offset...] }

    mutating func u32() -> UInt32? {
        guard bytes.count - offset >= 4 else { return nil }
        defer { offset += 4 }
        return (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
    }

    mutating func i32() -> Int32? { u32().map(Int32.init(bitPattern:)) }

    mutating func f32() -> Float? { u32().map(Float.init(bitPattern:)) }

    mutating func u64() -> UInt64? {
        guard bytes.count - offset >= 8, let low = u32(), let high = u32() else { return nil }
        return UInt64(low) | UInt64(high) << 32
    }

    mutating func take(_ count: UInt32) -> [UInt8]? {
        guard Int(count) <= bytes.count - offset else { return nil }
        defer { offset += Int(count) }
        return Array(bytes[offset..<offset + Int(count)])
    }
}
