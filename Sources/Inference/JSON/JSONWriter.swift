// Writes JSON byte by byte for hot answers; OpenAIWriter.swift knows which fields to write.

/// Appends JSON to bytes. The caller opens, separates by `comma`, and closes; nothing is checked.
package struct JSONWriter {
    package private(set) var bytes: [UInt8]

    package init(reserving capacity: Int = 256) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    /// Text that is JSON already.
    package mutating func raw(_ text: StaticString) {
        unsafe bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Bytes that are JSON already.
    mutating func raw(bytes more: some Sequence<UInt8>) { bytes.append(contentsOf: more) }

    package mutating func string(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { utf8 in
            // Runs without anything to escape are copied whole.
            var start = 0
            for index in 0..<utf8.count where Self.needsEscape(unsafe utf8[index]) {
                unsafe bytes.append(contentsOf: utf8[start..<index])
                unsafe escape(utf8[index])
                start = index + 1
            }
            unsafe bytes.append(contentsOf: utf8[start...])
        }
        bytes.append(UInt8(ascii: "\""))
    }

    package mutating func string(orNull text: String?) {
        if let text { string(text) } else { raw("null") }
    }

    package mutating func integer(_ value: some FixedWidthInteger) {
        bytes.append(contentsOf: String(value).utf8)
    }

    /// JSON has no infinities: they become the largest finite value, and not-a-number becomes null.
    package mutating func number(_ value: Float) {
        guard !value.isNaN else { return raw("null") }
        let finite = min(max(value, -Float.greatestFiniteMagnitude), Float.greatestFiniteMagnitude)
        bytes.append(contentsOf: finite.description.utf8)
    }

    /// The little-endian bytes of the numbers, as a string of base64.
    package mutating func base64(_ vector: [Float]) {
        bytes.append(UInt8(ascii: "\""))
        Vector.appendBase64(vector, to: &bytes)
        bytes.append(UInt8(ascii: "\""))
    }

    /// A number with its shortest text; JSON has neither infinities nor not-a-number, and null stands for them.
    mutating func real(_ value: Double, _ text: String) {
        if value.isFinite { bytes.append(contentsOf: text.utf8) } else { raw("null") }
    }

    package mutating func bool(_ value: Bool) {
        if value { raw("true") } else { raw("false") }
    }

    /// `[…]` with commas between what `body` writes for each element.
    package mutating func array<Element>(_ elements: [Element], _ body: (inout JSONWriter, Element) -> Void) {
        bytes.append(UInt8(ascii: "["))
        for (index, element) in elements.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            body(&self, element)
        }
        bytes.append(UInt8(ascii: "]"))
    }

    private static func needsEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }

    private mutating func escape(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): raw("\\\"")
        case UInt8(ascii: "\\"): raw("\\\\")
        case UInt8(ascii: "\n"): raw("\\n")
        case UInt8(ascii: "\r"): raw("\\r")
        case UInt8(ascii: "\t"): raw("\\t")
        default:
            raw("\\u00")
            bytes.append(Self.hex(byte >> 4))
            bytes.append(Self.hex(byte & 15))
        }
    }

    private static func hex(_ digit: UInt8) -> UInt8 {
        digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
    }
}
