// What a plugin author writes: one type that turns a request into a response; next: Request.swift, Response.swift, Context.swift.

/// A function: answers one request at a time.
///
/// One value serves every invocation of a worker process, one after the other, on one thread.
public protocol Handler: Sendable {
    /// Makes the handler of a manifest that needs no configuration. Types without stored properties have it already.
    init() throws

    /// Makes the handler from the manifest's `config`; called once, before the first request. Calls `init()` by default.
    init(configuration: Configuration) throws

    /// Answers one request. A thrown ``HTTPError`` becomes that status; any other error becomes a 502 with its text.
    func respond(to request: Request, context: Context) async throws -> Response
}

extension Handler {
    public init() throws { throw SetupError.noInitializer(String(describing: Self.self)) }

    public init(configuration: Configuration) throws { try self.init() }
}

/// The manifest's `config` object.
public struct Configuration: Sendable {
    /// The object as JSON text; `{}` when the manifest has none.
    public let json: [UInt8]

    package init(json: [UInt8]) { self.json = json.isEmpty ? Array("{}".utf8) : json }

    /// Reads the object as a type of yours; a missing or wrong value is an error that names its path.
    public func decode<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
        do { return try JSON.decode(type, from: json) } catch { throw SetupError.configuration(describe(error)) }
    }
}

/// Why a handler could not be made.
public enum SetupError: Error, CustomStringConvertible {
    case noInitializer(String)
    case configuration(String)

    public var description: String {
        switch self {
        case .noInitializer(let type):
            "\(type) has neither init() nor init(configuration:): give its properties values or write one of the two"
        case .configuration(let cause): "config: \(cause): correct `config` in swiftlet.json5"
        }
    }
}
