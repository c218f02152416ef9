// One schema of a document: its keywords in order, and where it stands. SchemaCompiler.swift reads them.

struct SchemaNode {
    let path: String
    let keywords: [(name: String, value: JSONNode)]

    init(_ value: JSONNode, path: String) throws(GrammarRefusal) {
        guard value.kind == .object else {
            throw GrammarRefusal(path: path, message: "a schema must be an object or true, not \(value.kind.rawValue)")
        }
        var keywords: [(name: String, value: JSONNode)] = []
        var names: Set<String> = []
        try value.forEachChild { (key, child) throws(GrammarRefusal) in
            let name = key ?? ""
            guard names.insert(name).inserted else {
                throw GrammarRefusal(path: Self.join(path, name), message: "given twice")
            }
            keywords.append((name, child))
        }
        self.path = path
        self.keywords = keywords
    }

    subscript(_ name: String) -> JSONNode? { keywords.first { $0.name == name }?.value }

    func has(_ names: Set<String>) -> Bool { keywords.contains { names.contains($0.name) } }

    func path(of keyword: String) -> String { Self.join(path, keyword) }

    func refuse(_ keyword: String, _ message: String) -> GrammarRefusal {
        GrammarRefusal(path: path(of: keyword), message: message)
    }

    /// Beside `owner`, only `others` and what says nothing about values may stand.
    func allow(_ others: Set<String> = [], beside owner: String) throws(GrammarRefusal) {
        for (name, _) in keywords where name != owner && !others.contains(name) && !Self.silent.contains(name) {
            throw refuse(name, "not offered beside \(owner); put it into what \(owner) names")
        }
    }

    func count(_ keyword: String) throws(GrammarRefusal) -> Int? {
        guard let value = self[keyword] else { return nil }
        guard let number = value.integer, number >= 0, number <= Int64(Int32.max) else {
            throw refuse(keyword, "must be a whole number from 0 on")
        }
        return Int(number)
    }

    static func join(_ path: String, _ name: String) -> String {
        path.isEmpty ? String(name.prefix(100)) : path + "." + name.prefix(100)
    }

    /// Keywords that say nothing about which values are valid, or are handled before all others.
    static let silent: Set<String> = [
        "title", "description", "default", "examples", "example", "$schema", "$id", "$comment", "deprecated",
        "readOnly",
        "writeOnly", "$defs", "definitions", "nullable", "discriminator", "externalDocs", "xml",
    ]
    static let ofObjects: Set<String> = ["properties", "required", "additionalProperties"]
    static let ofArrays: Set<String> = ["items", "prefixItems", "minItems", "maxItems", "uniqueItems"]
    static let ofStrings: Set<String> = ["minLength", "maxLength", "pattern", "format"]
    static let ofNumbers: Set<String> = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]
}
