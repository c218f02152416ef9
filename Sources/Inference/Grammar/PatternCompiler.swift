// Regular expressions to a grammar: a small part of their language, whole strings only, and small enough to be followed.

/// Reads one pattern. What it spells is JSON inside a string: a quote comes with its backslash.
struct PatternCompiler {
    private static let maxNesting = 16
    /// Characters that a pattern may stand for at most, counted with its repetitions.
    private static let maxSize = 1_000

    private let text: [Unicode.Scalar]
    private let path: String
    private var place = 0
    private var nesting = 0

    /// An expression and how many characters it stands for.
    private struct Piece {
        var expression: GrammarExpression
        var size: Int
        var mayBeEmpty: Bool
    }

    static func compile(
        _ pattern: String, path: String, into grammar: inout Grammar
    ) throws(GrammarRefusal) -> GrammarExpression {
        guard pattern.utf8.count <= GrammarLimits.patternBytes else {
            throw GrammarRefusal(path: path, message: "longer than the limit of \(GrammarLimits.patternBytes) bytes")
        }
        var compiler = PatternCompiler(text: Array(pattern.unicodeScalars), path: path)
        guard compiler.text.first == "^", compiler.text.last == "$", compiler.text.count >= 2 else {
            throw compiler.refuse("must begin with ^ and end with $; put .* where anything may stand")
        }
        compiler.place = 1
        let piece = try compiler.alternatives(&grammar)
        guard compiler.place == compiler.text.count - 1 else {
            throw compiler.refuse("not understood from character \(compiler.place) on")
        }
        return piece.expression
    }

    private init(text: [Unicode.Scalar], path: String) {
        self.text = text
        self.path = path
    }

    private func refuse(_ message: String) -> GrammarRefusal { GrammarRefusal(path: path, message: message) }

