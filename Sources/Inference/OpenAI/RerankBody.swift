// What POST /v1/rerank asks for, in the shape that Jina's, Cohere's and vLLM's clients send.

package struct RerankBody: Equatable, Sendable {
    package var model: String
    package var query: String
    package var documents: [String]
    package var topN: Int?
    package var returnDocuments: Bool

    package init(_ body: Span<UInt8>, parser: inout JSONParser) throws(OpenAIError) {
        self = try parser.read(body, refuse: OpenAIError.notJSON) { (root) throws(OpenAIError) in
            try RerankBody(RequestFields(root))
        }
    }

    /// The query first, then the documents.
    package func request(tenant: String) -> EmbeddingRequest {
        EmbeddingRequest(
            tenant: tenant, inputs: [.text(query)] + documents.map(EmbeddingInput.text),
            names: InputNames(one: "query", list: "documents"))
    }
}

extension RerankBody {
    /// The query is one more text.
    private static let maxDocuments = EmbeddingsBody.maxInputs - 1

    private init(_ fields: RequestFields) throws(OpenAIError) {
        guard let model = try fields.string("model", maxBytes: RequestLimits.modelBytes) else {
            throw .missing("model")
        }
        guard let query = try fields.string("query", maxBytes: RequestLimits.contentBytes) else {
            throw .missing("query")
        }
        self.model = model
        self.query = try EmbeddingsBody.checked(query, "query")
        documents = try Self.documents(fields)
        topN = try fields.integer("top_n", in: 1...RequestLimits.tokens).map(Int.init)
        returnDocuments = try fields.bool("return_documents") ?? false
    }

    private static func documents(_ fields: RequestFields) throws(OpenAIError) -> [String] {
        guard let value = fields["documents"] else { throw .missing("documents") }
        guard value.kind == .array, (1...maxDocuments).contains(value.count) else {
            throw fields.wrong("documents", "must be an array of 1 to \(maxDocuments) texts")
        }
        var documents: [String] = []
        documents.reserveCapacity(value.count)
        try value.forEachChild { (_, element) throws(OpenAIError) in
            let name = "documents[\(documents.count)]"
            documents.append(try EmbeddingsBody.checked(try text(element, name), name))
        }
        return documents
    }

    private static func text(_ value: JSONNode, _ name: String) throws(OpenAIError) -> String {
        if let text = value.string { return text }
        guard value.kind == .object else {
            throw .invalid(
                name, "\(name): must be a string or {\"text\": …}, not \(value.kind.rawValue)", code: "invalid_value")
        }
        let fields = try RequestFields(value, path: name + ".")
        guard let text = try fields.string("text", maxBytes: RequestLimits.contentBytes) else {
            throw .missing(fields.name(of: "text"))
        }
        return text
    }
}
