// What shape an answer must have: `response_format` becomes a grammar, or the request is refused.

enum ResponseFormat {
    private static let field = "response_format"

    /// The grammar of the answer; nil: any text.
    static func grammar(_ fields: RequestFields) throws(OpenAIError) -> String? {
        guard let value = fields[field] else { return nil }
        let format = try RequestFields(value, path: field + ".")
        guard let type = try format.string("type", maxBytes: 64) else { throw .missing("response_format.type") }
        switch type {
        case "text": return nil
        case "json_object": return try object(field)
        case "json_schema":
            guard let value = format["json_schema"] else { throw .missing("response_format.json_schema") }
            return try named(RequestFields(value, path: "response_format.json_schema."), param: field)
        default: throw format.wrong("type", "must be text, json_object or json_schema")
        }
    }

    /// The grammar of a schema with a name.
    static func named(_ described: RequestFields, param: String) throws(OpenAIError) -> String {
        guard let name = try described.string("name", maxBytes: 64) else { throw .missing(described.name(of: "name")) }
        guard RequestLimits.isName(name) else {
            throw described.wrong("name", "must be letters, digits, _ and -, at most 64")
        }
        _ = try described.string("description", maxBytes: RequestLimits.contentBytes)
        _ = try described.bool("strict")
        return try schema(described, param: param)
    }

    /// The grammar of a field `schema`.
    static func schema(_ described: RequestFields, param: String) throws(OpenAIError) -> String {
        let path = described.name(of: "schema")
        guard let schema = described["schema"] else { throw .missing(path) }
        var grammar = Grammar()
        var values = JSONGrammar()
        do throws(GrammarRefusal) {
            let root = try SchemaCompiler.compile(schema, path: path, into: &grammar, &values)
            return try grammar.text(root: root)
        } catch {
            let place = error.path.isEmpty ? path : error.path
            throw .invalid(param, "\(place): \(error.message)", code: "invalid_json_schema")
        }
    }

    /// The grammar of any JSON object.
    static func object(_ param: String) throws(OpenAIError) -> String {
        var grammar = Grammar()
        var values = JSONGrammar()
        let object = values.object(&grammar)
        do throws(GrammarRefusal) {
            return try grammar.text(root: object)
        } catch {
            throw .invalid(param, "\(param): \(error.message)", code: "invalid_json_schema")
        }
    }
}

extension RequestLimits {
    /// What OpenAI takes as a name of a function or schema.
    static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}
