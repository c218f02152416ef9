// One value of a parsed document, lent by JSONParser for the time of one closure.
internal import CSimdJSON

/// A value and, through it, what it contains.
// SAFETY: `index` is below the number of nodes, because only the parser's own `next` and `count` lead to an index.
@safe package struct JSONNode {
    package enum Kind: String {
        case null, boolean, integer, number, string, array, object
    }

    private let nodes: UnsafePointer<csimdjson_node>
    private let index: UInt32

    init(nodes: UnsafePointer<csimdjson_node>, index: UInt32) {
        unsafe self.nodes = unsafe nodes
        self.index = index
    }

    package var kind: Kind {
        switch Int(unsafe nodes[Int(index)].kind) {
        case CSIMDJSON_FALSE, CSIMDJSON_TRUE: .boolean
        case CSIMDJSON_INTEGER: .integer
        case CSIMDJSON_NUMBER: .number
        case CSIMDJSON_STRING: .string
        case CSIMDJSON_ARRAY: .array
        case CSIMDJSON_OBJECT: .object
        default: .null
        }
    }

    package var bool: Bool? {
        kind == .boolean ? Int(unsafe nodes[Int(index)].kind) == CSIMDJSON_TRUE : nil
    }

    package var integer: Int64? { kind == .integer ? unsafe nodes[Int(index)].integer : nil }

    /// Any number, whole or not; always finite.
    package var number: Double? {
        kind == .integer || kind == .number ? unsafe nodes[Int(index)].number : nil
    }

    /// A number as it was written, which keeps what a Double can't.
    package var digits: String? {
        guard kind == .integer || kind == .number else { return nil }
        return unsafe Self.text(nodes[Int(index)].text, nodes[Int(index)].text_size)
    }

    package var string: String? {
        guard kind == .string else { return nil }
        return unsafe Self.text(nodes[Int(index)].text, nodes[Int(index)].text_size)
    }

    /// How many children a container has.
    package var count: Int { Int(unsafe nodes[Int(index)].count) }

    /// The elements of an array, or the fields of an object, in order.
    package func forEachChild<Failure: Error>(
        _ body: (_ key: String?, _ value: JSONNode) throws(Failure) -> Void
    ) throws(Failure) {
        var child = index + 1
        for _ in 0..<count {
            let node = unsafe nodes[Int(child)]
            let key = unsafe node.key == nil ? nil : unsafe Self.text(node.key, node.key_size)
            try body(key, unsafe JSONNode(nodes: nodes, index: child))
            child = unsafe node.next
        }
    }

    private static func text(_ start: UnsafePointer<CChar>?, _ size: UInt32) -> String {
        let bytes = unsafe UnsafeRawBufferPointer(start: start, count: Int(size))
        return unsafe String(decoding: bytes, as: UTF8.self)
    }
}