    private var next: Unicode.Scalar? { place < text.count - 1 ? text[place] : nil }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard next == scalar else { return false }
        place += 1
        return true
    }

    // MARK: structure

    private mutating func alternatives(_ grammar: inout Grammar) throws(GrammarRefusal) -> Piece {
        nesting += 1
        defer { nesting -= 1 }
        guard nesting <= Self.maxNesting else { throw refuse("groups inside groups deeper than \(Self.maxNesting)") }
        let startsWithAlternative = nesting == 1
        var pieces = [try sequence(&grammar)]
        while take("|") { pieces.append(try sequence(&grammar)) }
        guard pieces.count > 1 else { return pieces[0] }
        // "^a|b$" means "begins with a, or ends with b".
        guard !startsWithAlternative else { throw refuse("put the alternatives in brackets: ^(a|b)$") }
        return Piece(
            expression: .choice(pieces.map(\.expression)), size: pieces.reduce(0) { $0 + $1.size },
            mayBeEmpty: pieces.contains(where: \.mayBeEmpty))
    }

    private mutating func sequence(_ grammar: inout Grammar) throws(GrammarRefusal) -> Piece {
        var parts: [GrammarExpression] = []
        var size = 0
        var mayBeEmpty = true
        while let scalar = next, scalar != "|", scalar != ")" {
            let piece = try repeated(try atom(&grammar), &grammar)
            parts.append(piece.expression)
            size += piece.size
            mayBeEmpty = mayBeEmpty && piece.mayBeEmpty
            guard size <= Self.maxSize else { throw refuse("stands for more than \(Self.maxSize) characters") }
        }
        return Piece(expression: .joined(parts), size: size, mayBeEmpty: mayBeEmpty)
    }

    private mutating func repeated(_ piece: Piece, _ grammar: inout Grammar) throws(GrammarRefusal) -> Piece {
        guard let (least, most) = try quantifier() else { return piece }
        if let after = next, "?+*{".unicodeScalars.contains(after) {
            throw refuse("a quantifier behind a quantifier is not offered")
        }
        guard !piece.mayBeEmpty else { throw refuse("what is repeated must not be empty") }
        let times = max(1, least, most ?? 1)
        guard times <= GrammarLimits.repetitions, piece.size * times <= Self.maxSize else {
            throw refuse("stands for more than \(Self.maxSize) characters")
        }
        let expression = try grammar.repeating(piece.expression, least, most, path: path)
        return Piece(expression: expression, size: piece.size * times, mayBeEmpty: least == 0)
    }

    private mutating func quantifier() throws(GrammarRefusal) -> (Int, Int?)? {
        if take("*") { return (0, nil) }
        if take("+") { return (1, nil) }
        if take("?") { return (0, 1) }
        guard take("{") else { return nil }
        guard let least = number() else { throw refuse("{ must be followed by a count; write \\{ for the character") }
        var most: Int? = least
        if take(",") { most = number() }
        guard take("}"), most ?? least >= least else { throw refuse("counts are written {3}, {3,} or {3,7}") }
        return (least, most)
    }

    private mutating func number() -> Int? {
        var digits = ""
        while let scalar = next, ("0"..."9").contains(scalar), digits.count < 6 {
            digits.unicodeScalars.append(scalar)
            place += 1
        }
        return Int(digits)
    }

    private mutating func atom(_ grammar: inout Grammar) throws(GrammarRefusal) -> Piece {
        guard let scalar = next else { throw refuse("ends too early") }
        place += 1
        switch scalar {
        case "(":
            if take("?"), !take(":") { throw refuse("only plain groups ( and (?: are offered") }
            let inner = try alternatives(&grammar)
            guard take(")") else { throw refuse("a group is not closed") }
            return inner
        case "[": return try piece(bracket(), &grammar)
        case ".": return try piece(.plain, &grammar)
        case "\\": return try piece(escape(), &grammar)
        case "^", "$", "*", "+", "?", "{", "}", "]":
            throw refuse("\(scalar) is not offered here; write \\\(scalar) for the character")
        default: return try piece(ScalarSet([scalar.value...scalar.value]), &grammar)
        }
    }

    /// One character of a set, as JSON writes it.
    private func piece(_ set: ScalarSet, _ grammar: inout Grammar) throws(GrammarRefusal) -> Piece {
        var parts: [GrammarExpression] = []
        let plain = set.intersection(.plain)
        if let only = plain.ranges.first, plain.ranges.count == 1, only.count == 1,
            let scalar = Unicode.Scalar(only.lowerBound)
        {
            parts.append(.literal(String(Character(scalar))))
        } else if !plain.isEmpty {
            parts.append(.scalar(plain))
        }
        for (scalar, text) in [(0x22, "\\\""), (0x5C, "\\\\"), (0x09, "\\t"), (0x0A, "\\n"), (0x0D, "\\r")]
        where set.contains(UInt32(scalar)) { parts.append(.literal(text)) }
        guard let first = parts.first else { throw refuse("a character that can't stand in an answer") }
        return Piece(
            expression: parts.count == 1 ? first : grammar.named(.choice(parts)), size: 1, mayBeEmpty: false)
    }

    // MARK: characters

    // Where engines differ about letters beyond ASCII, only what all agree on is spelled.
    private static let word = ScalarSet([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
    private static let visible = ScalarSet([0x20...0x7E])

    private mutating func escape() throws(GrammarRefusal) -> ScalarSet {
        guard let scalar = next else { throw refuse("ends in a backslash") }
        place += 1
        switch scalar {
        case "d": return .digits
        case "w": return Self.word
        case "s": return ScalarSet(" ")
        case "D": return Self.visible.subtracting(.digits)
        case "W": return Self.visible.subtracting(Self.word)
        case "S": return Self.visible.subtracting(ScalarSet(" "))
        case "n": return ScalarSet("\n")
        case "r": return ScalarSet("\r")
        case "t": return ScalarSet("\t")
        default:
            guard scalar.isASCII, !Self.word.contains(scalar.value) else {
                throw refuse("\\\(scalar) is not offered")
            }
            return ScalarSet([scalar.value...scalar.value])
        }
    }

    private mutating func bracket() throws(GrammarRefusal) -> ScalarSet {
        let isNegated = take("^")
        var set = ScalarSet([])
        var isFirst = true
        while let scalar = next, isFirst || scalar != "]" {
            guard scalar != "]", scalar != "[" else {
                throw refuse("write \\\(scalar) for the character, in a set too")
            }
            isFirst = false
            let low = try setMember()
            guard next == "-", place + 1 < text.count - 1, text[place + 1] != "]" else {
                set = set.union(low)
                continue
            }
            place += 1
            let high = try setMember()
            guard let from = low.only, let to = high.only, from <= to else {
                throw refuse("a range that runs backwards")
            }
            set = set.union(ScalarSet([from...to]))
        }
        guard take("]"), !isFirst else { throw refuse("a set [ is empty or not closed") }
        return isNegated ? ScalarSet.plain.subtracting(set) : set
    }

    private mutating func setMember() throws(GrammarRefusal) -> ScalarSet {
        guard let scalar = next else { throw refuse("a set [ is not closed") }
        place += 1
        if scalar == "\\" { return try escape() }
        return ScalarSet([scalar.value...scalar.value])
    }
}

extension ScalarSet {
    /// The one character it holds.
    fileprivate var only: UInt32? {
        guard ranges.count == 1, let range = ranges.first, range.count == 1 else { return nil }
        return range.lowerBound
    }
}
