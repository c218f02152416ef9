// RFC 8259 as it is written, of strangers: no comments, no member twice, bounded in depth and in the number of values.
internal import Core

/// Reads one value. JSON5 would be too kind here: two readers of one token must not see two things.
struct StrictJSON {
    struct Fault: Error, Equatable {
        /// Never holds what was read.
        let words: String
        let offset: Int

        var description: String { "\(words) at byte \(offset)" }
    }

    static let deepest = 16

    private let bytes: [UInt8]
    private var at = 0
    private var valuesLeft: Int

    static func decode(_ bytes: [UInt8], values: Int) throws(Fault) -> JSONValue {
        var reader = StrictJSON(bytes: bytes, values: values)
        let value = try reader.value(depth: 0)
        reader.skipSpace()
        guard reader.at == bytes.count else { throw reader.fault("something follows the value") }
        return value
    }

    private init(bytes: [UInt8], values: Int) {
        self.bytes = bytes
        valuesLeft = values
    }

    private mutating func value(depth: Int) throws(Fault) -> JSONValue {
        skipSpace()
        guard depth < Self.deepest else { throw fault("values are nested more than \(Self.deepest) deep") }
        valuesLeft -= 1
        guard valuesLeft >= 0 else { throw fault("there are too many values") }
        switch peek {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func object(depth: Int) throws(Fault) -> JSONValue {
        var members: [String: JSONValue] = [:]
        at += 1
        skipSpace()
        if take("}") { return .object(members) }
        repeat {
            skipSpace()
            guard peek == UInt8(ascii: "\"") else { throw fault("a member has no name") }
            let key = try string()
            guard members[key] == nil else { throw fault("a member is given twice") }
            skipSpace()
            guard take(":") else { throw fault("a member has no value") }
            members[key] = try value(depth: depth + 1)
            skipSpace()
        } while take(",")
        guard take("}") else { throw fault("an object has no end") }
        return .object(members)
    }

    private mutating func array(depth: Int) throws(Fault) -> JSONValue {
        var values: [JSONValue] = []
        at += 1
        skipSpace()
        if take("]") { return .array(values) }
        repeat {
            values.append(try value(depth: depth + 1))
            skipSpace()
        } while take(",")
        guard take("]") else { throw fault("a list has no end") }
        return .array(values)
    }

    private mutating func word(_ word: String, _ value: JSONValue) throws(Fault) -> JSONValue {
        guard bytes[at...].starts(with: word.utf8) else { throw fault("it is not JSON") }
        at += word.utf8.count
        return value
    }
}

// MARK: numbers

extension StrictJSON {
    private mutating func number() throws(Fault) -> JSONValue {
        let start = at
        _ = take("-")
        let first = at
        guard digits() > 0, bytes[first] != UInt8(ascii: "0") || at == first + 1 else { throw fault("it is not JSON") }
        var isWhole = true
        if take(".") {
            isWhole = false
            guard digits() > 0 else { throw fault("a number has no digit behind its point") }
        }
        if take("e") || take("E") {
            isWhole = false
            if !take("-") { _ = take("+") }
            guard digits() > 0 else { throw fault("a number has no exponent") }
        }
        guard at - start <= 64 else { throw fault("a number is too long") }
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        if isWhole, let value = Int64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw fault("a number is too large") }
        return .number(value)
    }

    private mutating func digits() -> Int {
        let first = at
        while let next = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(next) { at += 1 }
        return at - first
    }
}

// MARK: strings

extension StrictJSON {
    private mutating func string() throws(Fault) -> String {
        let start = at
        var out: [UInt8] = []
        at += 1
        while let next = peek, next != UInt8(ascii: "\"") {
            guard next >= 0x20 else { throw fault("a string holds a control character") }
            at += 1
            if next == UInt8(ascii: "\\") { try escape(into: &out) } else { out.append(next) }
        }
        guard take("\"") else { throw fault("a string has no end") }
        // A NUL ends text in C.
        guard !out.contains(0), let text = String(validating: out, as: UTF8.self) else {
            throw Fault(words: "a string is not UTF-8, or holds U+0000", offset: start)
        }
        return text
    }

    private mutating func escape(into out: inout [UInt8]) throws(Fault) {
        guard let next = peek else { throw fault("a string has no end") }
        at += 1
        switch next {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(next)
        case UInt8(ascii: "b"): out.append(0x08)
        case UInt8(ascii: "f"): out.append(0x0c)
        case UInt8(ascii: "n"): out.append(0x0a)
        case UInt8(ascii: "r"): out.append(0x0d)
        case UInt8(ascii: "t"): out.append(0x09)
        case UInt8(ascii: "u"): out.append(contentsOf: String(try scalar()).utf8)
        default: throw fault("a string holds an unknown escape")
        }
    }

    private mutating func scalar() throws(Fault) -> Unicode.Scalar {
        var code = try unit()
        if (0xd800..<0xdc00).contains(code), take("\\"), take("u") {
            let low = try unit()
            guard (0xdc00..<0xe000).contains(low) else { throw fault("half of a surrogate pair is missing") }
            code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw fault("half of a surrogate pair is missing") }
        return scalar
    }

    private mutating func unit() throws(Fault) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let next = peek, let digit = Character(Unicode.Scalar(next)).hexDigitValue, next < 0x80 else {
                throw fault("a string holds an unknown escape")
            }
            code = code << 4 | UInt32(digit)
            at += 1
        }
        return code
    }
}

// MARK: places

extension StrictJSON {
    private var peek: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard peek == UInt8(ascii: character) else { return false }
        at += 1
        return true
    }

    private mutating func skipSpace() {
        while let next = peek, next == 0x20 || next == 0x09 || next == 0x0a || next == 0x0d { at += 1 }
    }

    private func fault(_ words: String) -> Fault { Fault(words: words, offset: at) }
}
