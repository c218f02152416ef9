// The one place that meets FoundationEssentials: JSON in, JSON out, and the words for what was wrong with it.
import FoundationEssentials

package enum JSON {
    package static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
        try JSONDecoder().decode(type, from: Data(bytes))
    }

    /// Decodes bytes that stay where they are: the coder reads them before this returns.
    package static func decode<Value: Decodable>(_ type: Value.Type, from bytes: UnsafeRawBufferPointer) throws -> Value
    {
        guard let base = bytes.baseAddress else { return try JSONDecoder().decode(type, from: Data()) }
        let start = unsafe UnsafeMutableRawPointer(mutating: base)
        let lent = unsafe Data(bytesNoCopy: start, count: bytes.count, deallocator: .none)
        return try JSONDecoder().decode(type, from: lent)
    }

    package static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        // Sorted, so that equal values are equal bytes: caches and tests count on it.
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return [UInt8](try encoder.encode(value))
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
