// The bodies of the routes that make no text: embeddings, rerank, tokenize, and tensors of the Open Inference Protocol.
import Inference

extension Target {
    static let bodies = Target(name: "bodies") { bytes in
        var parser = JSONParser()
        let first = Result { () throws(OpenAIError) in try EmbeddingsBody(bytes.span, parser: &parser) }
        let rerank = Result { () throws(OpenAIError) in try RerankBody(bytes.span, parser: &parser) }
        let tokenize = Result { () throws(OpenAIError) in try TokenizeBody(bytes.span, parser: &parser) }
        let second = Result { () throws(OpenAIError) in try EmbeddingsBody(bytes.span, parser: &parser) }
        require("\(first)" == "\(second)", "a used parser reads what a fresh one reads")
        if case .success(let body) = first { check(body.request(tenant: "t"), model: body.model) }
        if case .success(let body) = rerank {
            check(body.request(tenant: "t"), model: body.model)
            require((body.topN ?? 1) > 0, "top_n: \(body.topN ?? 0)")
        }
        if case .success(let body) = tokenize {
            require(body.content.utf8.count <= TokenizeBody.maxBytes, "a text to tokenize is bounded")
            require(body.model.utf8.count <= 256, "the model's name is short")
        }
        for error in [refusal(first), refusal(rerank), refusal(tokenize)].compactMap({ $0 }) {
            require(error.status == 400 && !error.message.isEmpty, "a refusal says why: \(error)")
        }
    }

    /// A byte that says whether the length of the JSON is announced, then that length in two, then the body.
    static let tensors = Target(name: "tensors") { bytes in
        var input = Input(bytes)
        let header = input.u8() & 1 == 1 ? "\(input.u16())" : nil
        let body = input.all()
        var parser = JSONParser()
        let result = Result { () throws(OpenAIError) in
            try InferRequest(body, headerLength: header, parser: &parser)
        }
        switch result {
        case .success(let request):
            for tensor in request.inputs {
                require(tensor.fault == nil, "a tensor that was read has no fault: \(tensor.fault ?? "")")
                require(tensor.shape.count <= Tensor.maxRank, "rank: \(tensor.shape.count)")
                guard tensor.type.size == nil else { continue }
                require(tensor.elements.count == Tensor.count(tensor.shape), "BYTES has as many elements as its shape")
            }
            require(request.inputs.count <= 256 && (request.outputs?.count ?? 1) >= 1, "tensors are few")
        case .failure(let error):
            require(error.status == 400 && !error.message.isEmpty, "a refusal says why: \(error)")
        }
    }

    private static func refusal<Value>(_ result: Result<Value, OpenAIError>) -> OpenAIError? {
        if case .failure(let error) = result { error } else { nil }
    }

    private static func check(_ request: EmbeddingRequest, model: String) {
        require(model.utf8.count <= 256, "the model's name is short")
        require((1...2048).contains(request.inputs.count), "inputs: \(request.inputs.count)")
        require(!request.inputs.contains { $0 == .text("") || $0 == .tokens([]) }, "no input is empty")
        require(request.dimensions.map { (1...65_536).contains($0) } ?? true, "dimensions: \(request.dimensions ?? 0)")
    }
}
