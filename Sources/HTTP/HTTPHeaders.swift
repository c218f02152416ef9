// Header fields as one block of bytes with ranges, so that a request of twenty fields costs two allocations.

/// An ordered list of fields. Names are lower case; a field that could split a message is never stored.
package struct HTTPHeaders: Sendable, ExpressibleByDictionaryLiteral, Sequence {
    struct Field {
        var nameStart: UInt32
        var valueStart: UInt32
        var valueEnd: UInt32
    }

    private(set) var bytes: [UInt8] = []
    private(set) var fields: [Field] = []
    /// How many fields were refused by `append`, because of their name or a control character in their value.
    package private(set) var refused = 0

    package init() {}

    package init(dictionaryLiteral elements: (String, String)...) {
        for (name, value) in elements { append(name, value) }
    }

    package var count: Int { fields.count }
    package var isEmpty: Bool { fields.isEmpty }

    /// Adds a field. False, and nothing is stored, when the name is no token or the value holds CR, LF or another control
    /// character: those would let a value write headers of its own.
    @discardableResult
    package mutating func append(_ name: String, _ value: String) -> Bool {
        guard !name.isEmpty, name.utf8.allSatisfy(Self.isToken), value.utf8.allSatisfy(Self.isInValue) else {
            refused += 1
            return false
        }
        beginField()
        for byte in name.utf8 { bytes.append(Self.lowercased(byte)) }
        beginValue()
        bytes.append(contentsOf: value.utf8)
        endField()
        return true
    }

    /// The first value of a field; `name` is lower case.
    package func first(_ name: String) -> String? {
        guard let index = fields.firstIndex(where: { hasName($0, name) }) else { return nil }
        return value(at: index)
    }

    /// Every value of a field, in order; `name` is lower case.
    package func all(_ name: String) -> [String] {
        fields.indices.filter { hasName(fields[$0], name) }.map { value(at: $0) }
    }

    package func contains(_ name: String) -> Bool { fields.contains { hasName($0, name) } }

    package func makeIterator() -> AnyIterator<(name: String, value: String)> {
        var index = 0
        return AnyIterator {
            guard index < fields.count else { return nil }
            defer { index += 1 }
            return (name(at: index), value(at: index))
        }
    }

    package func name(at index: Int) -> String { String(decoding: bytes[nameRange(fields[index])], as: UTF8.self) }
    package func value(at index: Int) -> String { String(decoding: bytes[valueRange(fields[index])], as: UTF8.self) }

    func nameRange(_ field: Field) -> Range<Int> { Int(field.nameStart)..<Int(field.valueStart) }
    func valueRange(_ field: Field) -> Range<Int> { Int(field.valueStart)..<Int(field.valueEnd) }

    func hasName(_ field: Field, _ name: String) -> Bool {
        let range = nameRange(field)
        return range.count == name.utf8.count && bytes[range].elementsEqual(name.utf8)
    }

    // MARK: from a parser, a piece at a time

    mutating func reserveHead() {
        bytes.reserveCapacity(512)
        fields.reserveCapacity(16)
    }

    mutating func beginField() {
        let at = UInt32(truncatingIfNeeded: bytes.count)
        lastIsComplete = false
        fields.append(Field(nameStart: at, valueStart: at, valueEnd: at))
    }

    /// False between `beginField` and `endField`.
    private(set) var lastIsComplete = true

    mutating func beginValue() { fields[fields.count - 1].valueStart = UInt32(truncatingIfNeeded: bytes.count) }

    /// Ends the field without the white space at the end of its value.
    mutating func endField() {
        let start = Int(fields[fields.count - 1].valueStart)
        while bytes.count > start, bytes[bytes.count - 1] == 0x20 || bytes[bytes.count - 1] == 0x09 {
            bytes.removeLast()
        }
        lastIsComplete = true
        fields[fields.count - 1].valueEnd = UInt32(truncatingIfNeeded: bytes.count)
    }

    mutating func appendName(_ piece: UnsafeRawBufferPointer) {
        for index in piece.indices { unsafe bytes.append(Self.lowercased(piece[index])) }
    }

    mutating func appendValue(_ piece: UnsafeRawBufferPointer) { unsafe bytes.append(contentsOf: piece) }

    // MARK: which bytes may stand where (RFC 9110, 5.1 and 5.5)

    static func lowercased(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte }

    static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
        case 0x21, 0x23...0x27, 0x2a, 0x2b, 0x2d, 0x2e, 0x5e...0x60, 0x7c, 0x7e: true
        default: false
        }
    }

    static func isInValue(_ byte: UInt8) -> Bool { byte >= 0x20 && byte != 0x7f || byte == 0x09 }
}
