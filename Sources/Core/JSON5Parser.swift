// One pass over JSON5 (spec.json5.org, version 1.0.0), strict where a manifest would otherwise mean two things.

/// Reads one value; every fault says where it is.
struct JSON5Parser {
    struct Fault: Error {
        let words: String
        let line: Int
        let column: Int
    }

    private let text: [Unicode.Scalar]
    private var at = 0

    init(_ text: String) { self.text = Array(text.unicodeScalars) }

    mutating func parse() throws(Fault) -> JSONValue {
        let value = try value(depth: 0)
        try skipSpace()
        guard at == text.count else { throw unexpected() }
        return value
    }

    private mutating func value(depth: Int) throws(Fault) -> JSONValue {
        try skipSpace()
        guard depth < JSON5.deepest else { throw fault("values are nested more than \(JSON5.deepest) deep") }
        switch peek {
        case "{": return try object(depth: depth)
        case "[": return try array(depth: depth)
        case "\"", "'": return .string(try string())
        case let next? where next == "." || next == "+" || next == "-" || Self.isDigit(next): return try number()
        default: return try word()
        }
    }

    private mutating func object(depth: Int) throws(Fault) -> JSONValue {
        var members: [String: JSONValue] = [:]
        at += 1
        while try !ends("}") {
            let start = at
            let key = peek == "\"" || peek == "'" ? try string() : try identifier()
            guard members[key] == nil else { throw fault("the key \(Names.quoted(key)) is given twice", at: start) }
            try skipSpace()
            guard take(":") else { throw unexpected() }
            members[key] = try value(depth: depth + 1)
            try separate("}")
        }
        return .object(members)
    }

    private mutating func array(depth: Int) throws(Fault) -> JSONValue {
        var values: [JSONValue] = []
        at += 1
        while try !ends("]") {
            values.append(try value(depth: depth + 1))
            try separate("]")
        }
        return .array(values)
    }

    private mutating func ends(_ bracket: Unicode.Scalar) throws(Fault) -> Bool {
        try skipSpace()
        return take(bracket)
    }

    /// A comma, or the bracket that ends the list, which stays for `ends`.
    private mutating func separate(_ bracket: Unicode.Scalar) throws(Fault) {
        try skipSpace()
        guard take(",") || peek == bracket else { throw unexpected() }
    }

    private mutating func word() throws(Fault) -> JSONValue {
        let start = at
        switch try identifier() {
        case "null": return .null
        case "true": return .bool(true)
        case "false": return .bool(false)
        case "NaN", "Infinity": throw fault("a number is not finite", at: start)
        default: throw unexpected(at: start)
        }
    }

    private mutating func identifier() throws(Fault) -> String {
        var name = String.UnicodeScalarView()
        while let next = peek {
            let properties = next.properties
            guard next == "$" || next == "_" || (name.isEmpty ? properties.isIDStart : properties.isIDContinue) else {
                break
            }
            name.append(next)
            at += 1
        }
        guard !name.isEmpty else { throw unexpected() }
        return String(name)
    }
}

// MARK: numbers

extension JSON5Parser {
    private mutating func number() throws(Fault) -> JSONValue {
        let start = at
        let isNegative = peek == "-"
        if peek == "-" || peek == "+" { at += 1 }
        guard peek != "I", peek != "N" else { return try word() }
        if peek == "0", at + 1 < text.count, text[at + 1] == "x" || text[at + 1] == "X" {
            return try hexadecimal(isNegative: isNegative, start: start)
        }
        let whole = digits()
        var fraction = ""
        var exponent = ""
        if take(".") { fraction = digits() }
        guard !(whole + fraction).isEmpty, whole.count < 2 || !whole.hasPrefix("0") else { throw unexpected(at: start) }
        if take("e") || take("E") {
            if take("-") { exponent = "-" } else { _ = take("+") }
            let power = digits()
            guard !power.isEmpty else { throw unexpected() }
            exponent += power
        }
        let isWhole = fraction.isEmpty && exponent.isEmpty
        let sign = isNegative ? "-" : ""
        if isWhole, let value = Int64(sign + whole) { return .integer(value) }
        let written =
            "\(sign)\(whole.isEmpty ? "0" : whole).\(fraction.isEmpty ? "0" : fraction)e\(exponent.isEmpty ? "0" : exponent)"
        guard let value = Double(written), value.isFinite else { throw fault("a number is too large", at: start) }
        // Whole numbers that a Double holds exactly are whole numbers, however they are written.
        return Int64(exactly: value).flatMap { abs(value) <= 0x1p53 ? .integer($0) : nil } ?? .number(value)
    }

