// The Kit's JSON against Foundation's coders: the same values, the same text, the same refusals.
internal import Foundation
internal import SwiftletKit
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func foundation<Value: Decodable>(_ type: Value.Type, _ text: String) -> Value? {
    try? JSONDecoder().decode(type, from: Data(text.utf8))
}

private func ours<Value: Decodable>(_ type: Value.Type, _ text: String) -> Value? {
    try? JSON.decode(type, from: bytes(text))
}

private enum Shape: Codable, Equatable {
    case circle(radius: Double)
    case none
    case polygon([Point], closed: Bool?)
    struct Point: Codable, Equatable {
        var x: Int8, y: UInt16
    }
}

private struct Everything: Codable, Equatable {
    var text = "a\"\\/\u{8}\u{c}\n\r\t\u{1}\u{1f} ä 🎈 \u{2028}"
    var small: Int8 = -128
    var big: UInt64 = .max
    var low: Int64 = .min
    var number = -0.1
    var float: Float = 3.4e38
    var truth = true
    var missing: Int?
    var present: String? = "here"
    var list: [[Int?]] = [[1, nil], [], [3]]
    var map: [String: [Double]] = ["b": [1, 2.5], "a": [1e300, .leastNonzeroMagnitude]]
    var numbered: [Int: String] = [3: "three", -1: "minus"]
    var date = Date(timeIntervalSinceReferenceDate: 700_000_000.25)
    var data = Data([0, 1, 255])
    var url = URL(string: "https://example.org/a?b=c")
    var money = Decimal(string: "12345678901234567890.0123456789")
    var shapes: [Shape] = [.circle(radius: 1), .none, .polygon([.init(x: -1, y: 65535)], closed: nil)]
    var identity = UUID(uuidString: "E621E1F8-C36C-495A-93FC-0C247A3E6E5F")
}

private class Base: Codable {
    var base = 1
}

private final class Derived: Base {
    var own = "x"
    enum Keys: String, CodingKey { case own, nested, list }
    enum Inner: String, CodingKey { case deep }

    override init() { super.init() }

    required init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Keys.self)
        own = try fields.decode(String.self, forKey: .own)
        let deep = try fields.nestedContainer(keyedBy: Inner.self, forKey: .nested).decode(Int.self, forKey: .deep)
        var list = try fields.nestedUnkeyedContainer(forKey: .list)
        guard try list.decodeNil(), try list.decode(Int.self) == deep, list.isAtEnd else {
            throw DecodingError.dataCorrupted(.init(codingPath: [], debugDescription: "list"))
        }
        try super.init(from: fields.superDecoder())
    }

    override func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: Keys.self)
        // Filled after their parent has gone on: containers are places, not streams.
        var inner = fields.nestedContainer(keyedBy: Inner.self, forKey: .nested)
        var list = fields.nestedUnkeyedContainer(forKey: .list)
        try list.encodeNil()
        try fields.encode(own, forKey: .own)
        try super.encode(to: fields.superEncoder())
        try inner.encode(7, forKey: .deep)
        try list.encode(7)
    }
}

@Suite struct KitJSON {
    @Test func everyTypeGoesRoundAndReadsAsFoundationWrites() throws {
        let value = Everything()
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let theirs = try encoder.encode(value)
        let mine = try JSON.encode(value)
        #expect(try JSON.decode(Everything.self, from: mine) == value)
        #expect(try JSON.decode(Everything.self, from: [UInt8](theirs)) == value)
        #expect(try JSONDecoder().decode(Everything.self, from: Data(mine)) == value)
        let object = try JSONSerialization.jsonObject(with: Data(mine)) as? NSDictionary
        #expect(object == (try JSONSerialization.jsonObject(with: theirs) as? NSDictionary))
    }

