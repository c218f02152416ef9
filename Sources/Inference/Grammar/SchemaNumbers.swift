// Schemas of numbers: ranges become digits, exactly.

extension SchemaCompiler {
    /// Numbers without a bound of their own end here: more digits than this help nobody.
    private static let far: Int64 = 999_999_999_999_999

    mutating func integer(_ schema: SchemaNode) throws(GrammarRefusal) -> GrammarExpression {
        guard schema.has(SchemaNode.ofNumbers) else {
            return grammar.named(.sequence([.optional(.literal("-")), JSONGrammar.whole]))
        }
        var low: Int64?
        var high: Int64?
        if let (bound, isExclusive) = try bound(schema, "minimum", "exclusiveMinimum", higher: true) {
            low = Int64(bound.rounded(.up)) + (isExclusive && bound == bound.rounded() ? 1 : 0)
        }
        if let (bound, isExclusive) = try bound(schema, "maximum", "exclusiveMaximum", higher: false) {
            high = Int64(bound.rounded(.down)) - (isExclusive && bound == bound.rounded() ? 1 : 0)
        }
        let from = low ?? min(-Self.far, high ?? 0)
        let to = high ?? max(Self.far, low ?? 0)
        guard from <= to else { throw GrammarRefusal(path: schema.path, message: "no integer lies between its bounds") }
        return grammar.named(Self.integers(from, to))
    }

    mutating func number(_ schema: SchemaNode) throws(GrammarRefusal) -> GrammarExpression {
        guard schema.has(SchemaNode.ofNumbers) else { return values.number(&grammar) }
        let low = try wholeBound(schema, "minimum", "exclusiveMinimum", higher: true)
        let high = try wholeBound(schema, "maximum", "exclusiveMaximum", higher: false)
        let from = low ?? (min(-Self.far, (high?.0 ?? 0) - 1), false)
        let to = high ?? (max(Self.far, (low?.0 ?? 0) + 1), false)
        var parts: [GrammarExpression] = []
        if from.0 < 0 {
            let inner: (Int64, Bool) = to.0 < 0 ? (-to.0, to.1) : (0, true)
            if let size = Self.sizes(inner, (-from.0, from.1)) { parts.append(.joined([.literal("-"), size])) }
        }
        if to.0 >= 0 {
            let inner: (Int64, Bool) = from.0 > 0 ? from : (0, from.0 == 0 && from.1)
            if let size = Self.sizes(inner, to) { parts.append(size) }
        }
        guard !parts.isEmpty else {
            throw GrammarRefusal(path: schema.path, message: "no number lies between its bounds")
        }
        return grammar.named(parts.count == 1 ? parts[0] : .choice(parts))
    }

    // MARK: bounds

    /// The narrower of an inclusive and an exclusive bound.
    private func bound(
        _ schema: SchemaNode, _ inclusive: String, _ exclusive: String, higher: Bool
    ) throws(GrammarRefusal) -> (Double, isExclusive: Bool)? {
        var found: (Double, isExclusive: Bool)?
        for (keyword, isExclusive) in [(inclusive, false), (exclusive, true)] {
            guard let value = schema[keyword] else { continue }
            guard let number = value.number else { throw schema.refuse(keyword, "must be a number") }
            guard abs(number) < 9_007_199_254_740_992 else {
                throw schema.refuse(keyword, "beyond 2^53, where numbers are no longer exact")
            }
            if let before = found, higher ? before.0 > number : before.0 < number { continue }
            found = (number, isExclusive)
        }
        return found
    }

    private func wholeBound(
        _ schema: SchemaNode, _ inclusive: String, _ exclusive: String, higher: Bool
    ) throws(GrammarRefusal) -> (Int64, Bool)? {
        guard let (number, isExclusive) = try bound(schema, inclusive, exclusive, higher: higher) else { return nil }
        guard number == number.rounded() else {
            throw schema.refuse(
                schema[inclusive] != nil ? inclusive : exclusive, "only whole bounds are offered for numbers")
        }
        return (Int64(number), isExclusive)
    }

