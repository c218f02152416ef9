// Text to JSONValue, with bounds on size and depth; JSON5Parser reads what is in between.

package enum JSON5 {
    package static let largest = 64 << 10
    package static let deepest = 16

    /// - Parameters:
    ///   - step: opens the error, e.g. "manifest swiftlet.json5".
    ///   - most: how many bytes it may have.
    package static func decode(_ bytes: [UInt8], step: String, most: Int = largest) throws(RuntimeError) -> JSONValue {
        guard bytes.count <= most else {
            throw RuntimeError(
                .manifestInvalid, step: step, cause: "the text has \(bytes.count) bytes, the limit is \(most)",
                next: "shorten it; data belongs into files beside it")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw RuntimeError(
                .manifestInvalid, step: step, cause: "the text is not UTF-8", next: "save the file as UTF-8")
        }
        var parser = JSON5Parser(text)
        do throws(JSON5Parser.Fault) {
            return try parser.parse()
        } catch {
            throw RuntimeError(
                .manifestInvalid, step: step, cause: "\(error.words) at line \(error.line), column \(error.column)",
                next: "correct the text at that place")
        }
    }
}
