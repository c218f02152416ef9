// What the caller sent: address, header fields, body; read by a handler while it answers.

public struct Request: Sendable {
    /// The id that the caller sees and that every log line carries.
    public let id: String
    /// The tenant that owns this function.
    public let tenant: String
    /// The function's name.
    public let function: String
    /// "GET", "POST", …
    public let method: String
    /// What follows /fn/{tenant}/{function}: starts with "/", percent encoding untouched.
    public let path: String
    public let query: Query
    public let headers: Headers
    public let body: RequestBody

    /// The path's parts between slashes, decoded; empty parts are left out.
    public var pathComponents: [String] {
        path[...].utf8.split(separator: UInt8(ascii: "/")).map { percentDecoded($0, plusIsSpace: false) }
    }

    /// Reads the whole body as JSON. What is wrong with it becomes a 400 that names the place.
    public func json<Value: Decodable>(
        _ type: Value.Type = Value.self, upTo limit: Int = RequestBody.defaultLimit
    ) async throws -> Value {
        do {
            return try await body.decode(type, upTo: limit)
        } catch let error as DecodingError {
            throw HTTPError(400, "the request body is not the JSON this function takes: \(describe(error))")
        }
    }
}

/// The body of a request: its chunks as they arrive, or all of it at once. It can be read once.
public struct RequestBody: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    /// What ``collect(upTo:)`` takes when it isn't told otherwise: 8 MiB.
    public static let defaultLimit = 8 << 20

    package let source: BodySource

    public struct Iterator: AsyncIteratorProtocol {
        let source: BodySource
        public mutating func next() async throws -> [UInt8]? { try source.next() }
    }

    public func makeAsyncIterator() -> Iterator { Iterator(source: source) }

    /// The whole body; more than `limit` bytes become a 413.
    public func collect(upTo limit: Int = defaultLimit) async throws -> [UInt8] { try source.collect(upTo: limit) }

    /// The whole body as text; bytes that are not UTF-8 become U+FFFD.
    public func text(upTo limit: Int = defaultLimit) async throws -> String {
        String(decoding: try source.collect(upTo: limit), as: UTF8.self)
    }

    func decode<Value: Decodable>(_ type: Value.Type, upTo limit: Int) async throws -> Value {
        if let lent = unsafe source.takeComplete(upTo: limit) { return try unsafe JSON.decode(type, from: lent) }
        return try JSON.decode(type, from: try source.collect(upTo: limit))
    }
}
