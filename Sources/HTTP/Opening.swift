// Tells HTTP/2's preface from HTTP/1 by a connection's first bytes.

struct Opening {
    struct Start {
        let isHTTP2: Bool
        /// How many of the bytes last added are part of what was held.
        let used: Int
    }

    private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    private var held: [UInt8] = []

    var isEmpty: Bool { held.isEmpty }

    /// Nil while it can't be told yet.
    mutating func add(_ bytes: UnsafeRawBufferPointer) -> Start? {
        var used = 0
        while used < bytes.count && held.count < Self.preface.count {
            guard unsafe bytes[used] == Self.preface[held.count] else { return Start(isHTTP2: false, used: used) }
            unsafe held.append(bytes[used])
            used += 1
        }
        return held.count == Self.preface.count ? Start(isHTTP2: true, used: used) : nil
    }

    mutating func take() -> [UInt8] {
        defer { held = [] }
        return held
    }
}
