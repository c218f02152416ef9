// What a handler answers: whole at once, or written bit by bit; next: ResponseWriter.swift.

public struct Response: Sendable {
    /// 200 to 599.
    public var status: Int
    /// `content-length`, `transfer-encoding`, `connection` and `date` belong to the host and are ignored.
    public var headers: Headers
    package let body: Body

    package enum Body: Sendable {
        case text(String)
        case bytes([UInt8])
        case stream(@Sendable (ResponseWriter) async throws -> Void)
    }

    /// Text, as `text/plain` unless the headers say otherwise.
    public init(text: String, status: Int = 200, headers: Headers = [:]) {
        self.init(status: status, headers: headers, type: "text/plain; charset=utf-8", body: .text(text))
    }

    /// Any encodable value as `application/json`.
    public init(json value: some Encodable, status: Int = 200, headers: Headers = [:]) throws {
        self.init(status: status, headers: headers, type: "application/json", body: .bytes(try JSON.encode(value)))
    }

    /// Bytes, as `application/octet-stream` unless the headers say otherwise.
    public init(bytes: [UInt8], status: Int = 200, headers: Headers = [:]) {
        self.init(status: status, headers: headers, type: "application/octet-stream", body: .bytes(bytes))
    }

    /// A status without a body.
    public init(status: Int, headers: Headers = [:]) {
        self.status = status
        self.headers = headers
        body = .bytes([])
    }

    /// An answer that is written while it is made; the head goes out with its first byte.
    public static func stream(
        status: Int = 200, headers: Headers = [:], _ write: @escaping @Sendable (ResponseWriter) async throws -> Void
    ) -> Response {
        Response(status: status, headers: headers, type: "application/octet-stream", body: .stream(write))
    }

    /// A stream of server-sent events: `text/event-stream`, never cached.
    public static func events(
        headers: Headers = [:], _ write: @escaping @Sendable (ResponseWriter) async throws -> Void
    ) -> Response {
        var headers = headers
        if headers["cache-control"] == nil { headers["cache-control"] = "no-cache" }
        return Response(status: 200, headers: headers, type: "text/event-stream; charset=utf-8", body: .stream(write))
    }

    private init(status: Int, headers: Headers, type: String, body: Body) {
        self.status = status
        self.headers = headers
        self.body = body
        if headers["content-type"] == nil { self.headers.add("content-type", type) }
    }
}

/// A refusal that the caller should see as an HTTP status; throw it from anywhere before the answer's first byte.
public struct HTTPError: Error, Sendable, CustomStringConvertible {
    public let status: Int
    public let message: String

    public init(_ status: Int, _ message: String) {
        self.status = status
        self.message = message
    }

    public var description: String { "\(status): \(message)" }

    func response() throws -> Response {
        struct Envelope: Encodable {
            struct Cause: Encodable {
                let type: String
                let message: String
            }
            let error: Cause
        }
        return try Response(json: Envelope(error: .init(type: "function_refused", message: message)), status: status)
    }
}
