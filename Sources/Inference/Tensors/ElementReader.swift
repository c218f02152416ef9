// The elements of a tensor in JSON, nested as its shape or flat, to the bytes that a model takes.

struct ElementReader {
    private let type: TensorType
    private let path: String
    private(set) var bytes: [UInt8] = []
    private(set) var count = 0

    init(_ type: TensorType, path: String) {
        self.type = type
        self.path = path
    }

    mutating func read(_ node: JSONNode) throws(OpenAIError) {
        guard node.kind == .array else { throw wrong("must be a list") }
        var copy = self
        try node.forEachChild { (_, child) throws(OpenAIError) in
            if child.kind == .array { try copy.read(child) } else { try copy.element(child) }
        }
        self = copy
    }

    private func wrong(_ need: String) -> OpenAIError {
        .invalid(path, "\(path): \(need)", code: "invalid_value")
    }

    private mutating func element(_ node: JSONNode) throws(OpenAIError) {
        count += 1
        switch type {
        case .bool:
            guard let truth = node.bool ?? node.integer.flatMap({ $0 == 0 ? false : $0 == 1 ? true : nil }) else {
                throw wrong("element \(count - 1) is neither true nor false")
            }
            bytes.append(truth ? 1 : 0)
        case .uint8: try append(whole(node, UInt8.self))
        case .uint16: try append(whole(node, UInt16.self))
        case .uint32: try append(whole(node, UInt32.self))
        case .uint64: try append(whole(node, UInt64.self))
        case .int8: try append(whole(node, Int8.self))
        case .int16: try append(whole(node, Int16.self))
        case .int32: try append(whole(node, Int32.self))
        case .int64: try append(whole(node, Int64.self))
        case .fp32:
            let number = try Float(self.number(node))
            guard number.isFinite else { throw wrong("element \(count - 1) does not fit FP32") }
            append(number.bitPattern)
        case .fp64: try append(number(node).bitPattern)
        case .bytes:
            guard let text = node.string else { throw wrong("element \(count - 1) is no string") }
            append(UInt32(text.utf8.count))
            bytes.append(contentsOf: text.utf8)
        case .fp16, .bf16: throw wrong("\(type.name) is sent as bytes only")
        }
    }

    private mutating func append<Number: FixedWidthInteger>(_ number: Number) {
        unsafe withUnsafeBytes(of: number.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    private func number(_ node: JSONNode) throws(OpenAIError) -> Double {
        guard let number = node.number else { throw wrong("element \(count - 1) is no number") }
        return number
    }

    private func whole<Number: FixedWidthInteger>(_ node: JSONNode, _: Number.Type) throws(OpenAIError) -> Number {
        if let integer = node.integer, let number = Number(exactly: integer) { return number }
        // Above 2^63 only the digits still say which number it is; "1.0" is a whole number, too.
        if let digits = node.digits, let number = Number(digits) { return number }
        if let number = node.number.flatMap(Number.init(exactly:)), abs(node.number ?? 0) < 9e15 { return number }
        throw wrong("element \(count - 1) is no \(type.name)")
    }
}
