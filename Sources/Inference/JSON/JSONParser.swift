// Reads JSON that strangers sent, by simdjson; JSONNode.swift says what a reader can ask.
internal import CSimdJSON

/// Why a text isn't JSON that we take, and at which byte.
package struct JSONFailure: Error, Equatable, CustomStringConvertible {
    package let offset: Int
    package let message: String

    package var description: String { "\(message), at byte \(offset)" }
}

/// Owns the memory of a parse. One loop keeps one parser and uses it again for every body.
// SAFETY: the pointer is made in init, freed in deinit, and only lent out inside `read`.
@safe package struct JSONParser: ~Copyable {
    /// Containers inside containers that a body may have.
    package static let maxDepth = 32
    /// Values a body may have in all.
    package static let maxValues = 100_000

    private let parser: OpaquePointer

    package init() {
        guard let parser = unsafe csimdjson_new() else { fatalError("json: out of memory for a parser") }
        unsafe self.parser = unsafe parser
    }

    deinit { unsafe csimdjson_free(parser) }

    /// Parses `text` and lends its root to `body`; no value may be kept after `body` returns.
    package mutating func read<Result, Failure: Error>(
        _ text: Span<UInt8>, maxValues: Int = Self.maxValues, refuse: (JSONFailure) -> Failure,
        _ body: (JSONNode) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var failure = unsafe csimdjson_failure(offset: 0, message: emptyMessage())
        let nodes = unsafe text.withUnsafeBufferPointer { bytes in
            unsafe csimdjson_parse(
                parser, bytes.baseAddress, bytes.count, UInt32(Self.maxDepth), UInt32(maxValues), &failure)
        }
        guard let nodes = unsafe nodes else {
            throw refuse(
                JSONFailure(offset: unsafe Int(failure.offset), message: unsafe String(cString: failure.message)))
        }
        return try body(unsafe JSONNode(nodes: nodes, index: 0))
    }

    private func emptyMessage() -> UnsafePointer<CChar> {
        let empty: StaticString = ""
        return unsafe UnsafeRawPointer(empty.utf8Start).assumingMemoryBound(to: CChar.self)
    }
}
