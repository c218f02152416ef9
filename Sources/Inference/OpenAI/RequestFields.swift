// Reads the fields of one JSON object of a request, with types and ranges; a null counts as an absent field.

/// The fields of an object, each name at most once.
struct RequestFields {
    private static let maxFields = 128

    private let path: String
    private var fields: [(name: String, value: JSONNode)] = []

    /// - Parameter path: what stands before a field's name in errors: `""` or `"messages[2]."`.
    init(_ value: JSONNode, path: String = "") throws(OpenAIError) {
        self.path = path
        guard value.kind == .object else {
            throw .invalid(path.isEmpty ? nil : String(path.dropLast()), "\(Self.place(path)): must be an object")
        }
        guard value.count <= Self.maxFields else {
            throw .invalid(nil, "\(Self.place(path)): more than \(Self.maxFields) fields")
        }
        fields.reserveCapacity(value.count)
        try value.forEachChild { (key, child) throws(OpenAIError) in
            let name = key ?? ""
            guard !fields.contains(where: { $0.name == name }) else {
                throw .invalid(path + name, "\(path)\(name.prefix(64)): given twice", code: "duplicate_field")
            }
            fields.append((name, child))
        }
    }

    private static func place(_ path: String) -> String { path.isEmpty ? "body" : String(path.dropLast()) }

    subscript(_ name: String) -> JSONNode? {
        guard let value = fields.first(where: { $0.name == name })?.value, value.kind != .null else { return nil }
        return value
    }

    func name(of field: String) -> String { path + field }

    func wrong(_ field: String, _ need: String) -> OpenAIError {
        .invalid(path + field, "\(path)\(field): \(need)", code: "invalid_value")
    }

    func string(_ field: String, maxBytes: Int) throws(OpenAIError) -> String? {
        guard let value = self[field] else { return nil }
        guard let text = value.string else { throw wrong(field, "must be a string, not \(value.kind.rawValue)") }
        guard text.utf8.count <= maxBytes else { throw wrong(field, "longer than \(maxBytes) bytes") }
        return text
    }

    func bool(_ field: String) throws(OpenAIError) -> Bool? {
        guard let value = self[field] else { return nil }
        guard let truth = value.bool else { throw wrong(field, "must be true or false, not \(value.kind.rawValue)") }
        return truth
    }

    func integer(_ field: String, in range: ClosedRange<Int64>) throws(OpenAIError) -> Int64? {
        guard let value = self[field] else { return nil }
        guard let number = value.integer else { throw wrong(field, "must be an integer") }
        guard range.contains(number) else {
            throw wrong(field, "must be from \(range.lowerBound) to \(range.upperBound), not \(number)")
        }
        return number
    }

    func number(_ field: String, in range: ClosedRange<Double>) throws(OpenAIError) -> Float? {
        guard let value = self[field] else { return nil }
        guard let number = value.number else { throw wrong(field, "must be a number, not \(value.kind.rawValue)") }
        guard range.contains(number) else {
            throw wrong(field, "must be from \(range.lowerBound) to \(range.upperBound), not \(number)")
        }
        return Float(number)
    }

    /// The objects of an array; nil: there is no such field.
    func objects(_ field: String, atMost most: Int) throws(OpenAIError) -> [RequestFields]? {
        guard let value = self[field] else { return nil }
        guard value.kind == .array else { throw wrong(field, "must be an array") }
        guard value.count <= most else { throw wrong(field, "must hold at most \(most)") }
        var objects: [RequestFields] = []
        try value.forEachChild { (_, element) throws(OpenAIError) in
            objects.append(try RequestFields(element, path: "\(path)\(field)[\(objects.count)]."))
        }
        return objects
    }

    /// A text that comes as a string, or as an array of parts that have a `text`; nil: there is no such field.
    func text(_ field: String, types: [String], separator: String = "") throws(OpenAIError) -> String? {
        guard let value = self[field] else { return nil }
        var texts: [String] = []
        if value.kind == .array {
            for part in try objects(field, atMost: JSONParser.maxValues) ?? [] {
                texts.append(try part.partText(types))
            }
        } else if let string = value.string {
            texts = [string]
        } else {
            throw wrong(field, "must be a string or an array of parts")
        }
        let text = texts.joined(separator: separator)
        guard text.utf8.count <= RequestLimits.contentBytes else {
            throw wrong(field, "longer than \(RequestLimits.contentBytes) bytes")
        }
        return text
    }

    /// The text of a part whose type is one of `types`.
    func partText(_ types: [String]) throws(OpenAIError) -> String {
        let type = try string("type", maxBytes: 64)
        guard let type, types.contains(type) else {
            let offered = types.map { "\"\($0)\"" }.joined(separator: " and ")
            throw .notOffered(
                name(of: "type"), "only parts of type \(offered) are" + (type.map { ", not \"\($0)\"" } ?? ""))
        }
        guard let text = try string("text", maxBytes: RequestLimits.contentBytes) else {
            throw .missing(name(of: "text"))
        }
        return text
    }

    /// The word of a field that must be one of these.
    func word(_ field: String, of words: [String]) throws(OpenAIError) -> String? {
        guard let word = try string(field, maxBytes: 64) else { return nil }
        guard words.contains(word) else { throw wrong(field, "must be " + words.joined(separator: ", ")) }
        return word
    }

    /// Refuses a field that would change the answer and that we don't do; empty containers ask for nothing.
    func refuse(_ field: String, _ advice: String) throws(OpenAIError) {
        guard let value = self[field] else { return }
        if (value.kind == .array || value.kind == .object) && value.count == 0 { return }
        throw .notOffered(path + field, advice)
    }
}
