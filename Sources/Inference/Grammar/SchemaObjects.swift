// Schemas of objects and arrays.

/// What an object may hold, in the order in which it is written.
struct ObjectShape {
    struct Property {
        var name: String
        /// Nil: any value.
        var schema: JSONNode?
        var path: String
    }

    enum Others: Equatable {
        /// Nothing else.
        case none
        /// Anything else.
        case open
        /// All properties are of the schema `additionalProperties`.
        case schema
    }

    var properties: [Property] = []
    var required: Set<String> = []
    var others = Others.open
    var otherSchema: JSONNode?
}

extension SchemaCompiler {
    mutating func object(_ schema: SchemaNode) throws(GrammarRefusal) -> GrammarExpression {
        try object(objectShape(schema), path: schema.path)
    }

    func objectShape(_ schema: SchemaNode) throws(GrammarRefusal) -> ObjectShape {
        var shape = ObjectShape()
        if let properties = schema["properties"] {
            guard properties.kind == .object else { throw schema.refuse("properties", "must be an object") }
            var names: Set<String> = []
            try properties.forEachChild { (key, value) throws(GrammarRefusal) in
                let name = key ?? ""
                let path = schema.path(of: "properties.\(name)")
                guard names.insert(name).inserted else { throw GrammarRefusal(path: path, message: "given twice") }
                shape.properties.append(ObjectShape.Property(name: name, schema: value, path: path))
            }
        }
        try readOthers(schema, &shape)
        try readRequired(schema, &shape)
        guard shape.properties.count <= GrammarLimits.propertiesOfOne else {
            throw schema.refuse(
                "properties", "\(shape.properties.count) properties; the limit is \(GrammarLimits.propertiesOfOne)")
        }
        return shape
    }

    private func readOthers(_ schema: SchemaNode, _ shape: inout ObjectShape) throws(GrammarRefusal) {
        guard let others = schema["additionalProperties"] else { return }
        if let truth = others.bool {
            shape.others = truth ? .open : .none
            return
        }
        guard others.kind == .object else {
            throw schema.refuse("additionalProperties", "must be true, false or a schema")
        }
        guard shape.properties.isEmpty else {
            throw schema.refuse("additionalProperties", "a schema is not offered beside properties; say false")
        }
        shape.others = .schema
        shape.otherSchema = others
    }

    private func readRequired(_ schema: SchemaNode, _ shape: inout ObjectShape) throws(GrammarRefusal) {
        guard let required = schema["required"] else { return }
        guard required.kind == .array else { throw schema.refuse("required", "must be a list of names") }
        let known = Set(shape.properties.map(\.name))
        try required.forEachChild { (_, value) throws(GrammarRefusal) in
            guard let name = value.string else { throw schema.refuse("required", "must be a list of names") }
            guard shape.required.insert(name).inserted else { return }
            guard !known.contains(name) else { return }
            guard shape.others != .none else {
                throw schema.refuse(
                    "required", "\"\(name.prefix(100))\" is not among the properties, and no others are allowed")
            }
            shape.properties.append(
                ObjectShape.Property(
                    name: name, schema: shape.otherSchema, path: schema.path(of: "additionalProperties")))
        }
    }

    mutating func object(_ shape: ObjectShape, path: String) throws(GrammarRefusal) -> GrammarExpression {
        guard !shape.properties.isEmpty else {
            guard shape.others != .none else { return .literal("{}") }
            guard let schema = shape.otherSchema else { return values.object(&grammar) }
            let value = try expression(schema, SchemaNode.join(path, "additionalProperties"))
            let pair = grammar.named(.sequence([values.string(&grammar), .literal(": "), value]))
            return Self.list("{", pair, "}")
        }
        var pairs: [(GrammarExpression, isRequired: Bool)] = []
        for property in shape.properties {
            let value =
                if let schema = property.schema { try expression(schema, property.path) } else { values.any(&grammar) }
            let pair = GrammarExpression.joined([.literal(Self.quoted(property.name) + ": "), value])
            pairs.append((pair, shape.required.contains(property.name)))
        }
        return write(pairs)
    }

