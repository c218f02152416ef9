// Writes the body of a streamed answer; what a `Response.stream` closure is given.

public struct ResponseWriter: Sendable {
    let invocation: Invocation

    /// Hands text to the host, which gathers up to 32 KiB. Waits while the client reads slowly.
    public func write(_ text: String) async throws { try invocation.write(text) }

    /// Hands bytes to the host, which gathers up to 32 KiB. Waits while the client reads slowly.
    public func write(_ bytes: [UInt8]) async throws {
        try unsafe bytes.withUnsafeBytes { try unsafe invocation.write($0) }
    }

    /// Sends at once what was written.
    public func flush() async throws { try invocation.flush() }

    /// Sends one server-sent event at once; a line break in `data` becomes one more `data:` line.
    public func event(data: String, name: String? = nil, id: String? = nil) async throws {
        var text = ""
        if let name { text += "event: \(name)\n" }
        if let id { text += "id: \(id)\n" }
        for line in data.split(separator: "\n", omittingEmptySubsequences: false) { text += "data: \(line)\n" }
        try invocation.write(text + "\n")
        try invocation.flush()
    }

    /// Sends a JSON value as one server-sent event.
    public func event(json value: some Encodable, name: String? = nil, id: String? = nil) async throws {
        try await event(data: String(decoding: try JSON.encode(value), as: UTF8.self), name: name, id: id)
    }
}
