// One bounded GET of an issuer's keys, by libcurl.
internal import CCurl

/// What an address answered.
struct KeyAnswer {
    /// 0: nothing came; `words` say why.
    let status: Int
    let words: String
    let body: [UInt8]
    /// What `cache-control` said, in milliseconds.
    let lifetime: UInt64?

    private final class Received {
        let isClosed: @Sendable () -> Bool
        var body: [UInt8] = []
        var lifetime: UInt64?
        init(isClosed: @escaping @Sendable () -> Bool) { self.isClosed = isClosed }
    }

    /// Waits for the answer.
    init(_ url: String, authorities: String?, timeout milliseconds: Int, isClosed: @escaping @Sendable () -> Bool) {
        let received = Received(isClosed: isClosed)
        var error = [CChar](repeating: 0, count: 256)
        let context = unsafe Unmanaged.passUnretained(received).toOpaque()
        status = unsafe ccurl_fetch(
            url, KeySet.largest, milliseconds, authorities,
            { raw, data, size in
                guard let raw = unsafe raw else { return }
                let received = unsafe Unmanaged<Received>.fromOpaque(raw).takeUnretainedValue()
                unsafe received.body.append(contentsOf: UnsafeRawBufferPointer(start: data, count: size))
            },
            { raw, data, size in
                guard let raw = unsafe raw else { return }
                let line = unsafe String(decoding: UnsafeRawBufferPointer(start: data, count: size), as: UTF8.self)
                guard let lifetime = KeyReader.lifetime(ofHeader: line) else { return }
                unsafe Unmanaged<Received>.fromOpaque(raw).takeUnretainedValue().lifetime = lifetime
            },
            { raw in
                guard let raw = unsafe raw else { return false }
                return unsafe Unmanaged<Received>.fromOpaque(raw).takeUnretainedValue().isClosed()
            }, context, &error)
        words = String(decoding: error.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        body = received.body
        lifetime = received.lifetime
    }
}
