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

    package init() {}
}

extension GenerationOptions {
    static let maxStops = 16
    static let maxStopBytes = 1024

    /// Reads the fields that both routes share.
    init(_ fields: RequestFields) throws(OpenAIError) {
        try Self.refuseWhatIsNotOffered(fields)
        sampling = try Sampling(fields)
        stop = try Self.stop(fields)
        stream = try fields.bool("stream") ?? false
        if let options = fields["stream_options"] {
            guard stream else { throw fields.wrong("stream_options", "only allowed when stream is true") }
            includeUsage = try RequestFields(options, path: "stream_options.").bool("include_usage") ?? false
        }
        priority = try Self.priority(fields)
        if let count = try fields.integer("n", in: 1...128), count != 1 {
            throw .notOffered("n", "send one request for each answer")
        }
    }

    /// OpenAI's name for it: `flex` waits for what others leave.
    private static func priority(_ fields: RequestFields) throws(OpenAIError) -> Priority {
        switch try fields.string("service_tier", maxBytes: 64) {
        case nil, "auto", "default", "priority": .interactive
        case "flex": .batch
        default: throw fields.wrong("service_tier", "must be auto, default, flex or priority")
        }
    }

    private static func refuseWhatIsNotOffered(_ fields: RequestFields) throws(OpenAIError) {
        try fields.refuse("logit_bias", "leave it out")
        try fields.refuse("tools", "leave it out")
        try fields.refuse("functions", "leave it out")
        try fields.refuse("function_call", "leave it out")
        try fields.refuse("audio", "answers are text only")
        try fields.refuse("prediction", "leave it out")
        try fields.refuse("web_search_options", "leave it out")
        if let choice = fields["tool_choice"], choice.string != "none" {
            throw .notOffered("tool_choice", "leave it out or send \"none\"")
        }
        if let format = fields["response_format"] {
            let type = try RequestFields(format, path: "response_format.").string("type", maxBytes: 64)
            if type != "text" { throw .notOffered("response_format", "only type \"text\" is") }
        }
        if let modalities = fields["modalities"] {
            var onlyText = modalities.kind == .array
            modalities.forEachChild { _, value in onlyText = onlyText && value.string == "text" }
            if !onlyText { throw .notOffered("modalities", "only [\"text\"] is") }
        }
    }

    private static func stop(_ fields: RequestFields) throws(OpenAIError) -> [String] {
        guard let value = fields["stop"] else { return [] }
        var stops: [String] = []
        if value.kind == .array {
            guard value.count <= maxStops else { throw fields.wrong("stop", "more than \(maxStops) strings") }
            try value.forEachChild { (_, element) throws(OpenAIError) in
                guard let text = element.string else { throw fields.wrong("stop", "must hold strings only") }
                stops.append(text)
            }
        } else if let text = value.string {
            stops = [text]
        } else {
            throw fields.wrong("stop", "must be a string or an array of strings")
        }
        for text in stops {
            guard !text.isEmpty else { throw fields.wrong("stop", "an empty string would stop every answer at once") }
            guard text.utf8.count <= maxStopBytes else {
                throw fields.wrong("stop", "a string is longer than \(maxStopBytes) bytes")
            }
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
