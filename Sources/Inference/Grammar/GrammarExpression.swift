// What may come next in an answer, as a value; Grammar.swift gathers expressions into rules.

indirect enum GrammarExpression: Hashable, Sendable {
    case literal(String)
    /// One character of a set.
    case scalar(ScalarSet)
    /// A rule of the grammar, by its place.
    case rule(Int)
    case sequence([GrammarExpression])
    case choice([GrammarExpression])
    /// `most` nil: without end.
    case repeated(GrammarExpression, least: Int, most: Int?)

    /// Itself and all that it is made of, rules not followed.
    var parts: Int {
        switch self {
        case .literal, .scalar, .rule: 1
        case .sequence(let parts), .choice(let parts): parts.reduce(1) { $0 + $1.parts }
        case .repeated(let part, _, _): 1 + part.parts
        }
    }

    static let nothing = GrammarExpression.literal("")

    static func optional(_ expression: GrammarExpression) -> GrammarExpression {
        .repeated(expression, least: 0, most: 1)
    }

    /// A choice of texts, where what they begin with in common is written once: an engine follows one way, not hundreds.
    static func texts(_ texts: [String]) -> GrammarExpression {
        branch(Set(texts).map { Array($0.unicodeScalars)[...] }.sorted { $0.lexicographicallyPrecedes($1) })
    }

    private static func branch(_ texts: [ArraySlice<Unicode.Scalar>]) -> GrammarExpression {
        // They are in order: what the first and the last share, all share.
        let shared = zip(texts[0], texts[texts.count - 1]).prefix { $0 == $1 }.count
        let prefix = GrammarExpression.literal(String(String.UnicodeScalarView(texts[0].prefix(shared))))
        guard texts.count > 1 else { return prefix }
        var groups: [[ArraySlice<Unicode.Scalar>]] = []
        for text in texts.map({ $0.dropFirst(shared) }) {
            if let last = groups.last, last[0].first == text.first {
                groups[groups.count - 1].append(text)
            } else {
                groups.append([text])
            }
        }
        return joined([prefix, .choice(groups.map(branch))])
    }

    /// One after the other, flat, with neighbouring texts put together.
    static func joined(_ parts: [GrammarExpression]) -> GrammarExpression {
        var flat: [GrammarExpression] = []
        for part in parts {
            let inner = if case .sequence(let inner) = part { inner } else { [part] }
            for next in inner {
                if case .literal(let more) = next, case .literal(let text)? = flat.last {
                    flat[flat.count - 1] = .literal(text + more)
                } else if next != .nothing {
                    flat.append(next)
                }
            }
        }
        return flat.count == 1 ? flat[0] : flat.isEmpty ? .nothing : .sequence(flat)
    }
}
