// The head of one request, whatever protocol carried it.
internal import CLinux

package enum HTTPVersion: UInt8, Sendable {
    case http10, http11, http2
}

/// A request without its body. A class, because it is handed on and never changed.
package final class HTTPRequest: Sendable {
    package let method: String
    /// As it was sent: nothing is decoded.
    package let path: String
    /// What follows the `?`, as it was sent; empty when there is none.
    package let query: String
    /// Host and port as the client named them; empty only in HTTP/1.0.
    package let host: String
    package let headers: HTTPHeaders
    package let version: HTTPVersion
    /// The announced length of the body; nil when none is announced. 0 when there is certainly no body.
    package let contentLength: UInt64?
    private let connection: ConnectionFacts

    init(
        method: String, path: String, query: String, host: String, headers: HTTPHeaders, version: HTTPVersion,
        contentLength: UInt64?, connection: ConnectionFacts
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.host = host
        self.headers = headers
        self.version = version
        self.contentLength = contentLength
        self.connection = connection
    }

    /// Who sent it.
    package var peer: HTTPPeer { connection.peer }
    package var peerIsLoopback: Bool { peer.isLoopback }
    package var isTLS: Bool { connection.isTLS }
    /// The host as TLS was told it (SNI), in lower case; nil without TLS, or when the client named none.
    package var serverName: String? { connection.serverName }
    /// What the client showed, verified; nil when it showed nothing.
    package var clientCertificate: ClientCertificate? { connection.clientCertificate }
    /// `host` in lower case and without its port.
    package var hostName: String { HTTP.hostName(host) }
}

/// The other end of a connection.
package struct HTTPPeer: Sendable, CustomStringConvertible {
    private let raw: clinux_peer

    init(_ raw: clinux_peer) { self.raw = raw }

    package var isLoopback: Bool {
        var raw = raw
        return unsafe clinux_peer_is_loopback(&raw) != 0
    }

    /// `127.0.0.1:4242` or `[::1]:4242`
    package var description: String { unsafe written(clinux_peer_text) }

    /// Without the port, and of IPv6 the network of 64 bits: what counts as one sender.
    package var address: String { unsafe written(clinux_peer_network) }

    private func written(_ write: (UnsafePointer<clinux_peer>, UnsafeMutablePointer<CChar>, Int) -> Void) -> String {
        var raw = raw
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { text in
            guard let start = text.baseAddress else { return "" }
            unsafe write(&raw, start, text.count)
            return unsafe String(cString: start)
        }
    }
}

/// A request target taken apart.
struct RequestTarget {
    var path: String
    var query: String
    /// Only in the absolute form, `GET http://host/path`.
    var authority: String?

    /// Nil when it is no target that a server (not a proxy) takes.
    init?(_ raw: UnsafeRawBufferPointer, isOptions: Bool) {
        guard raw.count > 0, unsafe raw.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x23 }) else { return nil }
        var rest = unsafe raw[...]
        if unsafe raw[0] != 0x2f {
            if unsafe raw.count == 1 && raw[0] == 0x2a && isOptions {
                (path, query, authority) = ("*", "", nil)
                return
            }
            guard let split = unsafe Self.authorityEnd(raw) else { return nil }
            authority = unsafe String(decoding: raw[split.start..<split.end], as: UTF8.self)
            unsafe rest = raw[split.end...]
        }
        let mark = unsafe rest.firstIndex(of: 0x3f) ?? rest.endIndex
        path = unsafe mark == rest.startIndex ? "/" : String(decoding: rest[..<mark], as: UTF8.self)
        query = unsafe mark == rest.endIndex ? "" : String(decoding: rest[(mark + 1)...], as: UTF8.self)
    }

    private static func authorityEnd(_ raw: UnsafeRawBufferPointer) -> (start: Int, end: Int)? {
        let prefixes: [StaticString] = ["http://", "https://"]
        for prefix in prefixes where raw.count > prefix.utf8CodeUnitCount {
            let length = prefix.utf8CodeUnitCount
            let matches = (0..<length).allSatisfy { unsafe HTTPHeaders.lowercased(raw[$0]) == prefix.utf8Start[$0] }
            guard matches else { continue }
            let end = unsafe raw[length...].firstIndex { $0 == 0x2f || $0 == 0x3f } ?? raw.count
            return end > length ? (length, end) : nil
        }
        return nil
    }
}

/// True for what may stand in a Host field: a name, an IPv4 address or a bracketed IPv6 address, with or without a port.
func isValidHost(_ host: String) -> Bool {
    let text = host.utf8Span.span
    guard !text.isEmpty else { return false }
    if text[0] == 0x5b {
        guard let close = text.indices.first(where: { text[$0] == 0x5d }) else { return false }
        let inside = text.extracting(1..<close)
        guard !inside.isEmpty, inside.allSatisfy({ isHex($0) || $0 == 0x3a || $0 == 0x2e }) else { return false }
        let rest = text.extracting((close + 1)...)
        return rest.isEmpty || isPort(rest)
    }
    let colon = text.indices.first { text[$0] == 0x3a } ?? text.count
    guard colon == text.count || isPort(text.extracting(colon...)) else { return false }
    return colon > 0 && text.extracting(..<colon).allSatisfy(isInName)
}

private func isPort(_ text: Span<UInt8>) -> Bool {
    text[0] == 0x3a && text.count <= 6 && text.extracting(1...).allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
}

extension Span<UInt8> {
    @inline(__always)
    fileprivate func allSatisfy(_ isFine: (UInt8) -> Bool) -> Bool {
        for index in indices where !isFine(self[index]) { return false }
        return true
    }
}

private func isHex(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x46, 0x61...0x66: true
    default: false
    }
}

/// RFC 3986: unreserved, percent, sub-delims.
private func isInName(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x7e: true
    case 0x25, 0x21, 0x24, 0x26...0x2c, 0x3b, 0x3d: true
    default: false
    }
}
