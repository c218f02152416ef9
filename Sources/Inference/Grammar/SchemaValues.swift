// Schemas that list values or alternatives: const, enum, anyOf, oneOf, allOf.

extension SchemaCompiler {
    // MARK: constants

    mutating func enumeration(_ list: JSONNode, _ schema: SchemaNode) throws(GrammarRefusal) -> GrammarExpression {
        guard list.kind == .array, list.count > 0 else {
            throw schema.refuse("enum", "must be a list of at least one value")
        }
        guard list.count <= GrammarLimits.enumValues else {
            throw schema.refuse("enum", "\(list.count) values; the limit is \(GrammarLimits.enumValues)")
        }
        var values: [JSONNode] = []
        list.forEachChild { _, value in values.append(value) }
        return try constants(values, "enum", schema)
    }

    mutating func constants(
        _ values: [JSONNode], _ keyword: String, _ schema: SchemaNode
    ) throws(GrammarRefusal) -> GrammarExpression {
        var texts: [String] = []
        for value in values where try Self.fits(value, schema) {
            var text = ""
            try Self.write(value, to: &text, schema.path(of: keyword))
            texts.append(text)
        }
        grammar.spend(texts.reduce(3) { $0 + 2 + $1.utf8.count / 8 })
        try grammar.refuseTooMuchWork(path: schema.path(of: keyword))
        guard !texts.isEmpty else { throw schema.refuse(keyword, "no value of it has the schema's type") }
        return .texts(texts)
    }

    private static func fits(_ value: JSONNode, _ schema: SchemaNode) throws(GrammarRefusal) -> Bool {
        guard let type = schema["type"] else { return true }
        return try types(type, schema).contains { type in
            switch value.kind {
            case .null: type == "null"
            case .boolean: type == "boolean"
            case .integer: type == "integer" || type == "number"
            case .number: type == "number"
            case .string: type == "string"
            case .array: type == "array"
            case .object: type == "object"
            }
        }
    }

    private static func write(_ value: JSONNode, to text: inout String, _ path: String) throws(GrammarRefusal) {
        switch value.kind {
        case .null: text += "null"
        case .boolean: text += value.bool == true ? "true" : "false"
        case .integer: text += "\(value.integer ?? 0)"
        case .number:
            guard let number = value.number, abs(number) < 9_007_199_254_740_992 else {
                throw GrammarRefusal(path: path, message: "a number too large to be written exactly")
            }
            text += "\(number)"
        case .string: text += Self.quoted(value.string ?? "")
        case .array, .object:
            let isArray = value.kind == .array
            text += isArray ? "[" : "{"
            var isFirst = true
            try value.forEachChild { (key, child) throws(GrammarRefusal) in
                if !isFirst { text += ", " }
                isFirst = false
                if let key { text += quoted(key) + ": " }
                try write(child, to: &text, path)
            }
            text += isArray ? "]" : "}"
        }
    }

    static func quoted(_ text: String) -> String {
        var json = JSONWriter()
        json.string(text)
        return String(decoding: json.bytes, as: UTF8.self)
    }

    // MARK: alternatives

    mutating func alternatives(
        _ list: JSONNode, _ keyword: String, _ schema: SchemaNode
    ) throws(GrammarRefusal) -> GrammarExpression {
        let elements = try elements(list, keyword, schema)
        if keyword == "oneOf" { try refuseOverlap(elements, schema) }
        var parts: [GrammarExpression] = []
        for (index, element) in elements.enumerated() {
            let part = try expression(element, schema.path(of: "\(keyword).\(index)"))
            grammar.spend(parts.count / 8)
            if !parts.contains(part) { parts.append(part) }
        }
        return parts.count == 1 ? parts[0] : .choice(parts)
    }

    private func elements(_ list: JSONNode, _ keyword: String, _ schema: SchemaNode) throws(GrammarRefusal)
        -> [JSONNode]
    {
        guard list.kind == .array, (1...100).contains(list.count) else {
            throw schema.refuse(keyword, "must be a list of 1 to 100 schemas")
        }
        var elements: [JSONNode] = []
        list.forEachChild { _, element in elements.append(element) }
        return elements
    }

    /// oneOf wants exactly one to match: kept when each two differ in type, or in a required property's constant.
    private mutating func refuseOverlap(_ elements: [JSONNode], _ schema: SchemaNode) throws(GrammarRefusal) {
        var traits: [SchemaTraits] = []
        for (index, element) in elements.enumerated() {
            let path = schema.path(of: "oneOf.\(index)")
            let own = try traitsOf(element, path)
            // Each is held against all before it.
            grammar.spend(traits.count * (1 + own.constants.count) / 4)
            try grammar.refuseTooMuchWork(path: path)
            for (other, before) in traits.enumerated() where !own.excludes(before) {
                throw schema.refuse(
                    "oneOf.\(index)",
                    "it may match what oneOf.\(other) matches; use anyOf, or give each a required property with a const of "
                        + "its own")
            }
            traits.append(own)
        }
    }

