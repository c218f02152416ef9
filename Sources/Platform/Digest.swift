// SHA-256 of whatever is fed to it: files, sets of files, requests.
internal import CDigest

// SAFETY: the pointer is private and used by this one owner only, until it is freed with it.
@safe package struct Digest: ~Copyable {
    private let state: OpaquePointer?

    package init() { unsafe state = cdigest_begin() }

    deinit { unsafe cdigest_free(state) }

    package mutating func add(_ bytes: RawSpan) {
        guard let state = unsafe state else { return }
        _ = unsafe bytes.withUnsafeBytes { unsafe cdigest_add(state, $0.baseAddress, $0.count) }
    }

    package mutating func add(_ text: String) { unsafe add(Array(text.utf8).span.bytes) }

    /// Of a text that is whole.
    package static func words(of text: String) -> (UInt64, UInt64, UInt64, UInt64)? {
        unsafe words(of: text.utf8Span.span.bytes)
    }

    /// Of something whole: 32 bytes, as four numbers. Nil when OpenSSL has no memory.
    package static func words(of whole: RawSpan) -> (UInt64, UInt64, UInt64, UInt64)? {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        let made = unsafe withUnsafeMutableBytes(of: &words) { out in
            unsafe whole.withUnsafeBytes { bytes in
                guard let out = out.baseAddress else { return CInt(0) }
                return unsafe cdigest_once(bytes.baseAddress, bytes.count, out.assumingMemoryBound(to: UInt8.self))
            }
        }
        return made == 1 ? words : nil
    }

    /// 64 hex digits; empty when OpenSSL has no memory.
    package consuming func finish() -> String {
        finishBytes().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// 32 bytes; none when OpenSSL has no memory.
    package consuming func finishBytes() -> [UInt8] {
        guard let state = unsafe state else { return [] }
        var out = [UInt8](repeating: 0, count: 32)
        return unsafe cdigest_finish(state, &out) == 1 ? out : []
    }
}
