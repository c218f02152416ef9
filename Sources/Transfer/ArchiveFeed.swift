// An archive that arrives in pieces of any size: bytes in, files out, and never more kept than what came last.
package import Core
internal import PluginHost

package struct ArchiveFeed {
    package enum Event: Equatable {
        case file(name: String, size: UInt64)
        /// Of the file that was announced last.
        case bytes([UInt8])
        case fileEnd
        /// Nothing more can be said before more bytes come.
        case wanting
    }

    private enum State {
        case head
        case body(rest: UInt64, padding: Int)
        case padding(Int)
        /// Behind the end only zeros may follow, so many of them.
        case end(rest: Int)
    }

    private static let longestEnd = 1 << 20

    private var state = State.head
    private var held: [UInt8] = []
    private var at = 0

    package init() {}

    /// True when the archive's end was read.
    package var isComplete: Bool { if case .end = state { true } else { false } }

    package mutating func append(_ bytes: RawSpan) {
        held.removeFirst(at)
        at = 0
        unsafe bytes.withUnsafeBytes { unsafe held.append(contentsOf: $0) }
    }

    package mutating func next() throws(RuntimeError) -> Event {
        while true {
            let have = held.count - at
            switch state {
            case .head:
                guard have >= TarHeader.blockSize else { return .wanting }
                let block = take(TarHeader.blockSize)
                if block.allSatisfy({ $0 == 0 }) {
                    state = .end(rest: Self.longestEnd)
                } else {
                    let (name, size) = try Self.read(block)
                    state = .body(rest: size, padding: TarHeader.padding(size))
                    return .file(name: name, size: size)
                }
            case .body(let rest, let padding):
                guard rest > 0 else {
                    state = .padding(padding)
                    return .fileEnd
                }
                guard have > 0 else { return .wanting }
                let piece = take(Int(min(rest, UInt64(have))))
                state = .body(rest: rest - UInt64(piece.count), padding: padding)
                return .bytes(piece)
            case .padding(let rest):
                guard rest > 0 else {
                    state = .head
                    continue
                }
                guard have > 0 else { return .wanting }
                state = .padding(rest - take(min(rest, have)).count)
            case .end(let rest):
                guard have > 0 else { return .wanting }
                let tail = take(have)
                guard tail.count <= rest, tail.allSatisfy({ $0 == 0 }) else {
                    throw Self.refusal("something follows its end")
                }
                state = .end(rest: rest - tail.count)
            }
        }
    }

    private mutating func take(_ count: Int) -> [UInt8] {
        defer { at += count }
        return Array(held[at..<(at + count)])
    }

    private static func read(_ block: [UInt8]) throws(RuntimeError) -> (name: String, size: UInt64) {
        do throws(RuntimeError) {
            return try TarHeader.read(block)
        } catch {
            throw refusal(error.cause)
        }
    }

    /// What every error about the archive of an export looks like.
    package static func refusal(_ cause: String) -> RuntimeError {
        RuntimeError(
            .badRequest, step: "read the export", cause: cause,
            next: "send a file that `swiftlet tenant export` made; nothing was changed")
    }
}
