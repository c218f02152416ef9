// Decides whether an HTTP/1 head that parsed is a request that may be served; everything ambiguous is refused here.
internal import CLLHTTP

/// An answer that the protocol gives by itself.
struct Refusal: Error {
    let status: Int
    /// Cause and remedy, one line.
    let text: String
}

/// What a head says about its own message, beyond the request.
struct HTTP1Message {
    let request: HTTPRequest
    let hasBody: Bool
    let isChunked: Bool
    let keepsAlive: Bool
    let expectsContinue: Bool
}

/// A head while it comes in. A value of its own, so that the parser's every piece is one access to the session.
struct HTTP1HeadBuffer {
    private(set) var headers = HTTPHeaders()
    private(set) var targetSize = 0
    /// Everything a head took, counted beside what is kept: white space and empty lines cost too.
    var rawSize = 0
    private var isInValue = false

    mutating func appendTarget(_ piece: UnsafeRawBufferPointer, _ limits: HTTPLimits) -> Refusal? {
        if targetSize == 0 { headers.reserve(fields: 16, bytes: 512) }
        targetSize += piece.count
        guard targetSize <= limits.targetBytes else {
            return Refusal(
                status: 414, text: "The request target is too long: the limit is \(limits.targetBytes) bytes.")
        }
        unsafe headers.appendValue(piece)
        return nil
    }

    mutating func appendName(_ piece: UnsafeRawBufferPointer, _ limits: HTTPLimits) -> Refusal? {
        if !isInValue, headers.fields.isEmpty || headers.lastIsComplete { headers.beginField() }
        guard headers.count <= limits.headerCount else {
            return Refusal(
                status: 431, text: "There are too many header fields: the limit is \(limits.headerCount).")
        }
        guard hasRoom(piece.count, limits) else { return Self.tooLarge(limits) }
        unsafe headers.appendName(piece)
        return nil
    }

    mutating func appendValue(_ piece: UnsafeRawBufferPointer, _ limits: HTTPLimits) -> Refusal? {
        if !isInValue {
            isInValue = true
            headers.beginValue()
        }
        guard hasRoom(piece.count, limits) else { return Self.tooLarge(limits) }
        unsafe headers.appendValue(piece)
        return nil
    }

    mutating func endField() {
        if !isInValue { headers.beginValue() }
        isInValue = false
        headers.endField()
    }

    private func hasRoom(_ size: Int, _ limits: HTTPLimits) -> Bool {
        headers.bytes.count - targetSize + size <= limits.headerBytes
    }

    private static func tooLarge(_ limits: HTTPLimits) -> Refusal {
        Refusal(
            status: 431, text: "The header fields are too large: the limit is \(limits.headerBytes) bytes together.")
    }
}

struct HTTP1HeadParts {
    let head: cllhttp_head
    let target: Range<Int>
    let headers: HTTPHeaders
    let connection: ConnectionFacts
}

extension HTTP1Message {
    /// Names by the parser's numbers.
    private static let methods: [String] = (UInt8(0)...63).map { number in
        unsafe cllhttp_method_name(number).map { unsafe String(cString: $0) } ?? ""
    }

    init(_ parts: HTTP1HeadParts, limits: HTTPLimits) throws(Refusal) {
        let (head, headers) = (parts.head, parts.headers)
        let version = try Self.version(head)
        guard !head.connect else { throw Refusal(status: 405, text: "CONNECT is for proxies and this server is none.") }
        let method = Self.methods[Int(head.method & 63)]
        let target = unsafe headers.bytes.withUnsafeBytes { bytes in
            unsafe RequestTarget(UnsafeRawBufferPointer(rebasing: bytes[parts.target]), isOptions: method == "OPTIONS")
        }
        guard let target else {
            throw Refusal(status: 400, text: "The request target is malformed: send a path that begins with /.")
        }
        let host = try Self.host(headers, target: target, version: version)
        try parts.connection.check(host: host)
        try Self.checkTransferEncoding(headers, head: head, version: version)
        if head.has_length, head.length > limits.bodyBytes {
            throw Refusal(status: 413, text: "The body is too large: the limit is \(limits.bodyBytes) bytes.")
        }
        hasBody = head.chunked || head.length > 0
        isChunked = head.chunked
        keepsAlive = head.keep_alive
        expectsContinue = try Self.expectsContinue(headers, version: version)
        request = HTTPRequest(
            method: method, path: target.path, query: target.query, host: host, headers: headers, version: version,
            contentLength: head.chunked ? nil : head.length, connection: parts.connection)
    }

    private static func version(_ head: cllhttp_head) throws(Refusal) -> HTTPVersion {
        switch (head.major, head.minor) {
        case (1, 1): return .http11
        case (1, 0): return .http10
        case (0, _): throw Refusal(status: 400, text: "The request line has no version: send HTTP/1.1.")
        default: throw Refusal(status: 505, text: "This HTTP version is not spoken here: send HTTP/1.1 or HTTP/2.")
        }
    }

    private static func host(_ headers: HTTPHeaders, target: RequestTarget, version: HTTPVersion) throws(Refusal)
        -> String
    {
        var host: String?
        for index in headers.fields.indices where headers.hasName(headers.fields[index], "host") {
            guard host == nil else { throw Refusal(status: 400, text: "There is more than one Host field: send one.") }
            host = headers.value(at: index)
        }
        if let host, !isValidHost(host) {
            throw Refusal(status: 400, text: "The Host field is malformed: send host or host:port.")
        }
        guard host != nil || version == .http10 else {
            throw Refusal(status: 400, text: "The Host field is missing: HTTP/1.1 requires it.")
        }
        guard let authority = target.authority else { return host ?? "" }
        // Two names for one request is what request smuggling between front and back lives on.
        guard isValidHost(authority), host == nil || host == authority else {
            throw Refusal(status: 400, text: "The target's authority and the Host field differ: send the same in both.")
        }
        return authority
    }

    private static func checkTransferEncoding(
        _ headers: HTTPHeaders, head: cllhttp_head, version: HTTPVersion
    ) throws(Refusal) {
        guard headers.contains("transfer-encoding") else { return }
        let codings = headers.all("transfer-encoding")
        guard version == .http11, head.chunked, codings.count == 1, codings[0].lowercased() == "chunked" else {
            throw Refusal(
                status: 400, text: "The Transfer-Encoding is not understood: send chunked alone, in HTTP/1.1.")
        }
    }

    private static func expectsContinue(_ headers: HTTPHeaders, version: HTTPVersion) throws(Refusal) -> Bool {
        guard version == .http11, let expectation = headers.first("expect") else { return false }
        guard expectation.lowercased() == "100-continue" else {
            throw Refusal(status: 417, text: "Only Expect: 100-continue is understood.")
        }
        return true
    }
}
