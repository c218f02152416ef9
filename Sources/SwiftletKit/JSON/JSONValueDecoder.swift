// Decodes a value of a parsed document, whatever it is; JSONContainers.swift does objects and arrays.
internal import FoundationEssentials

/// A place in a document, ready to be read as any type. Strategies are those Foundation's decoder has by default.
struct JSONValueDecoder: Decoder {
    let document: JSONDocument
    let place: JSONPlace
    let path: JSONPath?

    var codingPath: [any CodingKey] { JSONPath.keys(path) }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard document.isObject(place) else { throw mismatch([String: Any].self, "an object") }
        return KeyedDecodingContainer(JSONFields<Key>(self))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer { try elements() }

    func elements() throws -> JSONElements {
        guard document.isArray(place) else { throw mismatch([Any].self, "an array") }
        return JSONElements(self)
    }

    func singleValueContainer() -> any SingleValueDecodingContainer { self }

    func below(_ key: some CodingKey, at place: JSONPlace) -> JSONValueDecoder {
        JSONValueDecoder(document: document, place: place, path: JSONPath(key, below: path))
    }

    // MARK: reading

    /// Any type. Three of Foundation's are not what their own `init(from:)` would read.
    func read<Value: Decodable>(_ type: Value.Type) throws -> Value {
        if type == Data.self, let value = try base64() as? Value { return value }
        if type == URL.self, let value = try url() as? Value { return value }
        if type == Decimal.self, let value = try decimal() as? Value { return value }
        return try Value(from: self)
    }

    func bool() throws -> Bool {
        guard let value = document.bool(place) else { throw mismatch(Bool.self, "a boolean") }
        return value
    }

    func string() throws -> String {
        guard let value = document.string(place) else { throw mismatch(String.self, "a string") }
        return value
    }

    func double() throws -> Double {
        guard let value = document.number(place) else { throw mismatch(Double.self, "a number") }
        return value
    }

    func float() throws -> Float {
        guard let value = document.number(place) else { throw mismatch(Float.self, "a number") }
        guard Float(value).isFinite else { throw misfit(Float.self) }
        return Float(value)
    }

    func integer<Value: FixedWidthInteger>() throws -> Value {
        if let value = document.integer(place) {
            guard let fits = Value(exactly: value) else { throw misfit(Value.self) }
            return fits
        }
        guard let number = document.number(place) else { throw mismatch(Value.self, "a whole number") }
        // Beyond 64 bits by its digits; 1e3 and 2.0 are whole numbers too.
        if let digits = document.digits(place), let value = Value(digits) { return value }
        guard let value = Value(exactly: number) else { throw misfit(Value.self) }
        return value
    }

    private func base64() throws -> Data {
        guard let data = Data(base64Encoded: try string()) else { throw corrupted("the string is not base64") }
        return data
    }

    private func url() throws -> URL {
        guard let url = URL(string: try string()) else { throw corrupted("the string is not a URL") }
        return url
    }

    private func decimal() throws -> Decimal {
        guard let digits = document.digits(place) else { throw mismatch(Decimal.self, "a number") }
        guard let value = Decimal(string: digits) else { throw misfit(Decimal.self) }
        return value
    }

    // MARK: errors

    func mismatch(_ type: Any.Type, _ wanted: String) -> DecodingError {
        if document.isNull(place) {
            return .valueNotFound(
                type, .init(codingPath: codingPath, debugDescription: "\(wanted) is wanted, not null"))
        }
        let found = document.kindName(place)
        return .typeMismatch(type, .init(codingPath: codingPath, debugDescription: "\(wanted) is wanted, not \(found)"))
    }

    private func misfit(_ type: Any.Type) -> DecodingError {
        corrupted("the number \(document.digits(place) ?? "") does not fit \(type)")
    }

    private func corrupted(_ cause: String) -> DecodingError {
        .dataCorrupted(.init(codingPath: codingPath, debugDescription: cause))
    }
}

extension JSONValueDecoder: SingleValueDecodingContainer {
    func decodeNil() -> Bool { document.isNull(place) }
    func decode(_: Bool.Type) throws -> Bool { try bool() }
    func decode(_: String.Type) throws -> String { try string() }
    func decode(_: Double.Type) throws -> Double { try double() }
    func decode(_: Float.Type) throws -> Float { try float() }
    func decode(_: Int.Type) throws -> Int { try integer() }
    func decode(_: Int8.Type) throws -> Int8 { try integer() }
    func decode(_: Int16.Type) throws -> Int16 { try integer() }
    func decode(_: Int32.Type) throws -> Int32 { try integer() }
    func decode(_: Int64.Type) throws -> Int64 { try integer() }
    func decode(_: Int128.Type) throws -> Int128 { try integer() }
    func decode(_: UInt.Type) throws -> UInt { try integer() }
    func decode(_: UInt8.Type) throws -> UInt8 { try integer() }
    func decode(_: UInt16.Type) throws -> UInt16 { try integer() }
    func decode(_: UInt32.Type) throws -> UInt32 { try integer() }
    func decode(_: UInt64.Type) throws -> UInt64 { try integer() }
    func decode(_: UInt128.Type) throws -> UInt128 { try integer() }
    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try read(type) }
}
