// Where a request body comes from: first the bytes that came with the invocation, then the host.

/// SAFETY: `@unchecked` because a worker has one thread. `lent` points into the invocation; `close` forgets it before
/// `invoke` returns, so a body that a handler kept for later reads as an error and never as freed memory.
@safe package final class BodySource: @unchecked Sendable {
    private var lent: UnsafeRawBufferPointer
    private let invocation: Invocation
    private var hasMore: Bool

    static let chunk = 64 << 10

    init(lent: UnsafeRawBufferPointer, isComplete: Bool, invocation: Invocation) {
        unsafe self.lent = lent
        self.invocation = invocation
        hasMore = !isComplete
    }

    func next() throws -> [UInt8]? {
        try invocation.requireOpen()
        if unsafe !lent.isEmpty {
            let bytes = unsafe [UInt8](lent)
            unsafe lent = UnsafeRawBufferPointer(start: nil, count: 0)
            return bytes
        }
        guard hasMore else { return nil }
        let bytes = try invocation.readBody(upTo: Self.chunk)
        hasMore = !bytes.isEmpty
        return hasMore ? bytes : nil
    }

    func collect(upTo limit: Int) throws -> [UInt8] {
        var whole: [UInt8] = []
        while let bytes = try next() {
            guard whole.count + bytes.count <= limit else { throw Self.tooLarge(limit) }
            if whole.isEmpty { whole = bytes } else { whole += bytes }
        }
        return whole
    }

    /// The body without a copy, where all of it came with the invocation; otherwise nil.
    func takeComplete(upTo limit: Int) -> UnsafeRawBufferPointer? {
        guard !hasMore, invocation.isOpen, unsafe lent.count <= limit else { return nil }
        defer { unsafe lent = UnsafeRawBufferPointer(start: nil, count: 0) }
        return unsafe lent
    }

    func close() { unsafe lent = UnsafeRawBufferPointer(start: nil, count: 0) }

    private static func tooLarge(_ limit: Int) -> HTTPError {
        HTTPError(413, "the request body is larger than the \(limit) bytes this function takes")
    }
}
