// The grammar of JSON without a schema; its rules are made when they are first needed.

struct JSONGrammar {
    private var anyRule: Int?

    /// Any value.
    mutating func any(_ grammar: inout Grammar) -> GrammarExpression {
        if let anyRule { return .rule(anyRule) }
        let rule = grammar.reserve()
        anyRule = rule
        let array = grammar.named(SchemaCompiler.list("[", .rule(rule), "]"))
        let parts: [GrammarExpression] = [
            object(&grammar), array, string(&grammar), number(&grammar), .literal("true"), .literal("false"),
            .literal("null"),
        ]
        grammar.define(rule, .choice(parts))
        return .rule(rule)
    }

    /// Any object.
    mutating func object(_ grammar: inout Grammar) -> GrammarExpression {
        let value = any(&grammar)
        let pair = grammar.named(.joined([string(&grammar), .literal(": "), value]))
        return grammar.named(SchemaCompiler.list("{", pair, "}"))
    }

    /// Any string.
    func string(_ grammar: inout Grammar) -> GrammarExpression {
        let character = character(&grammar)
        return grammar.named(
            .sequence([.literal("\""), .repeated(character, least: 0, most: nil), .literal("\"")]))
    }

    /// One character inside a string, as JSON Schema counts them. A `\u` escape is never needed, and could be half a character.
    func character(_ grammar: inout Grammar) -> GrammarExpression {
        grammar.named(.choice([.scalar(.plain), .sequence([.literal("\\"), .scalar(ScalarSet("\"\\/bfnrt"))])]))
    }

    /// Any number that a double holds, of up to 16 digits on each side of the point.
    func number(_ grammar: inout Grammar) -> GrammarExpression {
        let fraction = GrammarExpression.sequence([
            .literal("."), .repeated(.scalar(.digits), least: 1, most: 16),
        ])
        let exponent = GrammarExpression.sequence([
            .scalar(ScalarSet("eE")), .optional(.scalar(ScalarSet("+-"))),
            .repeated(.scalar(.digits), least: 1, most: 2),
        ])
        return grammar.named(
            .sequence([.optional(.literal("-")), Self.whole, .optional(fraction), .optional(exponent)]))
    }

    /// A whole number without its sign.
    static var whole: GrammarExpression {
        .choice([
            .literal("0"),
            .sequence([.scalar(ScalarSet([0x31...0x39])), .repeated(.scalar(.digits), least: 0, most: 15)]),
        ])
    }
}
