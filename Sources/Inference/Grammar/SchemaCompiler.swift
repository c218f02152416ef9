// JSON Schema to a grammar: what the grammar spells is valid, and what can't be honoured is refused by its name and path.
//
// An answer has one way to be spaced: one space after ':' and ',', none elsewhere. Where a schema leaves more open than an
// answer needs (other properties, `\u` escapes, numbers of hundreds of digits), the grammar spells only a part of it.

struct SchemaCompiler {
    private let root: JSONNode
    private let rootPath: String
    private var referred: [String: Int] = [:]
    private var depth = 0
    private var visits = 0
    var grammar: Grammar
    var values: JSONGrammar

    /// Compiles one schema, whose rules go to `grammar`.
    static func compile(
        _ schema: JSONNode, path: String, into grammar: inout Grammar, _ values: inout JSONGrammar
    ) throws(GrammarRefusal) -> GrammarExpression {
        try measure(schema, path: path)
        var compiler = SchemaCompiler(root: schema, rootPath: path, grammar: grammar, values: values)
        let expression = try compiler.expression(schema, path)
        grammar = compiler.grammar
        values = compiler.values
        return expression
    }

    private init(root: JSONNode, rootPath: String, grammar: Grammar, values: JSONGrammar) {
        self.root = root
        self.rootPath = rootPath
        self.grammar = grammar
        self.values = values
    }

    private static func measure(_ schema: JSONNode, path: String) throws(GrammarRefusal) {
        var count = 0
        var bytes = 0
        func visit(_ value: JSONNode, _ key: String?) {
            count += 1
            bytes += (key?.utf8.count ?? 0) + (value.string?.utf8.count ?? 0)
            value.forEachChild { key, child in visit(child, key) }
        }
        visit(schema, nil)
        guard count <= GrammarLimits.values else {
            throw GrammarRefusal(path: path, message: "\(count) values; the limit is \(GrammarLimits.values)")
        }
        guard bytes <= GrammarLimits.textBytes else {
            throw GrammarRefusal(path: path, message: "\(bytes) bytes of text; the limit is \(GrammarLimits.textBytes)")
        }
    }

    // MARK: schemas

    mutating func expression(_ value: JSONNode, _ path: String) throws(GrammarRefusal) -> GrammarExpression {
        try enter(path)
        defer { depth -= 1 }
        if let truth = value.bool {
            guard truth else { throw GrammarRefusal(path: path, message: "false allows no value; leave it out") }
            return values.any(&grammar)
        }
        let schema = try SchemaNode(value, path: path)
        try Self.refuseUnknown(schema)
        let expression = try unguarded(schema)
        guard let nullable = schema["nullable"] else { return expression }
        guard let truth = nullable.bool else { throw schema.refuse("nullable", "must be true or false") }
        return truth ? .choice([expression, .literal("null")]) : expression
    }

    mutating func enter(_ path: String) throws(GrammarRefusal) {
        depth += 1
        visits += 1
        guard depth <= GrammarLimits.depth else {
            throw GrammarRefusal(
                path: path, message: "schemas inside schemas deeper than the limit of \(GrammarLimits.depth)")
        }
        grammar.spend(1)
        try grammar.refuseTooMuchWork(path: path)
        guard visits <= GrammarLimits.values * 2 else {
            throw GrammarRefusal(
                path: path, message: "$ref and allOf repeat more than \(GrammarLimits.values * 2) schemas")
        }
    }

    mutating func leave() { depth -= 1 }

    private static let known: Set<String> = SchemaNode.silent.union(SchemaNode.ofObjects).union(SchemaNode.ofArrays)
        .union(SchemaNode.ofStrings).union(SchemaNode.ofNumbers)
        .union(["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"])

    private static func refuseUnknown(_ schema: SchemaNode) throws(GrammarRefusal) {
        for (name, _) in schema.keywords where !known.contains(name) {
            throw schema.refuse(name, "this keyword is not offered; docs/openai.md lists those that are")
        }
    }

