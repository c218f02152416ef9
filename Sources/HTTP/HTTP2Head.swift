// Gathers the fields of one HTTP/2 request and decides whether it may be served; HTTP/1's counterpart is HTTP1Head.swift.

/// The head of one stream while it arrives.
struct HTTP2Head {
    private var method = ""
    private var path: [UInt8] = []
    private var authority = ""
    private var headers = HTTPHeaders()
    private var cookie: [UInt8] = []
    private var size = 0
    private(set) var refusal: Refusal?

    /// False when even skipping this head costs too much.
    mutating func add(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, limits: HTTPLimits) -> Bool {
        guard unsafe name.first != 0x3a else { return unsafe addPseudo(name, value, limits) }
        size += name.count + value.count
        if refusal != nil { return size <= 8 * limits.headerBytes }
        guard size <= limits.headerBytes else {
            refusal = Refusal(
                status: 431, text: "The header fields are too large: the limit is \(limits.headerBytes) bytes together."
            )
            return true
        }
        guard headers.count < limits.headerCount else {
            refusal = Refusal(
                status: 431, text: "There are too many header fields: the limit is \(limits.headerCount).")
            return true
        }
        // HTTP/2 may split a cookie into crumbs for its compression; everybody behind expects one field.
        if unsafe name.elementsEqual("cookie".utf8) {
            if !cookie.isEmpty { cookie += [0x3b, 0x20] }
            unsafe cookie.append(contentsOf: value)
            return true
        }
        unsafe add(name, value)
        return true
    }

    private mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        if headers.isEmpty { headers.reserve(fields: 16, bytes: 512) }
        headers.beginField()
        unsafe headers.appendName(name)
        headers.beginValue()
        unsafe headers.appendValue(value)
        headers.endField()
    }

    private mutating func addPseudo(
        _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ limits: HTTPLimits
    ) -> Bool {
        if unsafe name.elementsEqual(":method".utf8) {
            guard value.count <= 64 else {
                refusal = Refusal(status: 501, text: "The method is not known here.")
                return true
            }
            method = unsafe String(decoding: value, as: UTF8.self)
        } else if unsafe name.elementsEqual(":authority".utf8) {
            guard value.count <= 1024 else {
                refusal = Refusal(status: 400, text: "The authority is malformed: send host or host:port.")
                return true
            }
            authority = unsafe String(decoding: value, as: UTF8.self)
        } else if unsafe name.elementsEqual(":path".utf8) {
            guard value.count <= limits.targetBytes else {
                refusal = Refusal(
                    status: 414, text: "The request target is too long: the limit is \(limits.targetBytes) bytes.")
                return true
            }
            unsafe path = Array(value)
        }
        return true
    }

    /// - Parameter ends: true when the head is all there is.
    mutating func request(
        ends: Bool, connection: ConnectionFacts, limits: HTTPLimits
    ) throws(Refusal) -> HTTPRequest {
        if let refusal { throw refusal }
        guard method != "CONNECT" else {
            throw Refusal(status: 405, text: "CONNECT is for proxies and this server is none.")
        }
        let isOptions = method == "OPTIONS"
        guard let target = unsafe path.withUnsafeBytes({ unsafe RequestTarget($0, isOptions: isOptions) }),
            target.authority == nil
        else {
            throw Refusal(status: 400, text: "The request target is malformed: send a path that begins with /.")
        }
        let named = headers.first("host")
        guard headers.all("host").count <= 1, named == nil || authority.isEmpty || named == authority else {
            throw Refusal(status: 400, text: "The authority and the Host field differ: send the same in both.")
        }
        let host = authority.isEmpty ? named ?? "" : authority
        guard isValidHost(host) else {
            throw Refusal(status: 400, text: "The authority is malformed: send host or host:port.")
        }
        try connection.check(host: host)
        let length = ends ? 0 : headers.first("content-length").flatMap { UInt64($0) }
        if let length, length > limits.bodyBytes {
            throw Refusal(status: 413, text: "The body is too large: the limit is \(limits.bodyBytes) bytes.")
        }
        if !cookie.isEmpty {
            unsafe "cookie".utf8.withContiguousStorageIfAvailable { name in
                unsafe cookie.withUnsafeBytes { unsafe add(UnsafeRawBufferPointer(name), $0) }
            }
        }
        return HTTPRequest(
            method: method, path: target.path, query: target.query, host: host, headers: headers, version: .http2,
            contentLength: length, connection: connection)
    }
}