    /// In their order; what is not required may be left out. Built from the end: what may follow a pair is known before it.
    private mutating func write(_ pairs: [(GrammarExpression, isRequired: Bool)]) -> GrammarExpression {
        var firstHere = GrammarExpression.literal("}")
        var furtherHere = GrammarExpression.literal("}")
        for (pair, isRequired) in pairs.reversed() {
            // Copied into what stands before it, so it must not grow with every pair.
            if case .sequence(let parts) = furtherHere, parts.count > 64 {
                furtherHere = grammar.named(furtherHere)
            }
            let first = GrammarExpression.joined([pair, furtherHere])
            let further = GrammarExpression.joined([.literal(", "), pair, furtherHere])
            if isRequired {
                firstHere = first
                furtherHere = further
            } else {
                let rest = (grammar.named(firstHere), grammar.named(furtherHere))
                firstHere = grammar.named(.choice([first, rest.0]))
                furtherHere = grammar.named(.choice([further, rest.1]))
            }
        }
        return grammar.named(.joined([.literal("{"), firstHere]))
    }

    /// Any number of elements, with commas.
    static func list(_ open: String, _ element: GrammarExpression, _ close: String) -> GrammarExpression {
        let more = GrammarExpression.repeated(.sequence([.literal(", "), element]), least: 0, most: nil)
        return .sequence([.literal(open), .optional(.sequence([element, more])), .literal(close)])
    }

    // MARK: arrays

    mutating func array(_ schema: SchemaNode) throws(GrammarRefusal) -> GrammarExpression {
        let least = try schema.count("minItems") ?? 0
        let most = try schema.count("maxItems")
        if let most, most < least { throw schema.refuse("maxItems", "is below minItems") }
        if let unique = schema["uniqueItems"], unique.bool != false, most ?? 2 > 1 {
            throw schema.refuse(
                "uniqueItems", "not offered, as a grammar can't remember what was written; leave it out")
        }
        var first: [GrammarExpression] = []
        if let prefix = schema["prefixItems"] {
            guard prefix.kind == .array else { throw schema.refuse("prefixItems", "must be a list of schemas") }
            var schemas: [JSONNode] = []
            prefix.forEachChild { _, element in schemas.append(element) }
            for (index, element) in schemas.enumerated().prefix(most ?? .max) {
                first.append(try expression(element, schema.path(of: "prefixItems.\(index)")))
            }
        }
        let tail = try tail(schema, first.count, least, most)
        var parts: [GrammarExpression] = [.literal("[")]
        for (index, element) in first.enumerated() {
            if index > 0 { parts.append(.literal(", ")) }
            parts.append(element)
        }
        return .joined(parts + [tail, .literal("]")])
    }

    /// The elements behind those that have a schema of their own.
    private mutating func tail(
        _ schema: SchemaNode, _ before: Int, _ least: Int, _ most: Int?
    ) throws(GrammarRefusal) -> GrammarExpression {
        let least = max(0, least - before)
        let most = most.map { $0 - before }
        let items = schema["items"]
        if items?.kind == .array { throw schema.refuse("items", "a list is not offered; use prefixItems") }
        let isClosed = items?.bool == false
        if isClosed, least > 0 {
            throw schema.refuse("minItems", "is above what prefixItems lists, and items is false")
        }
        // Behind a prefix, more elements are written only when they are asked for.
        if most == 0 || isClosed || (before > 0 && items == nil && least == 0) { return .nothing }
        let element =
            if let items { try expression(items, schema.path(of: "items")) } else { values.any(&grammar) }
        let item = grammar.named(element)
        let further = grammar.named(.joined([.literal(", "), item]))
        guard before == 0 else { return try grammar.repeating(further, least, most, path: schema.path) }
        let rest = try grammar.repeating(further, max(0, least - 1), most.map { $0 - 1 }, path: schema.path)
        let all = GrammarExpression.sequence([item, rest])
        return least == 0 ? .optional(all) : all
    }
}
