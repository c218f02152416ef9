// Reads llama.cpp's grammar notation as its own parser does and says which texts a grammar spells. A test that judges our
// grammars by their text can't share a mistake with what wrote them.

struct GBNF {
    private indirect enum Node {
        case text([UInt32])
        case set([ClosedRange<UInt32>])
        case rule(String)
        case sequence([Node])
        case choice([Node])
        case repeated(Node, Int, Int?)
    }

    struct Fault: Error { let words: String }

    private var rules: [String: Node] = [:]

    init(_ text: String) throws {
        for line in text.split(separator: "\n") {
            var reader = Reader(Array(line.unicodeScalars))
            let name = reader.name()
            reader.space()
            for scalar in "::=".unicodeScalars {
                guard reader.take(scalar) else { throw Fault(words: "::= in \(line)") }
            }
            rules[name] = try reader.choice()
            guard reader.isAtEnd else { throw Fault(words: "rest of \(line)") }
        }
        for node in rules.values { try check(node) }
    }

    private func check(_ node: Node) throws {
        switch node {
        case .text, .set: return
        case .rule(let name): if rules[name] == nil { throw Fault(words: "no rule \(name)") }
        case .sequence(let parts), .choice(let parts): for part in parts { try check(part) }
        case .repeated(let part, let least, let most):
            guard max(least, most ?? 0) <= 2000 else { throw Fault(words: "llama.cpp refuses such a count") }
            try check(part)
        }
    }

    func spells(_ text: String) -> Bool {
        let scalars = text.unicodeScalars.map(\.value)
        return ends(of: .rule("root"), in: scalars, from: [0]).contains(scalars.count)
    }

    private func ends(of node: Node, in text: [UInt32], from starts: Set<Int>) -> Set<Int> {
        guard !starts.isEmpty else { return [] }
        switch node {
        case .text(let wanted):
            return Set(starts.filter { text[$0...].starts(with: wanted) }.map { $0 + wanted.count })
        case .set(let ranges):
            return Set(
                starts.filter { at in at < text.count && ranges.contains { $0.contains(text[at]) } }.map { $0 + 1 })
        case .rule(let name): return rules[name].map { ends(of: $0, in: text, from: starts) } ?? []
        case .sequence(let parts): return parts.reduce(starts) { ends(of: $1, in: text, from: $0) }
        case .choice(let parts):
            return parts.reduce(into: []) { $0.formUnion(ends(of: $1, in: text, from: starts)) }
        case .repeated(let part, let least, let most):
            var found: Set<Int> = least == 0 ? starts : []
            var places = starts
            var count = 0
            while !places.isEmpty, count < most ?? .max {
                places = ends(of: part, in: text, from: places)
                count += 1
                if count >= least {
                    places.subtract(found)
                    found.formUnion(places)
                }
            }
            return found
        }
    }

    private struct Reader {
        let text: [Unicode.Scalar]
        var place = 0

        init(_ text: [Unicode.Scalar]) { self.text = text }

        var next: Unicode.Scalar? { place < text.count ? text[place] : nil }
        var isAtEnd: Bool { place == text.count }

        mutating func take(_ scalar: Unicode.Scalar) -> Bool {
            guard next == scalar else { return false }
            place += 1
            return true
        }

        mutating func space() { while take(" ") {} }

        mutating func name() -> String {
            var name = String.UnicodeScalarView()
            while let scalar = next, scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || scalar == "-" {
                name.append(scalar)
                place += 1
            }
            return String(name)
        }

        mutating func choice() throws -> Node {
            var parts = [try sequence()]
            while take("|") { parts.append(try sequence()) }
            return .choice(parts)
        }

        private mutating func sequence() throws -> Node {
            var parts: [Node] = []
            space()
            while let scalar = next, scalar != "|", scalar != ")" {
                parts.append(try repeated(try item(scalar)))
                space()
            }
            return .sequence(parts)
        }

        private mutating func item(_ scalar: Unicode.Scalar) throws -> Node {
            if take("\"") {
                var wanted: [UInt32] = []
                while !take("\"") { wanted.append(try character()) }
                return .text(wanted)
            }
            if take("[") {
                var ranges: [ClosedRange<UInt32>] = []
                guard next != "^" else { throw Fault(words: "negated set") }
                while !take("]") {
                    let low = try character()
                    ranges.append(low...(take("-") ? try character() : low))
                }
                return .set(ranges)
            }
            if take("(") {
                let inner = try choice()
                guard take(")") else { throw Fault(words: ")") }
                return inner
            }
            let name = name()
            guard !name.isEmpty else { throw Fault(words: "\(scalar) at \(place)") }
            return .rule(name)
        }

        private mutating func repeated(_ node: Node) throws -> Node {
            if take("*") { return .repeated(node, 0, nil) }
            if take("+") { return .repeated(node, 1, nil) }
            if take("?") { return .repeated(node, 0, 1) }
            guard take("{") else { return node }
            guard let least = Int(name()) else { throw Fault(words: "count") }
            var most: Int? = least
            if take(",") { most = Int(name()) }
            guard take("}") else { throw Fault(words: "}") }
            return .repeated(node, least, most)
        }

        private mutating func character() throws -> UInt32 {
            guard let scalar = next else { throw Fault(words: "ends in a text") }
            place += 1
            guard scalar == "\\" else { return scalar.value }
            guard let kind = next else { throw Fault(words: "ends in an escape") }
            place += 1
            let digits = kind == "x" ? 2 : kind == "u" ? 4 : kind == "U" ? 8 : 0
            guard digits > 0, place + digits <= text.count,
                let value = UInt32(String(String.UnicodeScalarView(text[place..<place + digits])), radix: 16)
            else { throw Fault(words: "escape \(kind)") }
            place += digits
            return value
        }
    }
}
