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
        unsafe append(name.utf8Span.span.bytes, value.utf8Span.span.bytes)
    }

    /// The same from bytes, of which a value's broken UTF-8 is repaired.
    @discardableResult
    package mutating func append(_ name: RawSpan, _ value: RawSpan) -> Bool {
        guard !name.isEmpty, name.isToken, value.isFieldValue else {
            refused += 1
            return false
        }
        let start = bytes.count
        bytes.append(name)
        lowercase(from: start)
        endField(from: start, value)
        return true
    }

    /// The same with a name of ours, which is a token in lower case.
    @discardableResult
    package mutating func append(known name: StaticString, _ value: RawSpan) -> Bool {
        guard value.isFieldValue else {
            refused += 1
            return false
        }
        let start = bytes.count
        unsafe appendValue(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
        endField(from: start, value)
        return true
    }

    /// The same with a value of our own words and numbers, written where it stays: nothing in it needs a look.
    ///
    /// - Parameter most: bytes of the value.
    package mutating func append(
        known name: StaticString, atMost most: Int, writing value: (inout OutputSpan<UInt8>) -> Void
    ) {
        beginField()
        unsafe appendValue(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
        beginValue()
        bytes.append(addingCapacity: most, initializingWith: value)
        endField()
    }

    private mutating func endField(from start: Int, _ value: RawSpan) {
        fields.append(Field(nameStart: UInt32(truncatingIfNeeded: start), valueStart: 0, valueEnd: 0))
        beginValue()
        if value.isASCII { bytes.append(value) } else { bytes.append(contentsOf: value.text.utf8) }
        endField()
    }

    /// Makes room for a few fields at once.
    package mutating func reserve(fields count: Int, bytes size: Int) {
        fields.reserveCapacity(count)
        bytes.reserveCapacity(size)
    }

    /// Shows the fields in order, as bytes, of which a value's broken UTF-8 is repaired.
    package func forEachField(_ body: (_ name: RawSpan, _ value: RawSpan) -> Void) {
        let all = unsafe bytes.span.bytes
        for field in fields {
            let (name, value) = (all.extracting(nameRange(field)), all.extracting(valueRange(field)))
            if value.isASCII { body(name, value) } else { unsafe body(name, value.text.utf8Span.span.bytes) }
        }
    }

    /// The first value of a field; `name` is lower case.
    package func first(_ name: StaticString) -> String? {
        guard let index = fields.firstIndex(where: { hasName($0, name) }) else { return nil }
        return value(at: index)
    }

    /// Every value of a field, in order; `name` is lower case.
    package func all(_ name: StaticString) -> [String] {
        fields.indices.filter { hasName(fields[$0], name) }.map { value(at: $0) }
    }

    /// Shows every value of a field, in order, as bytes; `name` is lower case.
    package func forEachValue(of name: StaticString, _ body: (RawSpan) -> Void) {
        let all = unsafe bytes.span.bytes
        for field in fields where hasName(field, name) { body(all.extracting(valueRange(field))) }
    }

    package func contains(_ name: StaticString) -> Bool { fields.contains { hasName($0, name) } }

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

    func hasName(_ field: Field, _ name: StaticString) -> Bool {
        let size = Int(field.valueStart &- field.nameStart)
        guard size == name.utf8CodeUnitCount else { return false }
        let start = Int(field.nameStart)
        for index in 0..<size where unsafe bytes[start + index] != name.utf8Start[index] { return false }
        return true
    }

    // MARK: from a parser, a piece at a time

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
        let start = bytes.count
        unsafe bytes.append(contentsOf: piece)
        lowercase(from: start)
    }

    private mutating func lowercase(from start: Int) {
        var stored = bytes.mutableSpan
        for index in start..<stored.count { stored[index] = Self.lowercased(stored[index]) }
    }

    mutating func appendValue(_ piece: UnsafeRawBufferPointer) { unsafe bytes.append(contentsOf: piece) }

    // MARK: which bytes may stand where (RFC 9110, 5.1 and 5.5)

    static func lowercased(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte }

    static func isToken(_ byte: UInt8) -> Bool {
        // One bit a character.
        let bits = byte < 64 ? 0x03ff_6cfa_0000_0000 : byte < 128 ? 0x57ff_ffff_c7ff_fffe : 0 as UInt64
        return bits >> UInt64(byte & 63) & 1 == 1
    }

    static func isInValue(_ byte: UInt8) -> Bool { byte >= 0x20 && byte != 0x7f || byte == 0x09 }
}

extension RawSpan {
    fileprivate var isFieldValue: Bool { !contains { !HTTPHeaders.isInValue($0) } }
    fileprivate var isToken: Bool { !contains { !HTTPHeaders.isToken($0) } }
    /// Eight bytes at a time: this runs for each field of each request and answer.
    fileprivate var isASCII: Bool {
        var (offset, found) = (0, 0 as UInt64)
        while offset <= byteCount - 8 {
            found |= unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt64.self)
            offset += 8
        }
        while offset < byteCount {
            found |= UInt64(unsafe unsafeLoad(fromUncheckedByteOffset: offset, as: UInt8.self))
            offset += 1
        }
        return found & 0x8080_8080_8080_8080 == 0
    }

    /// Looks at every byte, so that the compiler may take many at once.
    @inline(__always)
    private func contains(_ isSought: (UInt8) -> Bool) -> Bool {
        unsafe withUnsafeBytes { bytes in
            var found: UInt8 = 0
            for index in bytes.indices { found |= unsafe isSought(bytes[index]) ? 1 : 0 }
            return found != 0
        }
    }

    /// Broken UTF-8 is repaired.
    package var text: String { unsafe withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) } }

    package func holds(_ text: StaticString) -> Bool {
        guard byteCount == text.utf8CodeUnitCount else { return false }
        for index in 0..<byteCount {
            guard unsafe unsafeLoad(fromByteOffset: index, as: UInt8.self) == text.utf8Start[index] else {
                return false
            }
        }
        return true
    }

    package func contains(_ byte: UInt8) -> Bool { contains { $0 == byte } }
}
