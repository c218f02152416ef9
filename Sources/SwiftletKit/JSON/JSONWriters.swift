// What an encoder fills: an object and an array.

struct JSONFieldWriter<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let node: JSONNode
    let path: JSONPath?

    var codingPath: [any CodingKey] { JSONPath.keys(path) }

    private func open(_ key: some CodingKey) -> JSONValueEncoder {
        let child = JSONNode()
        node.add(.node(child), as: key.stringValue)
        return JSONValueEncoder(node: child, path: JSONPath(key, below: path))
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> {
        open(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { open(key).unkeyedContainer() }
    func superEncoder() -> any Encoder { open(JSONKey.super) }
    func superEncoder(forKey key: Key) -> any Encoder { open(key) }

    func encodeNil(forKey key: Key) { node.add(.null, as: key.stringValue) }
    func encode(_ value: Bool, forKey key: Key) { node.add(JSONValueEncoder.output(of: value), as: key.stringValue) }
    func encode(_ value: String, forKey key: Key) { node.add(.string(value), as: key.stringValue) }

    func encode(_ value: Double, forKey key: Key) throws {
        node.add(try JSONValueEncoder.output(of: value, at: JSONPath(key, below: path)), as: key.stringValue)
    }

    func encode(_ value: Float, forKey key: Key) throws {
        node.add(try JSONValueEncoder.output(of: value, at: JSONPath(key, below: path)), as: key.stringValue)
    }

    func encode(_ value: Int, forKey key: Key) { node.add(.plain(String(value)), as: key.stringValue) }
    func encode(_ value: Int8, forKey key: Key) { node.add(.plain(String(value)), as: key.stringValue) }
    func encode(_ value: Int16, forKey key: Key) { node.add(.plain(String(value)), as: key.stringValue) }
    func encode(_ value: Int32, forKey key: Key) { node.add(.plain(String(value)), as: key.stringValue) }
    func encode(_ value: Int64, forKey key: Key) { node.add(.plain(String(value)), as: key.stringValue) }
    func encode(_ value: Int128, forKey key: Key) { node.add(.plain(String(value)), as: key.stringValue) }
    func encode(_ value: UInt, forKey key: Key) { node.add(.plain(String(value)), as: key.stringValue) }
    func encode(_ value: UInt8, forKey key: Key) { node.add(.plain(String(value)), as: key.stringValue) }
    func encode(_ value: UInt16, forKey key: Key) { node.add(.plain(String(value)), as: key.stringValue) }
    func encode(_ value: UInt32, forKey key: Key) { node.add(.plain(String(value)), as: key.stringValue) }
    func encode(_ value: UInt64, forKey key: Key) { node.add(.plain(String(value)), as: key.stringValue) }
    func encode(_ value: UInt128, forKey key: Key) { node.add(.plain(String(value)), as: key.stringValue) }

    func encode(_ value: some Encodable, forKey key: Key) throws {
        let output = try JSONValueEncoder.output(of: value, at: JSONPath(key, below: path))
        node.add(output ?? .node(JSONNode()), as: key.stringValue)
    }
}

struct JSONElementWriter: UnkeyedEncodingContainer {
    let node: JSONNode
    let path: JSONPath?

    var codingPath: [any CodingKey] { JSONPath.keys(path) }
    var count: Int { node.count }

    private var below: JSONPath { JSONPath(JSONKey(index: count), below: path) }

    private func open() -> JSONValueEncoder {
        let child = JSONValueEncoder(node: JSONNode(), path: below)
        node.add(.node(child.node))
        return child
    }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
        open().container(keyedBy: type)
    }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { open().unkeyedContainer() }
    func superEncoder() -> any Encoder { open() }

    func encodeNil() { node.add(.null) }
    func encode(_ value: Bool) { node.add(JSONValueEncoder.output(of: value)) }
    func encode(_ value: String) { node.add(.string(value)) }
    func encode(_ value: Double) throws { node.add(try JSONValueEncoder.output(of: value, at: below)) }
    func encode(_ value: Float) throws { node.add(try JSONValueEncoder.output(of: value, at: below)) }
    func encode(_ value: Int) { node.add(.plain(String(value))) }
    func encode(_ value: Int8) { node.add(.plain(String(value))) }
    func encode(_ value: Int16) { node.add(.plain(String(value))) }
    func encode(_ value: Int32) { node.add(.plain(String(value))) }
    func encode(_ value: Int64) { node.add(.plain(String(value))) }
    func encode(_ value: Int128) { node.add(.plain(String(value))) }
    func encode(_ value: UInt) { node.add(.plain(String(value))) }
    func encode(_ value: UInt8) { node.add(.plain(String(value))) }
    func encode(_ value: UInt16) { node.add(.plain(String(value))) }
    func encode(_ value: UInt32) { node.add(.plain(String(value))) }
    func encode(_ value: UInt64) { node.add(.plain(String(value))) }
    func encode(_ value: UInt128) { node.add(.plain(String(value))) }
    func encode(_ value: some Encodable) throws {
        node.add(try JSONValueEncoder.output(of: value, at: below) ?? .node(JSONNode()))
    }
}