    // MARK: whole numbers

    /// All whole numbers of a range.
    private static func integers(_ from: Int64, _ to: Int64) -> GrammarExpression {
        var parts: [GrammarExpression] = []
        if from < 0 { parts.append(.joined([.literal("-"), naturals(to < 0 ? -to : 1, -from)])) }
        if to >= 0 { parts.append(naturals(max(0, from), to)) }
        return parts.count == 1 ? parts[0] : .choice(parts)
    }

    private static func naturals(_ from: Int64, _ to: Int64) -> GrammarExpression {
        var parts: [GrammarExpression] = []
        var low = from
        // One length at a time: the largest of a length is all nines.
        while low <= to {
            let length = "\(low)".utf8.count
            let high = min(to, Int64(String(repeating: "9", count: length)) ?? to)
            parts.append(digits(Array("\(low)".utf8), Array("\(high)".utf8)))
            low = high + 1
        }
        return parts.count == 1 ? parts[0] : .choice(parts)
    }

    /// The numbers of one length, from `low` to `high`, digit by digit.
    private static func digits(_ low: [UInt8], _ high: [UInt8]) -> GrammarExpression {
        guard let first = low.first, let last = high.first else { return .nothing }
        let lowRest = Array(low.dropFirst())
        let highRest = Array(high.dropFirst())
        if first == last { return .joined([digit(first, first), digits(lowRest, highRest)]) }
        let nines = lowRest.map { _ in UInt8(ascii: "9") }
        let zeros = lowRest.map { _ in UInt8(ascii: "0") }
        var parts: [GrammarExpression] = []
        var from = first
        var to = last
        if lowRest != zeros {
            parts.append(.joined([digit(first, first), digits(lowRest, nines)]))
            from += 1
        }
        var end: GrammarExpression?
        if highRest != nines {
            end = .joined([digit(last, last), digits(zeros, highRest)])
            to -= 1
        }
        if from <= to {
            let free: [GrammarExpression] =
                lowRest.isEmpty ? [] : [.repeated(.scalar(.digits), least: lowRest.count, most: lowRest.count)]
            parts.append(.joined([digit(from, to)] + free))
        }
        if let end { parts.append(end) }
        return parts.count == 1 ? parts[0] : .choice(parts)
    }

    private static func digit(_ from: UInt8, _ to: UInt8) -> GrammarExpression {
        from == to ? .literal(String(Unicode.Scalar(from))) : .scalar(ScalarSet([UInt32(from)...UInt32(to)]))
    }

    // MARK: numbers with a fraction

    /// Numbers without a sign between two whole bounds, each of which may be left out itself.
    private static func sizes(_ from: (Int64, Bool), _ to: (Int64, Bool)) -> GrammarExpression? {
        let digit = GrammarExpression.scalar(.digits)
        let zero = GrammarExpression.literal("0")
        let anyFraction = GrammarExpression.sequence([.literal("."), .repeated(digit, least: 1, most: 12)])
        // Not all zeros, so that it is above the whole number before it.
        let someFraction = GrammarExpression.sequence([
            .literal("."), .repeated(zero, least: 0, most: 8), .scalar(ScalarSet([0x31...0x39])),
            .repeated(digit, least: 0, most: 3),
        ])
        let noFraction = GrammarExpression.sequence([.literal("."), .repeated(zero, least: 1, most: 3)])
        guard from.0 <= to.0 else { return nil }
        guard from.0 < to.0 else { return from.1 || to.1 ? nil : .literal("\(from.0)") }
        var parts: [GrammarExpression] = []
        parts.append(.joined([.literal("\(from.0)"), from.1 ? someFraction : .optional(anyFraction)]))
        if from.0 + 1 < to.0 { parts.append(.joined([naturals(from.0 + 1, to.0 - 1), .optional(anyFraction)])) }
        if !to.1 { parts.append(.joined([.literal("\(to.0)"), .optional(noFraction)])) }
        return parts.count == 1 ? parts[0] : .choice(parts)
    }
}