    private mutating func hexadecimal(isNegative: Bool, start: Int) throws(Fault) -> JSONValue {
        at += 2
        let first = at
        while let next = peek, next.isASCII, next.properties.isASCIIHexDigit { at += 1 }
        guard at > first else { throw unexpected() }
        let digits = String(String.UnicodeScalarView(text[first..<at]))
        guard let value = Int64((isNegative ? "-" : "") + digits, radix: 16) else {
            throw fault("a number is too large", at: start)
        }
        return .integer(value)
    }

    private mutating func digits() -> String {
        let first = at
        while let next = peek, Self.isDigit(next) { at += 1 }
        return String(String.UnicodeScalarView(text[first..<at]))
    }

    private static func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }
}

// MARK: strings

extension JSON5Parser {
    private mutating func string() throws(Fault) -> String {
        let quote = peek
        var out = String.UnicodeScalarView()
        at += 1
        while let next = peek, next != quote {
            guard next != "\n", next != "\r" else { throw fault("a string has no end") }
            at += 1
            if next == "\\" { try escape(into: &out) } else { out.append(next) }
        }
        guard peek == quote else { throw fault("a string has no end") }
        at += 1
        // A NUL ends text in C, where plugins read it.
        guard !out.contains("\u{0}") else { throw fault("a string holds the character U+0000", at: at - 1) }
        return String(out)
    }

    private mutating func escape(into out: inout String.UnicodeScalarView) throws(Fault) {
        guard let next = peek else { throw fault("a string has no end") }
        at += 1
        switch next {
        case "n": out.append("\n")
        case "r": out.append("\r")
        case "t": out.append("\t")
        case "b": out.append("\u{8}")
        case "f": out.append("\u{c}")
        case "v": out.append("\u{b}")
        case "x": out.append(try scalar(UInt32(try unit(2))))
        case "u": out.append(try unicode())
        case "\r": _ = take("\n")
        case "\n", "\u{2028}", "\u{2029}": break
        case _ where Self.isDigit(next): throw fault("a number behind \\ is no character", at: at - 2)
        default: out.append(next)
        }
    }

    private mutating func unicode() throws(Fault) -> Unicode.Scalar {
        let high = try unit(4)
        guard (0xd800..<0xdc00).contains(high) else { return try scalar(high) }
        guard take("\\"), take("u") else { throw fault("half of a surrogate pair is missing") }
        let low = try unit(4)
        guard (0xdc00..<0xe000).contains(low) else { throw fault("half of a surrogate pair is missing") }
        return try scalar(0x10000 + (high - 0xd800) << 10 + (low - 0xdc00))
    }

    private func scalar(_ value: UInt32) throws(Fault) -> Unicode.Scalar {
        guard let scalar = Unicode.Scalar(value) else { throw fault("half of a surrogate pair is missing") }
        return scalar
    }

    private mutating func unit(_ count: Int) throws(Fault) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard let next = peek, next.isASCII, let digit = Character(next).hexDigitValue else { throw unexpected() }
            value = value << 4 + UInt32(digit)
            at += 1
        }
        return value
    }
}

// MARK: places

extension JSON5Parser {
    private var peek: Unicode.Scalar? { at < text.count ? text[at] : nil }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard peek == scalar else { return false }
        at += 1
        return true
    }

    private mutating func skipSpace() throws(Fault) {
        while let next = peek {
            if next == "/" {
                try skipComment()
            } else if next.properties.isWhitespace || next == "\u{FEFF}" {
                at += 1
            } else {
                return
            }
        }
    }

    private mutating func skipComment() throws(Fault) {
        let start = at
        at += 1
        if take("/") {
            while let next = peek, next != "\n", next != "\r", next != "\u{2028}", next != "\u{2029}" { at += 1 }
            return
        }
        guard take("*") else { throw unexpected(at: start) }
        while at < text.count {
            at += 1
            if text[at - 1] == "*", take("/") { return }
        }
        throw fault("a comment has no end", at: start)
    }

    private func unexpected(at place: Int? = nil) -> Fault {
        let place = place ?? at
        guard place < text.count else { return fault("the text is not JSON5: it ends too early", at: place) }
        return fault("the text is not JSON5: unexpected \(Names.quoted(String(text[place])))", at: place)
    }

    private func fault(_ words: String, at place: Int? = nil) -> Fault {
        let before = text[..<min(place ?? at, text.count)]
        let line = before.count { $0 == "\n" } + 1
        let column = before.count - (before.lastIndex(of: "\n").map { $0 + 1 } ?? 0) + 1
        return Fault(words: words, line: line, column: column)
    }
}
