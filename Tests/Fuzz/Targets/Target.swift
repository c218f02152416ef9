// What a target is, and the few tools all share; each other file here is one target.

/// One parser under fire. `run` must end the process when an input shows a fault, and leave nothing behind otherwise.
struct Target: Sendable {
    let name: String
    let run: @Sendable ([UInt8]) -> Void

    static let all: [Target] = [
        manifest, chat, schema, messages, responses, bodies, tensors, elf, tar, minisig, transfer, wire, http1, http2,
        tokens,
    ]

    // SAFETY: written once by main.swift, before libFuzzer starts; libFuzzer calls on the same thread.
    nonisolated(unsafe) static var chosen: Target?
}

/// Ends the process with words that say which promise is broken; libFuzzer then keeps the input.
func require(_ holds: Bool, _ promise: @autoclosure () -> String) {
    guard !holds else { return }
    fatalError("BROKEN: \(promise())")
}

/// Reads an input from its front; an empty one gives zeros.
struct Input {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    var isEmpty: Bool { rest.isEmpty }

    mutating func u8() -> UInt8 { rest.popFirst() ?? 0 }

    mutating func u16() -> UInt16 { UInt16(u8()) | UInt16(u8()) << 8 }

    mutating func take(_ count: Int) -> [UInt8] {
        let taken = Array(rest.prefix(count))
        rest = rest.dropFirst(count)
        return taken
    }

    mutating func all() -> [UInt8] { take(rest.count) }
}

/// Cuts bytes into pieces whose sizes follow from the bytes: the same input is always cut in the same way (FNV-1a).
func pieces(of bytes: [UInt8]) -> [ArraySlice<UInt8>] {
    var state = bytes.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    var pieces: [ArraySlice<UInt8>] = []
    var rest = bytes[...]
    // Mostly tiny pieces, and few enough that a long input stays fast.
    while !rest.isEmpty {
        state = (state ^ state >> 29) &* 0x100_0000_01b3
        let size = pieces.count < 64 ? 1 + Int(state >> 40) % 7 : rest.count
        pieces.append(rest.prefix(size))
        rest = rest.dropFirst(size)
    }
    return pieces
}
