// One link of the chain, and its only encoding: numbers and lengths before texts, so that no two entries have one form.
internal import Platform

/// A SHA-256.
package struct AuditHash: Sendable, Hashable, CustomStringConvertible {
    static let size = 32
    /// What the first entry has before it.
    package static let none = AuditHash(bytes: [UInt8](repeating: 0, count: size))

    let bytes: [UInt8]

    init(bytes: [UInt8]) { self.bytes = bytes }

    init(of bytes: ArraySlice<UInt8>) {
        var digest = Digest()
        unsafe digest.add(bytes.span.bytes)
        self.bytes = digest.finishBytes()
    }

    /// Nil when it is not 64 hexadecimal digits.
    package init?(hex: some StringProtocol) {
        guard let bytes = hexBytes(hex), bytes.count == Self.size else { return nil }
        self.bytes = bytes
    }

    package var description: String { hexText(bytes) }
}

/// An entry: what happened, when, as which in the row, and behind which.
package struct AuditEntry: Sendable, Equatable {
    package let number: UInt64
    /// Unix time.
    package let milliseconds: Int64
    package let event: AuditEvent
    package let previous: AuditHash
    /// Of everything above.
    package let hash: AuditHash
    /// As it lies in the log: length, fields, hash.
    let frame: [UInt8]
}

extension AuditEntry {
    /// More than any entry's fields take.
    static let largest = 1 << 13
    static let overhead = 4 + AuditHash.size
    private static let version: UInt8 = 1

    init(number: UInt64, milliseconds: Int64, event: AuditEvent, previous: AuditHash) {
        var frame: [UInt8] = []
        frame.reserveCapacity(512)
        frame.append(number: UInt32(0))
        frame.append(Self.version)
        frame.append(number: number)
        frame.append(number: UInt64(bitPattern: milliseconds))
        frame.append(number: event.count)
        frame.append(number: event.status)
        for text in [
            event.actor, event.actorTenant, event.role, event.tenant, event.peer, event.requestID, event.act,
            event.target, event.detail,
        ] {
            frame.append(number: UInt16(text.utf8.count))
            frame.append(contentsOf: text.utf8)
        }
        frame.append(contentsOf: previous.bytes)
        let length = UInt32(frame.count - 4)
        for index in 0..<4 { frame[index] = UInt8(truncatingIfNeeded: length >> UInt32(8 * index)) }
        let hash = AuditHash(of: frame[...])
        self.init(
            number: number, milliseconds: milliseconds, event: event, previous: previous, hash: hash,
            frame: frame + hash.bytes)
    }

    /// What lies at a place of a segment.
    enum Found: Equatable {
        case entry(AuditEntry)
        /// It is no entry, or not the one that was written.
        case changed
        /// It ends before the entry does.
        case cut
    }

    /// Reads the entry that begins at `offset`, which is below `bytes.count`.
    static func read(_ bytes: [UInt8], at offset: Int) -> Found {
        var fields = FieldReader(bytes[offset...])
        guard let length: UInt32 = fields.number() else { return .cut }
        guard length <= largest else { return .changed }
        let end = offset + 4 + Int(length)
        guard end + AuditHash.size <= bytes.count else { return .cut }
        let hash = AuditHash(bytes: Array(bytes[end..<end + AuditHash.size]))
        guard hash == AuditHash(of: bytes[offset..<end]) else { return .changed }
        fields = FieldReader(bytes[(offset + 4)..<end])
        guard let version: UInt8 = fields.number(), version == Self.version, let number: UInt64 = fields.number(),
            let time: UInt64 = fields.number(), let count: UInt32 = fields.number(),
            let status: UInt16 = fields.number()
        else { return .changed }
        var texts: [String] = []
        for _ in 0..<9 {
            guard let text = fields.text() else { return .changed }
            texts.append(text)
        }
        guard let previous = fields.bytes(AuditHash.size), fields.isEmpty else { return .changed }
        let event = AuditEvent(
            actor: texts[0], actorTenant: texts[1], role: texts[2], tenant: texts[3], peer: texts[4],
            requestID: texts[5], act: texts[6], target: texts[7], status: status, detail: texts[8], count: count)
        return .entry(
            AuditEntry(
                number: number, milliseconds: Int64(bitPattern: time), event: event,
                previous: AuditHash(bytes: previous), hash: hash, frame: Array(bytes[offset..<end + AuditHash.size])))
    }
}

/// Takes fields off the front, little-endian.
private struct FieldReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    var isEmpty: Bool { rest.isEmpty }

    mutating func bytes(_ count: Int) -> [UInt8]? {
        guard rest.count >= count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    mutating func number<Number: FixedWidthInteger>() -> Number? {
        guard let bytes = bytes(MemoryLayout<Number>.size) else { return nil }
        return bytes.reversed().reduce(0) { $0 << 8 | Number(truncatingIfNeeded: $1) }
    }

    mutating func text() -> String? {
        guard let length: UInt16 = number(), let bytes = bytes(Int(length)) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }
}

extension [UInt8] {
    fileprivate mutating func append(number: some FixedWidthInteger) {
        for shift in stride(from: 0, to: number.bitWidth, by: 8) {
            append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }
}

func hexText(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

/// Nil when it is not pairs of lower-case hexadecimal digits.
func hexBytes(_ text: some StringProtocol) -> [UInt8]? {
    var digits: [UInt8] = []
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digits.append(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digits.append(byte - UInt8(ascii: "a") + 10)
        default: return nil
        }
    }
    guard digits.count.isMultiple(of: 2) else { return nil }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}
