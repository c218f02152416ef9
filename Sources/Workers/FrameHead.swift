// How the host reads and writes wire frames: nothing a worker sends is believed before its length is checked here.
package import SwiftletWire

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

    /// A header field as INVOKE and RESPONSE carry it; nil when it isn't all there.
    package func field(_ offset: inout Int) -> (name: Range<Int>, value: Range<Int>)? {
        guard let nameSize = u32(&offset), let valueSize = u32(&offset), let name = take(nameSize, &offset),
            let value = take(valueSize, &offset)
        else { return nil }
        return (name, value)
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
        bytes.append(
            record: wire_head(type: head.type, flags: head.flags, size: 0, id: head.id, call: head.call))
    }

    package mutating func append(_ invoke: wire_invoke) { bytes.append(record: invoke) }

    // One for each width, since a generic function is slow in another module.
    package mutating func append(_ number: UInt16) { bytes.append(littleEndian: number) }
    package mutating func append(_ number: UInt32) { bytes.append(littleEndian: number) }
    package mutating func append(_ number: UInt64) { bytes.append(littleEndian: number) }

    package mutating func append(_ text: String) { unsafe append(text.utf8Span.span.bytes) }
    package mutating func append(_ more: [UInt8]) { bytes.append(contentsOf: more) }
    package mutating func append(_ more: ArraySlice<UInt8>) { bytes.append(contentsOf: more) }
    package mutating func append(_ more: RawSpan) { bytes.append(span: more) }

    package var payloadSize: Int { bytes.count - Int(WIRE_HEAD_SIZE) }

    /// The finished packet. A frame over the limit is a mistake of the host, so it traps.
    package consuming func finish() -> [UInt8] {
        let size = payloadSize
        precondition(size <= Int(WIRE_FRAME_MAX - WIRE_HEAD_SIZE), "frame over the wire limit")
        for index in 0..<4 { bytes[4 + index] = UInt8(truncatingIfNeeded: size >> (8 * index)) }
        return bytes
    }
}

/// Header fields as INVOKE carries them.
package struct FieldBlock: Sendable {
    package private(set) var count: UInt32 = 0
    package private(set) var bytes: [UInt8] = []

    /// - Parameter capacity: bytes to make room for.
    package init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    package mutating func append(name: RawSpan, value: RawSpan) {
        count += 1
        bytes.append(littleEndian: UInt32(name.byteCount))
        bytes.append(littleEndian: UInt32(value.byteCount))
        bytes.append(span: name)
        bytes.append(span: value)
    }
}

extension [UInt8] {
    @inline(__always)
    fileprivate mutating func append<Number: FixedWidthInteger>(littleEndian number: Number) {
        unsafe Swift.withUnsafeBytes(of: number.littleEndian) { unsafe append(contentsOf: $0) }
    }

    /// As it is in memory: both sides of the fork are of one machine, and it is little-endian.
    @inline(__always)
    fileprivate mutating func append<Record: BitwiseCopyable>(record: Record) {
        unsafe Swift.withUnsafeBytes(of: record) { unsafe append(contentsOf: $0) }
    }

    fileprivate mutating func append(span: RawSpan) {
        unsafe span.withUnsafeBytes { unsafe append(contentsOf: $0) }
    }
}
