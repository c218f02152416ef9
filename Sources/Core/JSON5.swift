// Text to JSONValue, with bounds on size and depth; the only file of Core that uses Foundation.
internal import FoundationEssentials

package enum JSON5 {
    package static let largest = 64 << 10
    package static let deepest = 16

    /// - Parameter step: opens the error, e.g. "manifest swiftlet.json5".
    package static func decode(_ bytes: [UInt8], step: String) throws(RuntimeError) -> JSONValue {
        guard bytes.count <= largest else {
            throw RuntimeError(
                .manifestInvalid, step: step, cause: "the text has \(bytes.count) bytes, the limit is \(largest)",
                next: "shorten it; data belongs into files beside it")
        }
        guard String(validating: bytes, as: UTF8.self) != nil else {
            throw RuntimeError(
                .manifestInvalid, step: step, cause: "the text is not UTF-8", next: "save the file as UTF-8")
        }
        let decoder = JSONDecoder()
        decoder.allowsJSON5 = true
        do {
            return try decoder.decode(JSONValue.self, from: Data(bytes))
        } catch {
            throw RuntimeError(
                .manifestInvalid, step: step, cause: words(for: error), next: "correct the text at that place")
        }
    }

    private static func words(for error: any Error) -> String {
        guard let error = error as? DecodingError else { return "the text is not JSON5" }
        switch error {
        case .dataCorrupted(let context), .typeMismatch(_, let context), .valueNotFound(_, let context),
            .keyNotFound(_, let context):
            if let own = context.underlyingError as? Refusal { return own.words }
            if let place = place(of: context.underlyingError) { return "the text is not JSON5: \(place)" }
            return "the text is not JSON5: \(context.debugDescription)"
        @unknown default:
            return "the text is not JSON5"
        }
    }

    /// The parser's own sentence, such as "Unexpected character '}' around line 3, column 5."
    private static func place(of error: (any Error)?) -> String? {
        guard let error = error as? CocoaError else { return nil }
        // SAFETY: only a dictionary of this error is read; the library marks the property, not the access.
        return unsafe error.userInfo["NSDebugDescription"] as? String
    }
}

/// A value that JSON5 can write and a manifest can't hold.
private struct Refusal: Error {
    let words: String
}

private struct AnyKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

extension JSONValue: Decodable {
    package init(from decoder: any Decoder) throws {
        guard decoder.codingPath.count < JSON5.deepest else {
            throw Self.refuse(decoder, "values are nested more than \(JSON5.deepest) deep")
        }
        if let container = try? decoder.container(keyedBy: AnyKey.self) {
            var members: [String: JSONValue] = [:]
            for key in container.allKeys {
                members[key.stringValue] = try container.decode(JSONValue.self, forKey: key)
            }
            self = .object(members)
        } else if var container = try? decoder.unkeyedContainer() {
            var values: [JSONValue] = []
            while !container.isAtEnd { values.append(try container.decode(JSONValue.self)) }
            self = .array(values)
        } else {
            self = try Self.scalar(decoder)
        }
    }

    private static func scalar(_ decoder: any Decoder) throws -> JSONValue {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() { return .null }
        if let value = try? container.decode(Bool.self) { return .bool(value) }
        if let value = try? container.decode(String.self) { return .string(value) }
        if let value = try? container.decode(Int64.self) { return .integer(value) }
        guard let value = try? container.decode(Double.self), value.isFinite else {
            throw refuse(decoder, "a number is not finite or too large")
        }
        return .number(value)
    }

    private static func refuse(_ decoder: any Decoder, _ words: String) -> DecodingError {
        let path = decoder.codingPath.map(\.stringValue).joined(separator: ".")
        return .dataCorrupted(
            DecodingError.Context(
                codingPath: decoder.codingPath, debugDescription: words,
                underlyingError: Refusal(words: path.isEmpty ? words : "\(words), at \(path)")))
    }
}