    private mutating func unguarded(_ schema: SchemaNode) throws(GrammarRefusal) -> GrammarExpression {
        if let target = schema["$ref"] {
            try schema.allow(beside: "$ref")
            return try reference(target, schema)
        }
        if let value = schema["const"] {
            try schema.allow(["type"], beside: "const")
            return try constants([value], "const", schema)
        }
        if let list = schema["enum"] {
            try schema.allow(["type"], beside: "enum")
            return try enumeration(list, schema)
        }
        for keyword in ["anyOf", "oneOf"] {
            guard let list = schema[keyword] else { continue }
            try schema.allow(beside: keyword)
            return try alternatives(list, keyword, schema)
        }
        if let list = schema["allOf"] {
            try schema.allow(beside: "allOf")
            return try conjunction(list, schema)
        }
        return try typed(schema)
    }

    private mutating func typed(_ schema: SchemaNode) throws(GrammarRefusal) -> GrammarExpression {
        var types: [String] = []
        if let type = schema["type"] {
            types = try Self.types(type, schema)
        } else if schema.has(SchemaNode.ofObjects) {
            types = ["object"]
        } else if schema.has(SchemaNode.ofArrays) {
            types = ["array"]
        } else if schema.has(SchemaNode.ofStrings) {
            types = ["string"]
        } else if schema.has(SchemaNode.ofNumbers) {
            types = ["number"]
        } else {
            return values.any(&grammar)
        }
        // A whole number is a number: one way to write it is enough.
        if types.contains("number") { types.removeAll { $0 == "integer" } }
        var parts: [GrammarExpression] = []
        for type in types { parts.append(try value(of: type, schema)) }
        return parts.count == 1 ? parts[0] : .choice(parts)
    }

    static func types(_ value: JSONNode, _ schema: SchemaNode) throws(GrammarRefusal) -> [String] {
        var types: [String] = []
        if let one = value.string { types = [one] }
        value.forEachChild { _, element in types.append(element.string ?? "") }
        let all: Set<String> = ["object", "array", "string", "number", "integer", "boolean", "null"]
        guard !types.isEmpty, value.kind != .object, types.allSatisfy(all.contains), Set(types).count == types.count
        else {
            throw schema.refuse("type", "must be one or some of \(all.sorted().joined(separator: ", ")), each once")
        }
        return types
    }

    private mutating func value(of type: String, _ schema: SchemaNode) throws(GrammarRefusal) -> GrammarExpression {
        switch type {
        case "object": try object(schema)
        case "array": try array(schema)
        case "string": try string(schema)
        case "integer": try integer(schema)
        case "number": try number(schema)
        case "boolean": .choice([.literal("true"), .literal("false")])
        default: .literal("null")
        }
    }

    // MARK: references

    private mutating func reference(_ target: JSONNode, _ schema: SchemaNode) throws(GrammarRefusal)
        -> GrammarExpression
    {
        let (node, pointer) = try find(target, schema)
        if let rule = referred[pointer] { return .rule(rule) }
        let rule = grammar.reserve()
        referred[pointer] = rule
        grammar.define(rule, try expression(node, rootPath + pointer.replacing("/", with: ".")))
        return .rule(rule)
    }

    /// The schema that a `$ref` names, and its place as a JSON pointer.
    func find(_ target: JSONNode, _ schema: SchemaNode) throws(GrammarRefusal) -> (JSONNode, String) {
        guard let text = target.string else { throw schema.refuse("$ref", "must be a string") }
        guard text == "#" || text.hasPrefix("#/") else {
            throw schema.refuse("$ref", "only places in this schema can be named, as \"#/$defs/Name\"")
        }
        let pointer = String(text.dropFirst())
        var node = root
        for part in pointer.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
            let name = part.replacing("~1", with: "/").replacing("~0", with: "~")
            var found: JSONNode?
            var index = 0
            node.forEachChild { key, child in
                if (key ?? "\(index)") == name { found = found ?? child }
                index += 1
            }
            guard let found else { throw schema.refuse("$ref", "\"\(text.prefix(100))\" names nothing in this schema") }
            node = found
        }
        return (node, pointer)
    }
}
