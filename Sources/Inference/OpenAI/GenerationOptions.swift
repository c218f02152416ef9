// How an answer is to be made: what chat and text completions have in common; ChatRequest.swift comes next.

/// How the next token is picked. Zero or one means "off", as the backend ABI says for each.
package struct Sampling: Equatable, Sendable {
    package var seed: UInt64?
    package var temperature: Float = 1
    package var topP: Float = 1
    package var minP: Float = 0
    package var topK: Int32 = 0
    package var repeatPenalty: Float = 1
    package var frequencyPenalty: Float = 0
    package var presencePenalty: Float = 0
    /// How many of the last tokens the penalties look at.
    package var penaltyWindow: Int32 = 64

    package init() {}
}

package struct GenerationOptions: Equatable, Sendable {
    package var sampling = Sampling()
    package var stop: [String] = []
    /// Nil: what the model's specification gives.
    package var maxTokens: Int?
    package var wantLogprobs = false
    package var topLogprobs = 0
    package var stream = false
    package var includeUsage = false
    package var priority = Priority.interactive
    /// How many answers to give.
    package var choices = 1
    /// What each answer must spell, as llama.cpp notes grammars; nil: anything.
    package var grammar: String?
    package var form = AnswerForm.text

    package init() {}
}

extension GenerationOptions {
    static let maxStops = 4
    /// Of all stop strings together.
    static let maxStopBytes = 4096
    static let maxChoices: Int64 = 8

    /// Reads the fields that both routes share.
    init(_ fields: RequestFields) throws(OpenAIError) {
        try Self.refuseWhatIsNotOffered(fields)
        sampling = try Sampling(fields)
        stop = try Self.stop(fields, "stop")
        stream = try fields.bool("stream") ?? false
        if let options = fields["stream_options"] {
            guard stream else { throw fields.wrong("stream_options", "only allowed when stream is true") }
            includeUsage = try RequestFields(options, path: "stream_options.").bool("include_usage") ?? false
        }
        priority = try Self.priority(fields)
        choices = Int(try fields.integer("n", in: 1...Self.maxChoices) ?? 1)
    }

    /// Holds the answer to a shape, or lets it call functions and tells the model of them.
    mutating func bind(
        to grammar: String?, named field: String, or tools: ToolUse, telling history: inout ChatHistory
    ) throws(OpenAIError) {
        if let instructions = tools.instructions { history.instruct(instructions) }
        form = tools.form
        self.grammar = grammar ?? tools.grammar
        guard grammar != nil, tools.grammar != nil else { return }
        throw .invalid(
            field, "\(field): not offered together with tools; send tool_choice \"none\"", code: "invalid_value")
    }

    /// Those of one answer of several: a seed gives each its own, and the same again next time.
    func ofChoice(_ index: Int) -> GenerationOptions {
        var options = self
        options.sampling.seed = sampling.seed.map { $0 &+ UInt64(index) }
        return options
    }

    /// OpenAI's name for it: `flex` waits for what others leave.
    static func priority(_ fields: RequestFields) throws(OpenAIError) -> Priority {
        switch try fields.string("service_tier", maxBytes: 64) {
        case nil, "auto", "default", "priority": .interactive
        case "flex": .batch
        default: throw fields.wrong("service_tier", "must be auto, default, flex or priority")
        }
    }

    private static func refuseWhatIsNotOffered(_ fields: RequestFields) throws(OpenAIError) {
        try fields.refuse("logit_bias", "leave it out")
        try fields.refuse("audio", "answers are text only")
        try fields.refuse("prediction", "leave it out")
        try fields.refuse("web_search_options", "leave it out")
        if let modalities = fields["modalities"] {
            var onlyText = modalities.kind == .array
            modalities.forEachChild { _, value in onlyText = onlyText && value.string == "text" }
            if !onlyText { throw .notOffered("modalities", "only [\"text\"] is") }
        }
    }

    static func stop(_ fields: RequestFields, _ field: String) throws(OpenAIError) -> [String] {
        guard let value = fields[field] else { return [] }
        var stops: [String] = []
        if value.kind == .array {
            guard value.count <= maxStops else { throw fields.wrong(field, "more than \(maxStops) strings") }
            try value.forEachChild { (_, element) throws(OpenAIError) in
                guard let text = element.string else { throw fields.wrong(field, "must hold strings only") }
                stops.append(text)
            }
        } else if let text = value.string {
            stops = [text]
        } else {
            throw fields.wrong(field, "must be a string or an array of strings")
        }
        for text in stops {
            guard !text.isEmpty else { throw fields.wrong(field, "an empty string would stop every answer at once") }
        }
        guard stops.reduce(0, { $0 + $1.utf8.count }) <= maxStopBytes else {
            throw fields.wrong(field, "longer than \(maxStopBytes) bytes in all")
        }
        return stops
    }
}

extension Sampling {
    init(_ fields: RequestFields) throws(OpenAIError) {
        if let value = try fields.integer("seed", in: .min ... .max) { seed = UInt64(bitPattern: value) }
        temperature = try fields.number("temperature", in: 0...2) ?? temperature
        // The ABI wants p above 0; the smallest normal p keeps the likeliest token only, which is what 0 asks for.
        topP = max(try fields.number("top_p", in: 0...1) ?? topP, .leastNormalMagnitude)
        minP = try fields.number("min_p", in: 0...0.999) ?? minP
        topK = max(0, Int32(try fields.integer("top_k", in: -1...1_000_000) ?? 0))
        frequencyPenalty = try fields.number("frequency_penalty", in: -2...2) ?? frequencyPenalty
        presencePenalty = try fields.number("presence_penalty", in: -2...2) ?? presencePenalty
        if fields["repeat_penalty"] != nil, fields["repetition_penalty"] != nil {
            throw fields.wrong("repeat_penalty", "repetition_penalty means the same; send one of them")
        }
        let repeating = fields["repeat_penalty"] != nil ? "repeat_penalty" : "repetition_penalty"
        repeatPenalty = try fields.number(repeating, in: 0.01...10) ?? repeatPenalty
    }
}