    @Test func textIsWhatFoundationWrites() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        func same(_ value: some Encodable) throws {
            #expect(
                String(decoding: try JSON.encode(value), as: UTF8.self)
                    == String(decoding: try encoder.encode(value), as: UTF8.self))
        }
        try same(["z": 1.0, "a": 2.5, "Z": -0.0, "é": 100, "10": 1e15, "9": 123_456_789.125])
        try same([Int?.none, 1])
        try same(Everything().text)
        try same(["/": [[String: Int]()]])
        try same(Derived())
        try same(true)
        try same(UInt64.max)
        try same([Float(0.1), 16_777_216])
        try same(Shape.polygon([], closed: true))
    }

    @Test func classesKeepTheirSuperclassAndNestedContainers() throws {
        let text = try JSON.encode(Derived())
        #expect(
            String(decoding: text, as: UTF8.self)
                == #"{"list":[null,7],"nested":{"deep":7},"own":"x","super":{"base":1}}"#)
        let back = try JSON.decode(Derived.self, from: text)
        #expect(back.own == "x" && back.base == 1)
    }

    @Test(arguments: [
        "0", "-0", "1.0", "1e2", "1.5", "127", "128", "-129", "255", "256", "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615", "18446744073709551616", "1e400", "01", "+1", "1.", ".5", "true", "\"1\"", "null", "[1]",
        "{}", "",
        " ", "1 2", "1,2", "1]", "[1", "1],[2", "nul", "NaN", "-", "\"a", "3.5e38", "1e39", "\t7\n", "0x10",
    ])
    func numbersAreTakenAndRefusedAsFoundationDoes(text: String) {
        #expect(ours(Int8.self, text) == foundation(Int8.self, text))
        #expect(ours(UInt8.self, text) == foundation(UInt8.self, text))
        #expect(ours(Int.self, text) == foundation(Int.self, text))
        #expect(ours(UInt64.self, text) == foundation(UInt64.self, text))
        #expect(ours(Double.self, text) == foundation(Double.self, text))
        #expect(ours(Float.self, text) == foundation(Float.self, text))
        #expect(ours(Bool.self, text) == foundation(Bool.self, text))
        #expect(ours([Int].self, text) == foundation([Int].self, text))
        #expect(ours(Int?.self, text) == foundation(Int?.self, text))
        #expect(ours(String.self, text) == foundation(String.self, text))
    }

    @Test(arguments: [
        #""\u00e4\ud83c\udf88\/""#, #""\ud800""#, #""\x""#, "\"\u{1}\"", #""\u0000""#, "\"tab\t\"", "\"\u{7f}\"",
        "\"e\u{301}\"",
    ])
    func stringsAreTakenAndRefusedAsFoundationDoes(text: String) {
        #expect(ours(String.self, text) == foundation(String.self, text))
        #expect(ours([String: Int].self, "{\(text):1}") == foundation([String: Int].self, "{\(text):1}"))
    }

    @Test func invalidUTF8IsRefused() {
        #expect(throws: DecodingError.self) { try JSON.decode(String.self, from: [0x22, 0xff, 0x22]) }
        #expect(throws: DecodingError.self) { try JSON.decode([Int].self, from: [0x5b, 0x31, 0xff, 0x5d]) }
    }

    @Test func nestingIsBounded() {
        func nested(_ depth: Int) -> [UInt8] {
            bytes(String(repeating: "[", count: depth) + String(repeating: "]", count: depth))
        }
        struct Anything: Decodable {
            init(from decoder: any Decoder) throws {
                var list = try decoder.unkeyedContainer()
                while !list.isAtEnd { _ = try list.decode(Anything.self) }
            }
        }
        #expect(throws: Never.self) { _ = try JSON.decode(Anything.self, from: nested(500)) }
        #expect(throws: DecodingError.self) { _ = try JSON.decode(Anything.self, from: nested(600)) }
        #expect(throws: DecodingError.self) { _ = try JSON.decode(Anything.self, from: nested(1_000_000)) }
    }

    @Test func largeObjectsAndRepeatedNames() throws {
        let large = Dictionary(uniqueKeysWithValues: (0..<20_000).map { ("key-\($0)", $0) })
        #expect(try JSON.decode([String: Int].self, from: try JSON.encode(large)) == large)
        #expect(ours([String: Int].self, #"{"a":1,"b":2,"a":3}"#) == ["a": 3, "b": 2])
        struct Twice: Encodable {
            enum Keys: String, CodingKey { case a, b }
            func encode(to encoder: any Encoder) throws {
                var fields = encoder.container(keyedBy: Keys.self)
                try fields.encode(1, forKey: .a)
                try fields.encode(2, forKey: .b)
                try fields.encode(3, forKey: .a)
            }
        }
        #expect(String(decoding: try JSON.encode(Twice()), as: UTF8.self) == #"{"a":3,"b":2}"#)
    }

    @Test func errorsNameThePlace() {
        func words<Value: Decodable>(_ type: Value.Type, _ text: String) -> String {
            switch Result(catching: { try JSON.decode(type, from: bytes(text)) }) {
            case .success: return "taken"
            case .failure(let error): return describe(error)
            }
        }
        struct Order: Decodable {
            let items: [Shape.Point]
        }
        #expect(words(Order.self, #"{"items":[{"x":1,"y":2},{"x":1}]}"#) == "items.[1].y is missing")
        #expect(words(Order.self, #"{"items":[{"x":1,"y":"2"}]}"#) == "items.[0].y is not UInt16")
        #expect(words(Order.self, #"{"items":[null]}"#) == "items.[0] must not be null")
        #expect(
            words(Order.self, #"{"items":[{"x":200,"y":2}]}"#) == "items.[0].x the number 200 does not fit Int8")
        #expect(words(Order.self, #"{"items":[}"#).hasPrefix("the text is not valid JSON: "))
        #expect(throws: EncodingError.self) { try JSON.encode([Double.nan]) }
        #expect(throws: EncodingError.self) { try JSON.encode(-Float.infinity) }
        struct Nothing: Encodable {
            func encode(to encoder: any Encoder) {}
        }
        #expect(throws: EncodingError.self) { try JSON.encode(Nothing()) }
    }
}
