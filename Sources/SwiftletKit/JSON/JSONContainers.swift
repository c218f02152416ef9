// What a decoder sees of an object and of an array.

struct JSONFields<Key: CodingKey>: KeyedDecodingContainerProtocol {
    /// Objects with more fields get an index: looking at each is quicker before, quadratic after.
    private static var searched: Int { 16 }

    private let value: JSONValueDecoder
    private let index: [String: JSONPlace]

    init(_ value: JSONValueDecoder) {
        self.value = value
        index =
            value.document.count(value.place) <= Self.searched
            ? [:]
            : Dictionary(value.document.fields(of: value.place).map { ($0.name, $0.place) }) { _, last in last }
    }

    var codingPath: [any CodingKey] { value.codingPath }

    var allKeys: [Key] { value.document.fields(of: value.place).compactMap { Key(stringValue: $0.name) } }

    func contains(_ key: Key) -> Bool { find(key) != nil }

    private func find(_ key: some CodingKey) -> JSONPlace? {
        index.isEmpty ? value.document.field(key.stringValue, of: value.place) : index[key.stringValue]
    }

    private func at(_ key: some CodingKey) throws -> JSONValueDecoder {
        guard let place = find(key) else {
            throw DecodingError.keyNotFound(
                key, .init(codingPath: codingPath, debugDescription: "no field is called \"\(key.stringValue)\""))
        }
        return value.below(key, at: place)
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> {
        try at(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer { try at(key).elements() }
    func superDecoder() throws -> any Decoder { try at(JSONKey.super) }
    func superDecoder(forKey key: Key) throws -> any Decoder { try at(key) }

    func decodeNil(forKey key: Key) throws -> Bool { try at(key).decodeNil() }
    func decode(_: Bool.Type, forKey key: Key) throws -> Bool { try at(key).bool() }
    func decode(_: String.Type, forKey key: Key) throws -> String { try at(key).string() }
    func decode(_: Double.Type, forKey key: Key) throws -> Double { try at(key).double() }
    func decode(_: Float.Type, forKey key: Key) throws -> Float { try at(key).float() }
    func decode(_: Int.Type, forKey key: Key) throws -> Int { try at(key).integer() }
    func decode(_: Int8.Type, forKey key: Key) throws -> Int8 { try at(key).integer() }
    func decode(_: Int16.Type, forKey key: Key) throws -> Int16 { try at(key).integer() }
    func decode(_: Int32.Type, forKey key: Key) throws -> Int32 { try at(key).integer() }
    func decode(_: Int64.Type, forKey key: Key) throws -> Int64 { try at(key).integer() }
    func decode(_: Int128.Type, forKey key: Key) throws -> Int128 { try at(key).integer() }
    func decode(_: UInt.Type, forKey key: Key) throws -> UInt { try at(key).integer() }
    func decode(_: UInt8.Type, forKey key: Key) throws -> UInt8 { try at(key).integer() }
    func decode(_: UInt16.Type, forKey key: Key) throws -> UInt16 { try at(key).integer() }
    func decode(_: UInt32.Type, forKey key: Key) throws -> UInt32 { try at(key).integer() }
    func decode(_: UInt64.Type, forKey key: Key) throws -> UInt64 { try at(key).integer() }
    func decode(_: UInt128.Type, forKey key: Key) throws -> UInt128 { try at(key).integer() }
    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value { try at(key).read(type) }
}

struct JSONElements: UnkeyedDecodingContainer {
    private let value: JSONValueDecoder
    private var place: JSONPlace
    private(set) var currentIndex = 0

    init(_ value: JSONValueDecoder) {
        self.value = value
        place = value.place + 1
    }

    var codingPath: [any CodingKey] { value.codingPath }
    var count: Int? { value.document.count(value.place) }
    var isAtEnd: Bool { currentIndex == value.document.count(value.place) }

    /// Reads one element; a failed one stays the next.
    private mutating func take<Value>(_ read: (JSONValueDecoder) throws -> Value) throws -> Value {
        guard !isAtEnd else {
            throw DecodingError.valueNotFound(
                Value.self,
                .init(codingPath: codingPath, debugDescription: "the array has only \(currentIndex) elements"))
        }
        let result = try read(value.below(JSONKey(index: currentIndex), at: place))
        skip()
        return result
    }

    private mutating func skip() {
        place = value.document.next(place)
        currentIndex += 1
    }

    mutating func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type
    ) throws -> KeyedDecodingContainer<Nested> {
        try take { try $0.container(keyedBy: type) }
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer { try take { try $0.elements() } }
    mutating func superDecoder() throws -> any Decoder { try take { $0 } }

    mutating func decodeNil() throws -> Bool {
        guard !isAtEnd, value.document.isNull(place) else { return false }
        skip()
        return true
    }

    mutating func decode(_: Bool.Type) throws -> Bool { try take { try $0.bool() } }
    mutating func decode(_: String.Type) throws -> String { try take { try $0.string() } }
    mutating func decode(_: Double.Type) throws -> Double { try take { try $0.double() } }
    mutating func decode(_: Float.Type) throws -> Float { try take { try $0.float() } }
    mutating func decode(_: Int.Type) throws -> Int { try take { try $0.integer() } }
    mutating func decode(_: Int8.Type) throws -> Int8 { try take { try $0.integer() } }
    mutating func decode(_: Int16.Type) throws -> Int16 { try take { try $0.integer() } }
    mutating func decode(_: Int32.Type) throws -> Int32 { try take { try $0.integer() } }
    mutating func decode(_: Int64.Type) throws -> Int64 { try take { try $0.integer() } }
    mutating func decode(_: Int128.Type) throws -> Int128 { try take { try $0.integer() } }
    mutating func decode(_: UInt.Type) throws -> UInt { try take { try $0.integer() } }
    mutating func decode(_: UInt8.Type) throws -> UInt8 { try take { try $0.integer() } }
    mutating func decode(_: UInt16.Type) throws -> UInt16 { try take { try $0.integer() } }
    mutating func decode(_: UInt32.Type) throws -> UInt32 { try take { try $0.integer() } }
    mutating func decode(_: UInt64.Type) throws -> UInt64 { try take { try $0.integer() } }
    mutating func decode(_: UInt128.Type) throws -> UInt128 { try take { try $0.integer() } }
    mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try take { try $0.read(type) } }
}