    private func traitsOf(_ element: JSONNode, _ path: String, depth: Int = 0) throws(GrammarRefusal) -> SchemaTraits {
        guard element.kind == .object, depth < 16 else { return SchemaTraits() }
        let node = try SchemaNode(element, path: path)
        if let target = node["$ref"] { return try traitsOf(find(target, node).0, path, depth: depth + 1) }
        guard node["nullable"]?.bool != true else { return SchemaTraits() }
        var traits = SchemaTraits()
        if let type = node["type"] { traits.types = Set(try Self.types(type, node)) }
        traits.values = try Self.listed(node)
        guard traits.types == ["object"], let properties = node["properties"], let required = node["required"] else {
            return traits
        }
        var names: Set<String> = []
        required.forEachChild { _, name in names.insert(name.string ?? "") }
        var constants: [String: Set<String>] = [:]
        try properties.forEachChild { (key, value) throws(GrammarRefusal) in
            guard let key, names.contains(key), value.kind == .object else { return }
            let property = try SchemaNode(value, path: path)
            let target = try property["$ref"].map { (target) throws(GrammarRefusal) in
                try SchemaNode(find(target, property).0, path: path)
            }
            constants[key] = try Self.listed(target ?? property)
        }
        traits.constants = constants
        return traits
    }

    /// The texts of what const or enum list.
    private static func listed(_ node: SchemaNode) throws(GrammarRefusal) -> Set<String>? {
        var texts: Set<String> = []
        if let value = node["const"] {
            var text = ""
            try write(value, to: &text, node.path)
            return [text]
        }
        guard let list = node["enum"] else { return nil }
        try list.forEachChild { (_, value) throws(GrammarRefusal) in
            // 1 and 1.0 are one value with two texts.
            guard value.kind != .number else { return }
            var text = ""
            try write(value, to: &text, node.path)
            texts.insert(text)
        }
        return texts.count == list.count ? texts : nil
    }

    // MARK: allOf

    mutating func conjunction(_ list: JSONNode, _ schema: SchemaNode) throws(GrammarRefusal) -> GrammarExpression {
        let elements = try elements(list, "allOf", schema)
        if elements.count == 1 { return try expression(elements[0], schema.path(of: "allOf.0")) }
        var merged = ObjectShape()
        for (index, element) in elements.enumerated() {
            try merge(element, schema.path(of: "allOf.\(index)"), into: &merged)
        }
        return try object(merged, path: schema.path)
    }

    private mutating func merge(_ element: JSONNode, _ path: String, into merged: inout ObjectShape)
        throws(GrammarRefusal)
    {
        try enter(path)
        defer { leave() }
        let node = try SchemaNode(element, path: path)
        if let target = node["$ref"] {
            try node.allow(beside: "$ref")
            return try merge(find(target, node).0, path, into: &merged)
        }
        guard node["type"]?.string == "object", node["nullable"]?.bool != true else {
            throw GrammarRefusal(path: path, message: "allOf of several is offered for schemas of type object only")
        }
        try node.allow(SchemaNode.ofObjects, beside: "type")
        let shape = try objectShape(node)
        guard shape.others != .none else {
            throw node.refuse(
                "additionalProperties", "false is not offered in an allOf of several: it would forbid the others")
        }
        guard shape.others == .open else {
            throw node.refuse("additionalProperties", "a schema is not offered in an allOf of several")
        }
        for property in shape.properties {
            guard !merged.properties.contains(where: { $0.name == property.name }) else {
                throw node.refuse("properties.\(property.name)", "another schema of the allOf has it too")
            }
            merged.properties.append(property)
        }
        merged.required.formUnion(shape.required)
    }
}

/// What tells a schema apart from another without looking into values.
private struct SchemaTraits {
    /// Nil: any.
    var types: Set<String>?
    /// Nil: not listed.
    var values: Set<String>?
    var constants: [String: Set<String>] = [:]

    func excludes(_ other: SchemaTraits) -> Bool {
        if let values, let others = other.values { return values.isDisjoint(with: others) }
        if let types, let others = other.types {
            // A whole number is a number.
            let both = types.union(others)
            if types.isDisjoint(with: others), !(both.contains("integer") && both.contains("number")) { return true }
        }
        return constants.contains { name, values in
            other.constants[name].map { values.isDisjoint(with: $0) } ?? false
        }
    }
}
