// The body of an inference request of the Open Inference Protocol v2: JSON, and the raw tensors behind it.

/// A request that was read. What the model takes is checked later, by TensorSignature.
package struct InferRequest: Sendable {
    /// Outputs that the client wants, or nil for all; true: as raw bytes behind the answer's JSON.
    package struct Output: Equatable, Sendable {
        package var name: String
        package var binary: Bool
    }

    /// Values that the JSON part may have: tensors are longer than chats.
    private static let maxValues = 1_000_000
    private static let maxTensors = 256

    package private(set) var id: String?
    package private(set) var model: String?
    package private(set) var inputs: [Tensor] = []
    package private(set) var outputs: [Output]?
    /// For the outputs that `outputs` doesn't name.
    package private(set) var binaryOutputs = false

    /// - Parameter headerLength: `Inference-Header-Content-Length` as it was sent: how many bytes of `body` are JSON.
    package init(_ body: [UInt8], headerLength: String?, parser: inout JSONParser) throws(OpenAIError) {
        let length = try Self.length(headerLength, of: body.count)
        var rest = body[length...]
        var request = Self()
        try parser.read(
            body.span.extracting(..<length), maxValues: Self.maxValues, refuse: OpenAIError.notJSON
        ) { (root: JSONNode) throws(OpenAIError) in
            try request.read(RequestFields(root), &rest)
        }
        guard rest.isEmpty else {
            throw .invalid(
                nil, "body: \(rest.count) bytes behind the tensors that parameters.binary_data_size announces")
        }
        self = request
    }

    private init() {}

    private static func length(_ text: String?, of size: Int) throws(OpenAIError) -> Int {
        guard let text else { return size }
        guard !text.isEmpty, text.utf8.count <= 10, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let length = Int(text), length <= size
        else {
            throw .invalid(
                nil,
                "Inference-Header-Content-Length: must be from 0 to the \(size) bytes of the body, not "
                    + "'\(text.prefix(40))'")
        }
        return length
    }

    private mutating func read(_ fields: RequestFields, _ rest: inout ArraySlice<UInt8>) throws(OpenAIError) {
        id = try fields.string("id", maxBytes: 1024)
        model = try fields.string("model", maxBytes: 256)
        if let parameters = fields["parameters"] { try readParameters(RequestFields(parameters, path: "parameters.")) }
        guard let list = fields["inputs"] else { throw .missing("inputs") }
        try Self.forEach(list, "inputs") { (node, path) throws(OpenAIError) in
            try inputs.append(Self.input(RequestFields(node, path: path), &rest))
        }
        guard let wanted = fields["outputs"] else { return }
        var named: [Output] = []
        try Self.forEach(wanted, "outputs") { (node, path) throws(OpenAIError) in
            let output = try self.output(RequestFields(node, path: path))
            guard !named.contains(where: { $0.name == output.name }) else {
                throw .invalid(path, "\(path)name: '\(output.name.prefix(200))' is named twice")
            }
            named.append(output)
        }
        if !named.isEmpty { outputs = named }
    }

    private static func forEach(
        _ list: JSONNode, _ name: String, _ body: (JSONNode, _ path: String) throws(OpenAIError) -> Void
    ) throws(OpenAIError) {
        guard list.kind == .array, list.count <= maxTensors else {
            throw .invalid(name, "\(name): must be a list of at most \(maxTensors) tensors")
        }
        var index = 0
        try list.forEachChild { (_, node) throws(OpenAIError) in
            try body(node, "\(name)[\(index)].")
            index += 1
        }
    }

    private mutating func readParameters(_ fields: RequestFields) throws(OpenAIError) {
        binaryOutputs = try fields.bool("binary_data_output") ?? false
        for name in ["sequence_id", "sequence_start", "sequence_end"] {
            let node = fields[name]
            if node != nil, node?.integer != 0, node?.bool != false, node?.string != "" {
                throw .notOffered("parameters.\(name)", "models here keep nothing between requests")
            }
        }
    }

    private func output(_ fields: RequestFields) throws(OpenAIError) -> Output {
        guard let name = try fields.string("name", maxBytes: 1024) else { throw .missing(fields.name(of: "name")) }
        guard let node = fields["parameters"] else { return Output(name: name, binary: binaryOutputs) }
        let parameters = try RequestFields(node, path: fields.name(of: "parameters."))
        try Self.refuseSharedMemory(parameters)
        if let count = parameters["classification"], count.integer != 0 {
            throw .notOffered(parameters.name(of: "classification"), "take the likelihoods and sort them")
        }
        return Output(name: name, binary: try parameters.bool("binary_data") ?? binaryOutputs)
    }

    private static func refuseSharedMemory(_ parameters: RequestFields) throws(OpenAIError) {
        guard parameters["shared_memory_region"] != nil else { return }
        throw .notOffered(parameters.name(of: "shared_memory_region"), "send the bytes behind the JSON")
    }

    private static func input(
        _ fields: RequestFields, _ rest: inout ArraySlice<UInt8>
    ) throws(OpenAIError) -> Tensor {
        guard let name = try fields.string("name", maxBytes: 1024) else { throw .missing(fields.name(of: "name")) }
        guard let typeName = try fields.string("datatype", maxBytes: 64) else {
            throw .missing(fields.name(of: "datatype"))
        }
        guard let type = TensorType(name: typeName) else {
            let known = TensorType.allCases.map(\.name).joined(separator: ", ")
            throw fields.wrong("datatype", "there is no '\(typeName.prefix(64))'; known are \(known)")
        }
        var tensor = Tensor(name: name, type: type, shape: try shape(fields), data: [])
        var binary: Int64?
        if let node = fields["parameters"] {
            let parameters = try RequestFields(node, path: fields.name(of: "parameters."))
            try refuseSharedMemory(parameters)
            binary = try parameters.integer("binary_data_size", in: 0...Int64(UInt32.max))
        }
        if let binary {
            guard fields["data"] == nil else { throw fields.wrong("data", "is given beside binary_data_size") }
            guard binary <= rest.count else {
                throw fields.wrong("parameters.binary_data_size", "is \(binary), and \(rest.count) bytes are left")
            }
            tensor.data = Array(rest.prefix(Int(binary)))
            rest = rest.dropFirst(Int(binary))
        } else {
            guard let data = fields["data"] else { throw .missing(fields.name(of: "data")) }
            guard type.hasJSON else {
                throw fields.wrong("data", "\(type.name) is sent as bytes only, with parameters.binary_data_size")
            }
            var elements = ElementReader(type, path: fields.name(of: "data"))
            try elements.read(data)
            guard elements.count == Tensor.count(tensor.shape) else {
                throw fields.wrong("data", "has \(elements.count) elements, and the shape \(tensor.shape) has others")
            }
            tensor.data = elements.bytes
        }
        if let fault = tensor.fault { throw .invalid("inputs", "inputs: '\(name.prefix(200))' \(fault)") }
        return tensor
    }

    private static func shape(_ fields: RequestFields) throws(OpenAIError) -> [Int64] {
        guard let node = fields["shape"] else { throw .missing(fields.name(of: "shape")) }
        guard node.kind == .array, node.count <= Tensor.maxRank else {
            throw fields.wrong("shape", "must be a list of at most \(Tensor.maxRank) extents")
        }
        var shape: [Int64] = []
        try node.forEachChild { (_, extent) throws(OpenAIError) in
            guard let number = extent.integer, number >= 0 else {
                throw fields.wrong("shape", "an extent must be a whole number, 0 or more")
            }
            shape.append(number)
        }
        return shape
    }
}
