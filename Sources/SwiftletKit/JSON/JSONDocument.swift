// One parsed text: owns the nodes that simdjson made of it and answers what a decoder asks about a place in it.
internal import CSimdJSON

/// A value of a document: the index of its node.
typealias JSONPlace = UInt32

// SAFETY: the nodes live as long as `parser`, so as long as this object; a place is only had from `root`, `next`,
// `field` and `fields`, which stay inside of them.
@safe final class JSONDocument {
    /// Containers inside containers that a text may have; as Foundation's decoder.
    private static let maxDepth: UInt32 = 512

    let root: JSONPlace
    private let parser: OpaquePointer
    private let nodes: UnsafePointer<csimdjson_node>

    init(parsing bytes: UnsafeRawBufferPointer) throws {
        guard let parser = unsafe csimdjson_new() else { throw Self.corrupted("out of memory for a parser") }
        // The parser takes containers only: anything else is the one element of an array.
        let first = unsafe bytes.first { !" \n\r\t".utf8.contains($0) }
        let isContainer = first == UInt8(ascii: "{") || first == UInt8(ascii: "[")
        do {
            unsafe nodes =
                isContainer
                ? try unsafe Self.parse(parser, bytes, shift: 0) : try unsafe Self.parseScalar(parser, bytes)
        } catch {
            unsafe csimdjson_free(parser)
            throw error
        }
        unsafe self.parser = unsafe parser
        root = isContainer ? 0 : 1
    }

    deinit { unsafe csimdjson_free(parser) }

    private static func parse(
        _ parser: OpaquePointer, _ bytes: UnsafeRawBufferPointer, shift: Int
    ) throws -> UnsafePointer<csimdjson_node> {
        let none: StaticString = ""
        var failure = unsafe csimdjson_failure(
            offset: 0, message: UnsafeRawPointer(none.utf8Start).assumingMemoryBound(to: CChar.self))
        let start = unsafe bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        let nodes = unsafe csimdjson_parse(parser, start, bytes.count, maxDepth, UInt32.max, &failure)
        if let nodes = unsafe nodes { return unsafe nodes }
        throw unsafe corrupted("\(String(cString: failure.message)), at byte \(max(0, Int(failure.offset) - shift))")
    }

    private static func parseScalar(
        _ parser: OpaquePointer, _ bytes: UnsafeRawBufferPointer
    ) throws -> UnsafePointer<csimdjson_node> {
        let wrapped = unsafe [UInt8(ascii: "[")] + Array(bytes) + [UInt8(ascii: "]")]
        let nodes = try unsafe wrapped.withUnsafeBytes { try unsafe parse(parser, $0, shift: 1) }
        switch unsafe nodes[0].count {
        case 0: throw corrupted("empty")
        case 1: return unsafe nodes
        default: throw corrupted("more text behind the document")
        }
    }

    private static func corrupted(_ cause: String) -> DecodingError {
        .dataCorrupted(.init(codingPath: [], debugDescription: "the text is not valid JSON: \(cause)"))
    }

    // MARK: one value

    func kind(_ place: JSONPlace) -> Int { Int(unsafe nodes[Int(place)].kind) }

    /// What a person calls the kind of a value.
    func kindName(_ place: JSONPlace) -> String {
        switch kind(place) {
        case CSIMDJSON_NULL: "null"
        case CSIMDJSON_FALSE, CSIMDJSON_TRUE: "a boolean"
        case CSIMDJSON_STRING: "a string"
        case CSIMDJSON_ARRAY: "an array"
        case CSIMDJSON_OBJECT: "an object"
        default: "a number"
        }
    }

    func isNull(_ place: JSONPlace) -> Bool { kind(place) == CSIMDJSON_NULL }

    func bool(_ place: JSONPlace) -> Bool? {
        switch kind(place) {
        case CSIMDJSON_FALSE: false
        case CSIMDJSON_TRUE: true
        default: nil
        }
    }

    func string(_ place: JSONPlace) -> String? {
        kind(place) == CSIMDJSON_STRING ? unsafe Self.text(nodes[Int(place)].text, nodes[Int(place)].text_size) : nil
    }

    /// Any number; always finite.
    func number(_ place: JSONPlace) -> Double? {
        isNumber(place) ? unsafe nodes[Int(place)].number : nil
    }

    /// A number that fits 64 bits and was written without a fraction.
    func integer(_ place: JSONPlace) -> Int64? {
        kind(place) == CSIMDJSON_INTEGER ? unsafe nodes[Int(place)].integer : nil
    }

    /// A number as it was written.
    func digits(_ place: JSONPlace) -> String? {
        isNumber(place) ? unsafe Self.text(nodes[Int(place)].text, nodes[Int(place)].text_size) : nil
    }

    private func isNumber(_ place: JSONPlace) -> Bool {
        kind(place) == CSIMDJSON_INTEGER || kind(place) == CSIMDJSON_NUMBER
    }

    // MARK: containers

    func isArray(_ place: JSONPlace) -> Bool { kind(place) == CSIMDJSON_ARRAY }
    func isObject(_ place: JSONPlace) -> Bool { kind(place) == CSIMDJSON_OBJECT }
    func count(_ place: JSONPlace) -> Int { Int(unsafe nodes[Int(place)].count) }

    /// The value behind this one, in the same container.
    func next(_ place: JSONPlace) -> JSONPlace { unsafe nodes[Int(place)].next }

    /// The field of that name; of several the last one.
    func field(_ name: String, of object: JSONPlace) -> JSONPlace? {
        var name = name
        return name.withUTF8 { wanted in
            var found: JSONPlace?
            var child = object + 1
            for _ in 0..<count(object) {
                let key = unsafe UnsafeRawBufferPointer(
                    start: nodes[Int(child)].key, count: Int(nodes[Int(child)].key_size))
                if unsafe key.elementsEqual(wanted) { found = child }
                child = next(child)
            }
            return found
        }
    }

    /// All names, as they stand.
    func fields(of object: JSONPlace) -> [(name: String, place: JSONPlace)] {
        var child = object + 1
        return (0..<count(object)).map { _ in
            defer { child = next(child) }
            return (unsafe Self.text(nodes[Int(child)].key, nodes[Int(child)].key_size), child)
        }
    }

    private static func text(_ start: UnsafePointer<CChar>?, _ size: UInt32) -> String {
        let bytes = unsafe UnsafeRawBufferPointer(start: start, count: Int(size))
        return unsafe String(decoding: bytes, as: UTF8.self)
    }
}
