// Writes a tree of outputs as JSON text.

struct JSONText {
    private(set) var bytes: [UInt8] = []

    mutating func append(_ output: JSONOutput) {
        switch output {
        case .null: bytes.append(contentsOf: "null".utf8)
        case .plain(let text): bytes.append(contentsOf: text.utf8)
        case .string(let text): append(quoted: text)
        case .node(let node): append(node)
        }
    }

    private mutating func append(_ node: JSONNode) {
        switch node.content {
        case .none: bytes.append(contentsOf: "{}".utf8)
        case .value(let output): append(output)
        case .object(let fields): append(fields)
        case .array(let elements):
            bytes.append(UInt8(ascii: "["))
            for (number, element) in elements.enumerated() {
                if number > 0 { bytes.append(UInt8(ascii: ",")) }
                append(element)
            }
            bytes.append(UInt8(ascii: "]"))
        }
    }

    private mutating func append(_ fields: [(name: String, value: JSONOutput)]) {
        let sorted = fields.sorted { $0.name < $1.name }
        bytes.append(UInt8(ascii: "{"))
        var isFirst = true
        for (number, field) in sorted.enumerated() {
            // Of a name that was encoded twice the last value counts; sorting is stable.
            if number + 1 < sorted.count, sorted[number + 1].name == field.name { continue }
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            isFirst = false
            append(quoted: field.name)
            bytes.append(UInt8(ascii: ":"))
            append(field.value)
        }
        bytes.append(UInt8(ascii: "}"))
    }

    private mutating func append(quoted text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(contentsOf: [UInt8(ascii: "\\"), byte])
            case 0x08: bytes.append(contentsOf: "\\b".utf8)
            case 0x09: bytes.append(contentsOf: "\\t".utf8)
            case 0x0a: bytes.append(contentsOf: "\\n".utf8)
            case 0x0c: bytes.append(contentsOf: "\\f".utf8)
            case 0x0d: bytes.append(contentsOf: "\\r".utf8)
            case 0..<0x20:
                bytes.append(contentsOf: (byte < 16 ? "\\u000" : "\\u00").utf8)
                bytes.append(contentsOf: String(byte, radix: 16).utf8)
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
