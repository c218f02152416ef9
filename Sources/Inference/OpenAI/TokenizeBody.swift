// What POST /tokenize asks for, and its answer: what llama-server's and vLLM's clients know.

package struct TokenizeBody: Equatable, Sendable {
    /// Bytes of one text. The worker does nothing else while it reads them, and the worst take 5 s a MiB.
    package static let maxBytes = 128 << 10

    package var model: String
    package var content: String
    package var addSpecial: Bool

    package init(_ body: Span<UInt8>, parser: inout JSONParser) throws(OpenAIError) {
        self = try parser.read(body, refuse: OpenAIError.notJSON) { (root) throws(OpenAIError) in
            try TokenizeBody(RequestFields(root))
        }
    }

    package func request(tenant: String) -> TokenizeRequest {
        TokenizeRequest(tenant: tenant, text: content, addSpecial: addSpecial)
    }

    private init(_ fields: RequestFields) throws(OpenAIError) {
        guard let model = try fields.string("model", maxBytes: RequestLimits.modelBytes) else {
            throw .missing("model")
        }
        self.model = model
        let content = try fields.string("content", maxBytes: Self.maxBytes)
        let prompt = try fields.string("prompt", maxBytes: Self.maxBytes)
        if content != nil, prompt != nil { throw fields.wrong("prompt", "content is given, too; send one of them") }
        guard let text = content ?? prompt else { throw .missing("content") }
        self.content = text
        let short = try fields.bool("add_special")
        let long = try fields.bool("add_special_tokens")
        addSpecial = short ?? long ?? true
    }
}

/// Writes `{"tokens","count","max_model_len"}`.
package struct TokenCollector: EventCollector {
    private var body: [UInt8] = []
    package private(set) var timings = GenerationTimings()

    package init() {}

    package mutating func add(_ event: GenerationEvent) -> Result<[UInt8], OpenAIError>? {
        switch event {
        case .tokens(let tokens, let limit): write(tokens, limit)
        case .finished(_, _, let timings):
            self.timings = timings
            return .success(body)
        case .failed(let error): return .failure(error)
        default: break
        }
        return nil
    }

    private mutating func write(_ tokens: [Int32], _ limit: Int) {
        var json = JSONWriter(reserving: 8 * tokens.count + 64)
        json.raw("{\"tokens\":")
        json.array(tokens) { json, token in json.integer(token) }
        json.raw(",\"count\":")
        json.integer(tokens.count)
        json.raw(",\"max_model_len\":")
        json.integer(limit)
        json.raw("}")
        body = json.bytes
    }
}
