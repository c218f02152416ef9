// Whether an engine can follow a grammar in bounded time: no left recursion, and few ways to follow at once.
//
// llama.cpp keeps a stack for each way in which the text so far can be read. A schema that nests alternatives it can't tell
// apart doubles them at each level, so what is not told apart by its beginning is counted, and refused above a limit.

struct GrammarCheck {
    /// What an alternative begins with: a text, then one character of a set; nil: anything, or nothing.
    private struct Beginning {
        var text: [UInt32]
        var next: ScalarSet?

        func differs(from other: Beginning) -> Bool {
            for (one, two) in zip(text, other.text) where one != two { return true }
            if text.count < other.text.count { return next.map { !$0.contains(other.text[text.count]) } ?? false }
            if other.text.count < text.count { return other.next.map { !$0.contains(text[other.text.count]) } ?? false }
            guard let next, let others = other.next else { return false }
            return !next.intersects(others)
        }
    }

    private let rules: [GrammarExpression]
    private var nullable: [Bool]
    /// Steps of looking for beginnings that are left; when none are, what was not told apart yet counts as alike.
    private var steps = 100_000

    init(_ rules: [GrammarExpression]) {
        self.rules = rules
        nullable = Array(repeating: false, count: rules.count)
    }

    func run() throws(GrammarRefusal) {
        var check = self
        check.findNullable()
        try check.refuseLeftRecursion()
        try check.refuseManyWays()
    }

    // MARK: what may be empty

    private mutating func findNullable() {
        var changed = true
        while changed {
            changed = false
            for (index, rule) in rules.enumerated() where !nullable[index] && mayBeEmpty(rule) {
                nullable[index] = true
                changed = true
            }
        }
    }

    private func mayBeEmpty(_ expression: GrammarExpression) -> Bool {
        switch expression {
        case .literal(let text): text.isEmpty
        case .scalar: false
        case .rule(let index): nullable[index]
        case .sequence(let parts): parts.allSatisfy(mayBeEmpty)
        case .choice(let parts): parts.contains(where: mayBeEmpty)
        case .repeated(let part, let least, _): least == 0 || mayBeEmpty(part)
        }
    }

    // MARK: left recursion

    /// The rules that may stand at the very beginning.
    private func leading(_ expression: GrammarExpression) -> [Int] {
        switch expression {
        case .literal, .scalar: return []
        case .rule(let index): return [index]
        case .choice(let parts): return parts.flatMap(leading)
        case .repeated(let part, least: _, most: _): return leading(part)
        case .sequence(let parts):
            var found: [Int] = []
            for part in parts {
                found += leading(part)
                if !mayBeEmpty(part) { break }
            }
            return found
        }
    }

    private func refuseLeftRecursion() throws(GrammarRefusal) {
        enum Visit { case unseen, open, done(steps: Int) }
        var visits = Array(repeating: Visit.unseen, count: rules.count)
        func steps(_ rule: Int) throws(GrammarRefusal) -> Int {
            switch visits[rule] {
            case .done(let steps): return steps
            case .open:
                throw GrammarRefusal(path: "", message: "a $ref leads back to itself before anything is written")
            case .unseen: break
            }
            visits[rule] = .open
            var sum = 1
            for next in leading(rules[rule]) { sum = min(sum + (try steps(next)), GrammarLimits.searchSteps + 1) }
            visits[rule] = .done(steps: sum)
            return sum
        }
        var total = 0
        for rule in rules.indices { total += try steps(rule) }
        guard total <= GrammarLimits.searchSteps * 4 else {
            throw GrammarRefusal(
                path: "", message: "its alternatives refer to each other too often; use fewer $ref in anyOf")
        }
    }

    // MARK: ways at once

    /// What matters of an expression for counting ways.
    private indirect enum Shape {
        case one
        case rule(Int)
        case most([Shape])
        /// `together`: how many begin alike before they can be told apart; nil: they can't.
        case choice([Shape], together: Int?)
    }

    private mutating func refuseManyWays() throws(GrammarRefusal) {
        let shapes = shapes(rules)
        var ways = Array(repeating: 1, count: rules.count)
        // Each round settles one more level of nesting, unless a rule that can't be told apart nests in itself.
        for _ in 0...rules.count {
            var changed = false
            for index in rules.indices {
                let count = Self.ways(shapes[index], ways)
                guard count <= GrammarLimits.ways else { throw Self.tooManyWays }
                if count > ways[index] {
                    ways[index] = count
                    changed = true
                }
            }
            if !changed { return }
        }
        throw Self.tooManyWays
    }

