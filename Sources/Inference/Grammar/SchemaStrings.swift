// Schemas of strings: lengths, formats and patterns.

extension SchemaCompiler {
    mutating func string(_ schema: SchemaNode) throws(GrammarRefusal) -> GrammarExpression {
        let least = try schema.count("minLength")
        let most = try schema.count("maxLength")
        if let pattern = schema["pattern"] {
            guard let text = pattern.string else { throw schema.refuse("pattern", "must be a string") }
            for other in ["minLength", "maxLength", "format"] where schema[other] != nil {
                throw schema.refuse(other, "not offered beside pattern; write it into the pattern")
            }
            return try spelled(text, schema, "pattern")
        }
        if let format = schema["format"] {
            guard let pattern = format.string.flatMap({ Self.formats[$0] }) else {
                let offered = Self.formats.keys.sorted().joined(separator: ", ")
                throw schema.refuse("format", "not offered; these are: \(offered)")
            }
            for other in ["minLength", "maxLength"] where schema[other] != nil {
                throw schema.refuse(other, "not offered beside format; leave it out")
            }
            return try spelled(pattern, schema, "format")
        }
        guard least != nil || most != nil else { return values.string(&grammar) }
        if let least, let most, most < least { throw schema.refuse("maxLength", "is below minLength") }
        let characters = try grammar.repeating(
            values.character(&grammar), least ?? 0, most,
            path: schema.path(of: (most ?? 0) > (least ?? 0) ? "maxLength" : "minLength"))
        return grammar.named(.joined([.literal("\""), characters, .literal("\"")]))
    }

    private mutating func spelled(
        _ pattern: String, _ schema: SchemaNode, _ keyword: String
    ) throws(GrammarRefusal) -> GrammarExpression {
        let path = schema.path(of: keyword)
        let inside = try PatternCompiler.compile(pattern, path: path, into: &grammar)
        return grammar.named(.joined([.literal("\""), inside, .literal("\"")]))
    }

    private static let clock = #"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"#
    // The 29th of February is left out: whether it exists hangs on the year.
    private static let day =
        #"(19|20|21)\d\d-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"#
    private static let byte = #"(25[0-5]|2[0-4]\d|1\d\d|[1-9]\d|\d)"#

    /// What is spelled is valid; not all that is valid is spelled.
    private static let formats: [String: String] = [
        "date": "^\(day)$",
        "time": "^\(clock)$",
        "date-time": "^\(day)T\(clock)$",
        "uuid": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        "ipv4": #"^\#(byte)\.\#(byte)\.\#(byte)\.\#(byte)$"#,
        "email":
            #"^[A-Za-z0-9_+-]{1,32}(\.[A-Za-z0-9_+-]{1,30}){0,1}@[a-z0-9]{1,30}(\.[a-z0-9]{1,20}){0,1}\.[a-z]{2,10}$"#,
    ]
}
