// How the host reads and writes wire frames: nothing a worker sends is believed before its length is checked here.
internal import SwiftletWire

/// The fixed part of every frame.
package struct FrameHead: Equatable, Sendable {
    package var type: UInt16
    package var flags: UInt16 = 0
    package var id: UInt32 = 0
    package var call: UInt32 = 0

    package init(_ type: Int, flags: Int = 0, id: UInt32 = 0, call: UInt32 = 0) {
        self.type = UInt16(type)
        self.flags = UInt16(flags)
        self.id = id
        self.call = call
    }

    package func has(_ flag: Int) -> Bool { Int(flags) & flag != 0 }

    package var isEnd: Bool { has(Int(WIRE_FLAG_END)) }

    /// Reads the head of a packet; nil when the packet is shorter than a head or its size field lies.
    package init?(packet: RawSpan) {
        guard let (head, end) = Self.read(packet), end == packet.byteCount else { return nil }
        self = head
    }

    /// Reads a READY that has another frame behind it: its head, and where it ends.
    static func ready(before packet: RawSpan) -> (head: FrameHead, end: Int)? {
        guard let (head, end) = read(packet), head.type == UInt16(WIRE_READY), end < packet.byteCount else {
            return nil
        }
        return (head, end)
    }

    private static func read(_ packet: RawSpan) -> (head: FrameHead, end: Int)? {
        var offset = 0
        guard let type = packet.u16(&offset), let flags = packet.u16(&offset), let size = packet.u32(&offset),
            let id = packet.u32(&offset), let call = packet.u32(&offset)
        else { return nil }
        return (FrameHead(Int(type), flags: Int(flags), id: id, call: call), offset + Int(size))
    }
}

extension RawSpan {
    /// Reads a little-endian number and moves on; nil when it isn't all there.
    @inline(__always)
    private func number<Number: FixedWidthInteger & BitwiseCopyable>(_ offset: inout Int, _: Number.Type) -> Number? {
        let width = MemoryLayout<Number>.size
        guard offset <= byteCount - width else { return nil }
        defer { offset += width }
        return unsafe Number(littleEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: Number.self))
    }

    package func u16(_ offset: inout Int) -> UInt16? { number(&offset, UInt16.self) }
    package func u32(_ offset: inout Int) -> UInt32? { number(&offset, UInt32.self) }
    package func i32(_ offset: inout Int) -> Int32? { number(&offset, Int32.self) }
    package func u64(_ offset: inout Int) -> UInt64? { number(&offset, UInt64.self) }

    /// The next `count` bytes as a range; nil when they aren't all there.
    package func take(_ count: UInt32, _ offset: inout Int) -> Range<Int>? {
        guard Int(count) <= byteCount - offset else { return nil }
        defer { offset += Int(count) }
        return offset..<offset + Int(count)
    }

    /// The next `count` bytes as text, broken UTF-8 repaired.
    package func text(_ count: UInt32, _ offset: inout Int) -> String? {
        guard let range = take(count, &offset) else { return nil }
        return text(in: range)
    }

    package func text(in range: Range<Int>) -> String {
        unsafe extracting(range).withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
    }

    package func bytes(in range: Range<Int>) -> [UInt8] {
        unsafe extracting(range).withUnsafeBytes { unsafe Array($0) }
    }
}

/// Builds one frame.
package struct FrameBuilder {
    package private(set) var bytes: [UInt8]

    package init(_ head: FrameHead, capacity: Int = 0) {
        bytes = []
        bytes.reserveCapacity(Int(WIRE_HEAD_SIZE) + capacity)
        append(head.type)
        append(head.flags)
        append(UInt32(0))
        append(head.id)
        append(head.call)
    }

    package mutating func append<Number: FixedWidthInteger>(_ number: Number) {
        unsafe withUnsafeBytes(of: number.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    package mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }
    package mutating func append(_ more: [UInt8]) { bytes.append(contentsOf: more) }
    package mutating func append(_ more: ArraySlice<UInt8>) { bytes.append(contentsOf: more) }
    package mutating func append(_ more: RawSpan) {
        unsafe more.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    }

    package var payloadSize: Int { bytes.count - Int(WIRE_HEAD_SIZE) }

    /// The finished packet. A frame over the limit is a mistake of the host, so it traps.
    package consuming func finish() -> [UInt8] {
        let size = payloadSize
        precondition(size <= Int(WIRE_FRAME_MAX - WIRE_HEAD_SIZE), "frame over the wire limit")
        for index in 0..<4 { bytes[4 + index] = UInt8(truncatingIfNeeded: size >> (8 * index)) }
        return bytes
    }
}
