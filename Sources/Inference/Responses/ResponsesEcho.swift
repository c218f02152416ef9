// The fields of a request that OpenAI's answers repeat, as JSON ready to be written; ResponseWriter.swift does.

package struct ResponsesEcho: Equatable, Sendable {
    /// Fields with a comma before each.
    let json: [UInt8]

    private static let maxMetadata = 16

    init(_ fields: RequestFields, _ options: GenerationOptions) throws(OpenAIError) {
        var json = JSONWriter()
        func copy(_ name: StaticString, _ field: String, _ absent: StaticString) {
            json.raw(",\"")
            json.raw(name)
            json.raw("\":")
            if let value = fields[field] { json.raw(bytes: value.text.utf8) } else { json.raw(absent) }
        }
        try Self.checkMetadata(fields)
        copy("instructions", "instructions", "null")
        copy("max_output_tokens", "max_output_tokens", "null")
        copy("metadata", "metadata", "{}")
        copy("text", "text", "{\"format\":{\"type\":\"text\"}}")
        copy("tools", "tools", "[]")
        copy("tool_choice", "tool_choice", "\"auto\"")
        copy("temperature", "temperature", "1.0")
        copy("top_p", "top_p", "1.0")
        copy("user", "user", "null")
        json.raw(
            ",\"store\":false,\"background\":false,\"previous_response_id\":null,\"parallel_tool_calls\":false,"
        )
        json.raw("\"reasoning\":{\"effort\":null,\"summary\":null},\"truncation\":\"disabled\",\"service_tier\":")
        json.raw(options.priority == .batch ? "\"flex\"" : "\"default\"")
        self.json = json.bytes
    }

    private static func checkMetadata(_ fields: RequestFields) throws(OpenAIError) {
        guard let value = fields["metadata"] else { return }
        _ = try RequestFields(value, path: "metadata.")
        guard value.count <= maxMetadata else { throw fields.wrong("metadata", "more than \(maxMetadata) pairs") }
        try value.forEachChild { (key, child) throws(OpenAIError) in
            guard (key ?? "").utf8.count <= 64, let text = child.string, text.utf8.count <= 512 else {
                throw fields.wrong("metadata", "must hold strings: names of at most 64 bytes, values of at most 512")
            }
        }
    }
}
