// Encodes any value into a tree of outputs, since containers may be filled in any order; JSONText writes the tree.
internal import FoundationEssentials

/// One value on its way to text.
enum JSONOutput {
    case null
    /// Text that is JSON already: numbers, true, false.
    case plain(String)
    case string(String)
    case node(JSONNode)
}

/// A value that is still being encoded, or a container that others still fill.
final class JSONNode {
    enum Content {
        case none
        case value(JSONOutput)
        case object([(name: String, value: JSONOutput)])
        case array([JSONOutput])
    }

    var content = Content.none

    func openObject() {
        if case .none = content { content = .object([]) }
        guard case .object = content else { fatalError("encode(to:) asked for two kinds of container") }
    }

    func openArray() {
        if case .none = content { content = .array([]) }
        guard case .array = content else { fatalError("encode(to:) asked for two kinds of container") }
    }

    func add(_ value: JSONOutput, as name: String) {
        guard case .object(var fields) = content else { return }
        content = .none  // one owner: the array grows in place
        fields.append((name, value))
        content = .object(fields)
    }

    func add(_ value: JSONOutput) {
        guard case .array(var elements) = content else { return }
        content = .none
        elements.append(value)
        content = .array(elements)
    }

    var count: Int {
        if case .array(let elements) = content { return elements.count }
        return 0
    }
}

struct JSONValueEncoder: Encoder {
    let node: JSONNode
    let path: JSONPath?

    var codingPath: [any CodingKey] { JSONPath.keys(path) }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        node.openObject()
        return KeyedEncodingContainer(JSONFieldWriter<Key>(node: node, path: path))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        node.openArray()
        return JSONElementWriter(node: node, path: path)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { self }

    // MARK: values

    /// Any value; nil when it encoded nothing. Strategies are those Foundation's encoder has by default.
    static func output<Value: Encodable>(of value: Value, at path: JSONPath?) throws -> JSONOutput? {
        if Value.self == Data.self, let data = value as? Data { return .string(data.base64EncodedString()) }
        if Value.self == URL.self, let url = value as? URL { return .string(url.absoluteString) }
        if Value.self == Decimal.self, let number = value as? Decimal { return .plain(number.description) }
        let node = JSONNode()
        try value.encode(to: JSONValueEncoder(node: node, path: path))
        switch node.content {
        case .none: return nil
        case .value(let output): return output
        case .object, .array: return .node(node)
        }
    }

    static func output(of number: some BinaryFloatingPoint & CustomStringConvertible, at path: JSONPath?) throws
        -> JSONOutput
    {
        guard number.isFinite else {
            throw EncodingError.invalidValue(
                number, .init(codingPath: JSONPath.keys(path), debugDescription: "JSON has no \(number)"))
        }
        let text = number.description
        return .plain(text.hasSuffix(".0") ? String(text.dropLast(2)) : text)
    }

    static func output(of truth: Bool) -> JSONOutput { .plain(truth ? "true" : "false") }
}

extension JSONValueEncoder: SingleValueEncodingContainer {
    func encodeNil() { node.content = .value(.null) }
    func encode(_ value: Bool) { node.content = .value(Self.output(of: value)) }
    func encode(_ value: String) { node.content = .value(.string(value)) }
    func encode(_ value: Double) throws { node.content = .value(try Self.output(of: value, at: path)) }
    func encode(_ value: Float) throws { node.content = .value(try Self.output(of: value, at: path)) }
    func encode(_ value: Int) { node.content = .value(.plain(String(value))) }
    func encode(_ value: Int8) { node.content = .value(.plain(String(value))) }
    func encode(_ value: Int16) { node.content = .value(.plain(String(value))) }
    func encode(_ value: Int32) { node.content = .value(.plain(String(value))) }
    func encode(_ value: Int64) { node.content = .value(.plain(String(value))) }
    func encode(_ value: Int128) { node.content = .value(.plain(String(value))) }
    func encode(_ value: UInt) { node.content = .value(.plain(String(value))) }
    func encode(_ value: UInt8) { node.content = .value(.plain(String(value))) }
    func encode(_ value: UInt16) { node.content = .value(.plain(String(value))) }
    func encode(_ value: UInt32) { node.content = .value(.plain(String(value))) }
    func encode(_ value: UInt64) { node.content = .value(.plain(String(value))) }
    func encode(_ value: UInt128) { node.content = .value(.plain(String(value))) }
    func encode(_ value: some Encodable) throws {
        if let output = try Self.output(of: value, at: path) { node.content = .value(output) }
    }
}
