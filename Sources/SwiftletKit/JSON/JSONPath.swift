// The way from the root of a document to a value, kept as a chain because only errors ask for it.

final class JSONPath {
    private let key: any CodingKey
    private let parent: JSONPath?

    init(_ key: any CodingKey, below parent: JSONPath?) {
        self.key = key
        self.parent = parent
    }

    static func keys(_ last: JSONPath?) -> [any CodingKey] {
        var keys: [any CodingKey] = []
        var step = last
        while let one = step {
            keys.append(one.key)
            step = one.parent
        }
        return keys.reversed()
    }
}

/// The number of an element, and the name under which a class keeps its superclass.
struct JSONKey: CodingKey {
    static let `super` = JSONKey(stringValue: "super")

    let stringValue: String
    let intValue: Int?

    init(stringValue: String) {
        self.stringValue = stringValue
        intValue = nil
    }

    init(intValue: Int) {
        stringValue = "Index \(intValue)"
        self.intValue = intValue
    }

    init(index: Int) { self.init(intValue: index) }
}
