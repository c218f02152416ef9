// Header fields in order, found without regard to case.

public struct Headers: Sendable, Sequence, ExpressibleByDictionaryLiteral {
    public struct Field: Sendable, Equatable {
        public var name: String
        public var value: String

        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    package var fields: [Field]

    public init() { fields = [] }
    public init(_ fields: [Field]) { self.fields = fields }
    public init(dictionaryLiteral elements: (String, String)...) { fields = elements.map { Field($0.0, $0.1) } }

    /// The first value of `name`. Setting replaces every field of that name; nil removes them.
    public subscript(_ name: String) -> String? {
        get { fields.first { same($0.name, name) }?.value }
        set {
            fields.removeAll { same($0.name, name) }
            if let newValue { fields.append(Field(name, newValue)) }
        }
    }

    /// Every value of `name`, in order.
    public func values(_ name: String) -> [String] { fields.filter { same($0.name, name) }.map(\.value) }

    /// Adds a field and keeps those that have the same name, as `set-cookie` needs it.
    public mutating func add(_ name: String, _ value: String) { fields.append(Field(name, value)) }

    public var isEmpty: Bool { fields.isEmpty }
    public var count: Int { fields.count }
    public func makeIterator() -> IndexingIterator<[Field]> { fields.makeIterator() }
}

/// ASCII case does not matter in header names, and other letters do not occur in them.
private func same(_ left: String, _ right: String) -> Bool {
    left.utf8.count == right.utf8.count && zip(left.utf8, right.utf8).allSatisfy { lower($0) == lower($1) }
}

private func lower(_ byte: UInt8) -> UInt8 { (65...90).contains(byte) ? byte | 0x20 : byte }
