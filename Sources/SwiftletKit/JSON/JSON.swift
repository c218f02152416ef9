// JSON in, JSON out, and the words for what was wrong with it; JSONValueDecoder and JSONValueEncoder do the work.

/// Reads and writes JSON as Foundation's coders do with their default strategies, but without asking the runtime about
/// a type's conformances: that costs a new process more than all else of its first call (docs/decisions/0007).
package enum JSON {
    package static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
        try unsafe bytes.withUnsafeBytes { try unsafe decode(type, from: $0) }
    }

    /// Decodes bytes that stay where they are: they are copied before this returns.
    package static func decode<Value: Decodable>(_ type: Value.Type, from bytes: UnsafeRawBufferPointer) throws -> Value
    {
        let document = try unsafe JSONDocument(parsing: bytes)
        return try JSONValueDecoder(document: document, place: document.root, path: nil).read(type)
    }

    /// - Returns: JSON with sorted keys, so that equal values are equal bytes: caches and tests count on it.
    package static func encode(_ value: some Encodable) throws -> [UInt8] {
        guard let output = try JSONValueEncoder.output(of: value, at: nil) else {
            throw EncodingError.invalidValue(
                value, .init(codingPath: [], debugDescription: "\(type(of: value)) encoded nothing"))
        }
        var text = JSONText()
        text.append(output)
        return text.bytes
    }
}

/// An error in words a caller can act on: decoding errors become "path: what was wrong".
package func describe(_ error: any Error) -> String {
    guard let error = error as? DecodingError else { return String(describing: error) }
    switch error {
    case .keyNotFound(let key, let context): return at(context.codingPath + [key]) + "is missing"
    case .valueNotFound(_, let context): return at(context.codingPath) + "must not be null"
    case .typeMismatch(let type, let context): return at(context.codingPath) + "is not \(type)"
    case .dataCorrupted(let context): return at(context.codingPath) + context.debugDescription
    @unknown default: return String(describing: error)
    }
}

private func at(_ path: [any CodingKey]) -> String {
    guard !path.isEmpty else { return "" }
    return path.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".") + " "
}
