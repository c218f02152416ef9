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

    static let nothing = GrammarExpression.literal("")

    static func optional(_ expression: GrammarExpression) -> GrammarExpression {
        .repeated(expression, least: 0, most: 1)
    }

    /// A choice of texts, where what they begin with in common is written once: an engine follows one way, not hundreds.
    static func texts(_ texts: [String]) -> GrammarExpression {
        branch(Set(texts).map { Array($0.unicodeScalars) }.sorted { $0.lexicographicallyPrecedes($1) })
    }

    private static func branch(_ texts: [[Unicode.Scalar]]) -> GrammarExpression {
        var shared: [Unicode.Scalar] = []
        var rest = texts
        while let next = rest.first?.first, rest.allSatisfy({ $0.first == next }) {
            shared.append(next)
            rest = rest.map { Array($0.dropFirst()) }
        }
        let prefix = GrammarExpression.literal(String(String.UnicodeScalarView(shared)))
        guard rest.count > 1 else { return prefix }
        var groups: [[[Unicode.Scalar]]] = []
        for text in rest {
            if let first = groups.last?.first, first.first == text.first {
                groups[groups.count - 1].append(text)
            } else {
                groups.append([text])
            }
        }
        let choice = GrammarExpression.choice(groups.map(branch))
        return shared.isEmpty ? choice : .sequence([prefix, choice])
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