    private mutating func shapes(_ expressions: [GrammarExpression]) -> [Shape] {
        var shapes: [Shape] = []
        for expression in expressions { shapes.append(shape(expression)) }
        return shapes
    }

    private mutating func shape(_ expression: GrammarExpression) -> Shape {
        switch expression {
        case .literal, .scalar: .one
        case .rule(let index): .rule(index)
        case .repeated(let part, least: _, most: _): shape(part)
        case .sequence(let parts): .most(shapes(parts))
        case .choice(let parts): .choice(shapes(parts), together: together(parts))
        }
    }

    private static func ways(_ shape: Shape, _ known: [Int]) -> Int {
        switch shape {
        case .one: 1
        case .rule(let index): known[index]
        case .most(let parts): parts.reduce(1) { max($0, ways($1, known)) }
        case .choice(let parts, let together?): parts.reduce(together) { max($0, ways($1, known)) }
        case .choice(let parts, nil): parts.reduce(0) { min($0 + ways($1, known), GrammarLimits.ways + 1) }
        }
    }

    private static let tooManyWays = GrammarRefusal(
        path: "",
        message:
            "alternatives can't be told apart by how they begin, more than \(GrammarLimits.ways) at once; give objects in "
            + "anyOf a first property with a const of their own, and make properties required")

    /// How many of the alternatives begin alike; nil: some can't be told apart by their beginnings.
    private mutating func together(_ parts: [GrammarExpression]) -> Int? {
        // Properties differ in their names. Looking further goes through values into what may follow them, which costs more at each
        // character, and without end in what nests in itself.
        looksBehindTexts = false
        if let count = together(parts, 128) { return count }
        looksBehindTexts = true
        for length in [1, 16, 128] {
            if let count = together(parts, length) { return count }
        }
        return nil
    }

    private mutating func together(_ parts: [GrammarExpression], _ length: Int) -> Int? {
        var all: [Beginning] = []
        var alike: [UInt32: Int] = [:]
        for part in parts {
            guard let some = beginnings([part], length, 0), all.count + some.count <= Self.maxBeginnings else {
                return nil
            }
            steps -= some.count * all.count / 16
            guard steps > 0 else { return nil }
            for one in some {
                if let first = one.text.first { alike[first, default: 0] += 1 }
                guard all.allSatisfy(one.differs) else { return nil }
            }
            all += some
        }
        return max(1, alike.values.max() ?? 1)
    }

    /// False: what follows a text and is none itself is left open.
    private var looksBehindTexts = true
    private static let maxBeginnings = 600
    private static let maxDepth = 1_000

    /// All beginnings of a sequence, of up to `length` characters; nil: too many to look at.
    /// - Parameter begun: some characters stand before.
    private mutating func beginnings(
        _ parts: ArraySlice<GrammarExpression>, _ length: Int, _ depth: Int, begun: Bool = false
    ) -> [Beginning]? {
        steps -= 1
        guard steps > 0, depth < Self.maxDepth else { return nil }
        guard length > 0, let first = parts.first else { return [Beginning(text: [], next: nil)] }
        let rest = parts.dropFirst()
        switch first {
        case .literal(let text):
            let scalars = text.unicodeScalars.prefix(length).map(\.value)
            let begun = begun || !scalars.isEmpty
            guard let after = beginnings(rest, length - scalars.count, depth + 1, begun: begun) else { return nil }
            return after.map { Beginning(text: scalars + $0.text, next: $0.next) }
        case .scalar(let set): return [Beginning(text: [], next: set)]
        case .rule(let index): return beginnings([rules[index]] + rest, length, depth + 1, begun: begun)
        case .sequence(let inner): return beginnings(inner[...] + rest, length, depth + 1, begun: begun)
        case .choice where begun && !looksBehindTexts, .repeated where begun && !looksBehindTexts:
            return [Beginning(text: [], next: nil)]
        case .choice(let inner): return beginnings(ofEach: inner.map { [$0] + rest }, length, depth)
        case .repeated(let part, let least, _):
            // What follows the part is left open: a repetition is rarely what tells alternatives apart.
            return beginnings(ofEach: least == 0 ? [[part], rest] : [[part]], length, depth)
        }
    }

    private mutating func beginnings(
        ofEach sequences: [ArraySlice<GrammarExpression>], _ length: Int, _ depth: Int
    ) -> [Beginning]? {
        var all: [Beginning] = []
        for sequence in sequences {
            guard let some = beginnings(sequence, length, depth + 1), all.count + some.count <= Self.maxBeginnings
            else {
                return nil
            }
            all += some
        }
        return all
    }
}
