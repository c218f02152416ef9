// What POST /v1/embeddings asks for, read from its body.

package struct EmbeddingsBody: Equatable, Sendable {
    package enum Encoding: String, Sendable {
        case float, base64
    }

    /// Texts of one request; each is one operation of the engine.
    package static let maxInputs = 2048

    package var model: String
    package var inputs: [EmbeddingInput]
    package var names: InputNames
    package var encoding: Encoding
    package var dimensions: Int?

    package init(_ body: Span<UInt8>, parser: inout JSONParser) throws(OpenAIError) {
        self = try parser.read(body, refuse: OpenAIError.notJSON) { (root) throws(OpenAIError) in
            try EmbeddingsBody(RequestFields(root))
        }
    }

    package func request(tenant: String) -> EmbeddingRequest {
        EmbeddingRequest(tenant: tenant, inputs: inputs, dimensions: dimensions, names: names)
    }
}

extension EmbeddingsBody {
    private init(_ fields: RequestFields) throws(OpenAIError) {
        guard let model = try fields.string("model", maxBytes: RequestLimits.modelBytes) else {
            throw .missing("model")
        }
        self.model = model
        _ = try fields.string("user", maxBytes: RequestLimits.userBytes)
        dimensions = try fields.integer("dimensions", in: 1...65_536).map(Int.init)
        let word = try fields.string("encoding_format", maxBytes: 64) ?? "float"
        guard let encoding = Encoding(rawValue: word) else {
            throw fields.wrong("encoding_format", "must be float or base64")
        }
        self.encoding = encoding
        (inputs, names) = try Self.inputs(fields)
    }

    private static func inputs(_ fields: RequestFields) throws(OpenAIError) -> ([EmbeddingInput], InputNames) {
        guard let value = fields["input"] else { throw .missing("input") }
        if let text = value.string { return ([.text(try checked(text, "input"))], InputNames(one: "input")) }
        guard value.kind == .array else {
            throw fields.wrong("input", "must be a string, strings, token numbers, or arrays of them")
        }
        guard value.count > 0 else { throw fields.wrong("input", "must not be empty") }
        if firstKind(value) == .integer { return ([.tokens(try tokens(value, "input"))], InputNames(one: "input")) }
        guard value.count <= maxInputs else {
            throw fields.wrong("input", "holds \(value.count) texts; at most \(maxInputs) are taken at once")
        }
        var inputs: [EmbeddingInput] = []
        inputs.reserveCapacity(value.count)
        try value.forEachChild { (_, element) throws(OpenAIError) in
            inputs.append(try input(element, "input[\(inputs.count)]"))
        }
        return (inputs, InputNames(list: "input"))
    }

    private static func firstKind(_ array: JSONNode) -> JSONNode.Kind? {
        var kind: JSONNode.Kind?
        array.forEachChild { _, element in if kind == nil { kind = element.kind } }
        return kind
    }

    private static func input(_ value: JSONNode, _ name: String) throws(OpenAIError) -> EmbeddingInput {
        if let text = value.string { return .text(try checked(text, name)) }
        guard value.kind == .array else {
            throw .invalid(
                name, "\(name): must be a string or an array of token numbers, not \(value.kind.rawValue)",
                code: "invalid_value")
        }
        guard value.count > 0 else { throw empty(name) }
        return .tokens(try tokens(value, name))
    }

    private static func tokens(_ array: JSONNode, _ name: String) throws(OpenAIError) -> [Int32] {
        var tokens: [Int32] = []
        tokens.reserveCapacity(array.count)
        try array.forEachChild { (_, element) throws(OpenAIError) in
            guard let number = element.integer, let token = Int32(exactly: number) else {
                throw .invalid(name, "\(name)[\(tokens.count)]: must be a token number", code: "invalid_value")
            }
            tokens.append(token)
        }
        return tokens
    }

    static func checked(_ text: String, _ name: String) throws(OpenAIError) -> String {
        guard !text.isEmpty else { throw empty(name) }
        return text
    }

    private static func empty(_ name: String) -> OpenAIError {
        .invalid(name, "\(name): must not be empty", code: "invalid_value")
    }
}
