// What makes two requests the same one for the response cache: SHA-256 over everything that decides the answer.
internal import Platform

extension ModelRequest {
    /// Nil when the answer need not be the same next time, or is not kept.
    ///
    /// Tenant and model are part of it; how the answer is to be sent (streamed or whole, numbers or base64) is not.
    func responseKey(model: String) -> String? {
        var key = KeyDigest()
        key.add(tenant)
        key.add(model)
        switch self {
        case .generation(let request):
            guard request.options.isDeterministic else { return nil }
            key.add(request)
        case .embedding(let request): key.add(request)
        case .tokens, .inference: return nil
        }
        return key.finish()
    }
}

extension GenerationOptions {
    /// The likeliest token always, or a seed; of one answer.
    var isDeterministic: Bool { choices == 1 && (sampling.temperature == 0 || sampling.seed != nil) }
}

/// Every value with its length or width, so that no two requests are the same bytes.
private struct KeyDigest: ~Copyable {
    private var digest = Digest()

    mutating func add(_ text: String) {
        add(text.utf8.count)
        digest.add(text)
    }

    mutating func add(_ number: some FixedWidthInteger) {
        unsafe withUnsafeBytes(of: number.littleEndian) { unsafe digest.add($0.bytes) }
    }

    mutating func add(_ number: Float) { add(number.bitPattern) }

    mutating func add(_ truth: Bool) { add(UInt8(truth ? 1 : 0)) }

    mutating func add(_ request: GenerationRequest) {
        switch request.prompt {
        case .chat(let messages):
            add("chat")
            add(messages.count)
            for message in messages {
                add(message.role)
                add(message.content)
            }
        case .text(let text):
            add("text")
            add(text)
        }
        add(request.options)
    }

    /// All that changes what is answered; not `stream`, `includeUsage` and `priority`, which change how.
    private mutating func add(_ options: GenerationOptions) {
        let sampling = options.sampling
        add(sampling.seed != nil)
        add(sampling.seed ?? 0)
        for number in [
            sampling.temperature, sampling.topP, sampling.minP, sampling.repeatPenalty, sampling.frequencyPenalty,
            sampling.presencePenalty,
        ] { add(number) }
        add(sampling.topK)
        add(sampling.penaltyWindow)
        add(options.stop.count)
        for stop in options.stop { add(stop) }
        add(options.maxTokens ?? -1)
        add(options.wantLogprobs)
        add(options.topLogprobs)
        add(options.grammar != nil)
        add(options.grammar ?? "")
        add("\(options.form)")
    }

    mutating func add(_ request: EmbeddingRequest) {
        add("embedding")
        add(request.dimensions ?? -1)
        add(request.inputs.count)
        for input in request.inputs {
            switch input {
            case .text(let text):
                add("text")
                add(text)
            case .tokens(let tokens):
                add("tokens")
                add(tokens.count)
                for token in tokens { add(token) }
            case .turns(let turns):
                add("turns")
                add(turns.count)
                for turn in turns {
                    add(turn.role)
                    add(turn.content)
                }
            }
        }
    }

    consuming func finish() -> String? {
        let text = digest.finish()
        return text.isEmpty ? nil : text
    }
}
