// The rules of one grammar and its text in llama.cpp's notation (GBNF); GrammarCheck.swift says whether an engine can bear it.

/// Why a schema or a set of tools can't be turned into a grammar.
struct GrammarRefusal: Error, Equatable {
    /// Where: "properties.age", with the schema's own place in front; empty: the whole.
    var path: String
    var message: String
}

/// What a request may cost the host to compile and the engine to follow.
enum GrammarLimits {
    /// Values in a schema.
    static let values = 10_000
    /// Bytes of all texts in a schema.
    static let textBytes = 64 * 1024
    /// Schemas inside schemas, `$ref` followed.
    static let depth = 64
    static let rules = 4_000
    /// Bytes of the grammar as text.
    static let bytes = 256 * 1024
    /// The largest count in `minLength`, `maxItems`, `{3,7}` and the like; llama.cpp takes up to 2000.
    static let repetitions = 1_000
    /// All such counts together: the engine makes a rule for each.
    static let totalRepetitions = 8_000
    static let enumValues = 1_000
    static let propertiesOfOne = 500
    static let patternBytes = 512
    /// Ways an engine has to follow at once.
    static let ways = 128
    /// Steps of llama.cpp's search for left recursion, which visits a rule as often as it is reached.
    static let searchSteps = 50_000
    /// Parts of expressions that compiling makes and looks at, each about a microsecond: a gateway's loop waits for it.
    static let work = 12_000
}

struct Grammar {
    private(set) var rules: [GrammarExpression] = []
    private var known: [GrammarExpression: Int] = [:]
    private var repetitions = 0
    private var work = 0

    /// Counts what compiling costs; `refuseTooMuchWork` says when it is enough.
    mutating func spend(_ parts: Int) { work += parts }

    func refuseTooMuchWork(path: String) throws(GrammarRefusal) {
        guard work <= GrammarLimits.work else {
            throw GrammarRefusal(
                path: path,
                message:
                    "the schema takes more than \(GrammarLimits.work) steps to compile until here, which is the limit; "
                    + "make it smaller")
        }
    }

    /// A place for a rule that is needed before it is known.
    mutating func reserve() -> Int {
        rules.append(.nothing)
        return rules.count - 1
    }

    mutating func define(_ rule: Int, _ expression: GrammarExpression) { rules[rule] = expression }

    /// Names an expression; the same one twice is one rule.
    mutating func named(_ expression: GrammarExpression) -> GrammarExpression {
        if case .rule = expression { return expression }
        spend(expression.parts)
        if let rule = known[expression] { return .rule(rule) }
        rules.append(expression)
        known[expression] = rules.count - 1
        return .rule(rules.count - 1)
    }

    /// A bounded repetition. What is repeated becomes a rule, so that the engine copies a reference and not the whole.
    mutating func repeating(
        _ expression: GrammarExpression, _ least: Int, _ most: Int?, path: String
    ) throws(GrammarRefusal) -> GrammarExpression {
        let largest = max(least, most ?? 0)
        guard largest <= GrammarLimits.repetitions else {
            throw GrammarRefusal(
                path: path, message: "a count of \(largest); the limit is \(GrammarLimits.repetitions)")
        }
        repetitions += largest
        guard repetitions <= GrammarLimits.totalRepetitions else {
            throw GrammarRefusal(
                path: path, message: "all counts together are above the limit of \(GrammarLimits.totalRepetitions)")
        }
        if most == 0 { return .nothing }
        if case .scalar = expression { return .repeated(expression, least: least, most: most) }
        return .repeated(named(expression), least: least, most: most)
    }

    /// The grammar as text, with `root` for its start; refused when an engine could not bear it.
    func text(root: GrammarExpression) throws(GrammarRefusal) -> String {
        guard rules.count <= GrammarLimits.rules else {
            throw GrammarRefusal(
                path: "", message: "it takes \(rules.count) rules; the limit is \(GrammarLimits.rules)")
        }
        try refuseTooMuchWork(path: "")
        try GrammarCheck(rules + [root]).run()
        var text = ""
        try Self.write("root", root, to: &text)
        for (number, rule) in rules.enumerated() { try Self.write("r\(number)", rule, to: &text) }
        return text
    }

    // MARK: text

    private static func write(
        _ name: String, _ expression: GrammarExpression, to text: inout String
    ) throws(GrammarRefusal) {
        text += name + " ::= "
        write(expression, to: &text, inner: false)
        text += "\n"
        guard text.utf8.count <= GrammarLimits.bytes else {
            throw GrammarRefusal(
                path: "", message: "its grammar is longer than the limit of \(GrammarLimits.bytes) bytes")
        }
    }

    private static func write(_ expression: GrammarExpression, to text: inout String, inner: Bool) {
        switch expression {
        case .literal(let literal): write(literal, to: &text)
        case .scalar(let set): write(set, to: &text)
        case .rule(let number): text += "r\(number)"
        case .sequence(let parts): write(parts, " ", to: &text, inner: inner)
        case .choice(let parts): write(parts, " | ", to: &text, inner: inner)
        case .repeated(let part, let least, let most):
            write(part, to: &text, inner: true)
            switch (least, most) {
            case (0, nil): text += "*"
            case (1, nil): text += "+"
            case (0, 1): text += "?"
            case (_, nil): text += "{\(least),}"
            case (_, let most?): text += least == most ? "{\(least)}" : "{\(least),\(most)}"
            }
        }
    }

    private static func write(_ parts: [GrammarExpression], _ separator: String, to text: inout String, inner: Bool) {
        if inner { text += "(" }
        if parts.isEmpty { text += "\"\"" }
        for (index, part) in parts.enumerated() {
            if index > 0 { text += separator }
            write(part, to: &text, inner: true)
        }
        if inner { text += ")" }
    }

    private static func write(_ literal: String, to text: inout String) {
        text += "\""
        for scalar in literal.unicodeScalars { write(scalar.value, to: &text) }
        text += "\""
    }

    private static func write(_ set: ScalarSet, to text: inout String) {
        text += "["
        for range in set.ranges {
            write(range.lowerBound, to: &text)
            guard range.upperBound > range.lowerBound else { continue }
            text += "-"
            write(range.upperBound, to: &text)
        }
        text += "]"
    }

    private static func write(_ scalar: UInt32, to text: inout String) {
        switch scalar {
        case 0x22, 0x5C, 0x5B, 0x5D, 0x2D, 0x5E: text += escaped(scalar)
        case 0x20..<0x7F: text.unicodeScalars.append(Unicode.Scalar(UInt8(scalar)))
        default: text += escaped(scalar)
        }
    }

    private static func escaped(_ scalar: UInt32) -> String {
        let digits = String(scalar, radix: 16, uppercase: true)
        func padded(_ width: Int) -> String { String(repeating: "0", count: width - digits.count) + digits }
        return scalar <= 0xFF ? "\\x" + padded(2) : scalar <= 0xFFFF ? "\\u" + padded(4) : "\\U" + padded(8)
    }
}
