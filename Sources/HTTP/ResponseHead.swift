// Writes HTTP/1 response heads byte by byte, without Strings on the way.
internal import Glibc

/// What the protocol, and not the service, decides about a response.
struct ResponseFraming {
    enum Length {
        /// Content-Length.
        case known(Int)
        case chunked
        /// The body ends where the connection ends, or there is none by nature (204, 304).
        case unsaid
    }

    var length: Length
    /// `Connection: close`, or keep-alive where HTTP/1.0 needs it said.
    var closes: Bool
    var saysKeepAlive: Bool
    /// Strict-Transport-Security's max-age in seconds; 0 leaves it out.
    var strictTransport: Int
}

extension ByteQueue {
    mutating func appendHead(status: Int, headers: HTTPHeaders, framing: ResponseFraming, date: borrowing DateLine) {
        appendStatusLine(status)
        unsafe date.withBytes { unsafe append($0) }
        unsafe headers.bytes.withUnsafeBytes { bytes in
            for field in headers.fields where !isOurs(field, in: headers) {
                unsafe append(UnsafeRawBufferPointer(rebasing: bytes[headers.nameRange(field)]))
                append(": ")
                unsafe append(UnsafeRawBufferPointer(rebasing: bytes[headers.valueRange(field)]))
                append("\r\n")
            }
        }
        switch framing.length {
        case .known(let length):
            append("content-length: ")
            append(number: length)
            append("\r\n")
        case .chunked: append("transfer-encoding: chunked\r\n")
        case .unsaid: break
        }
        if framing.closes {
            append("connection: close\r\n")
        } else if framing.saysKeepAlive {
            append("connection: keep-alive\r\n")
        }
        if framing.strictTransport > 0 {
            append("strict-transport-security: max-age=")
            append(number: framing.strictTransport)
            append("\r\n")
        }
        append("\r\n")
    }

    /// One chunk of the chunked coding; an empty one would end the body, so it isn't written.
    mutating func appendChunk(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0 else { return }
        append(number: bytes.count, radix: 16)
        append("\r\n")
        unsafe append(bytes)
        append("\r\n")
    }

    private mutating func appendStatusLine(_ status: Int) {
        switch status {
        case 200: append("HTTP/1.1 200 OK\r\n")
        default:
            append("HTTP/1.1 ")
            append(number: status)
            append(UInt8(0x20))
            append(reasonPhrase(status))
            append("\r\n")
        }
    }
}

/// True for fields that frame the message, or bind the client to TLS: the protocol writes them, so a service's are left out.
func isOurs(_ field: HTTPHeaders.Field, in headers: HTTPHeaders) -> Bool {
    let length = Int(field.valueStart) - Int(field.nameStart)
    switch length {
    case 2: return headers.hasName(field, "te")
    case 4: return headers.hasName(field, "date")
    case 7: return headers.hasName(field, "upgrade") || headers.hasName(field, "trailer")
    case 10: return headers.hasName(field, "connection") || headers.hasName(field, "keep-alive")
    case 14: return headers.hasName(field, "content-length")
    case 16: return headers.hasName(field, "proxy-connection")
    case 17: return headers.hasName(field, "transfer-encoding")
    case 25: return headers.hasName(field, "strict-transport-security")
    default: return false
    }
}

/// True for answers that never have a body (RFC 9112, 6.3).
func isBodiless(_ status: Int) -> Bool { status == 204 || status == 304 || status < 200 }

func reasonPhrase(_ status: Int) -> StaticString {
    switch status {
    case 200: "OK"
    case 201: "Created"
    case 202: "Accepted"
    case 204: "No Content"
    case 206: "Partial Content"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 303: "See Other"
    case 304: "Not Modified"
    case 307: "Temporary Redirect"
    case 308: "Permanent Redirect"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 410: "Gone"
    case 411: "Length Required"
    case 412: "Precondition Failed"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 415: "Unsupported Media Type"
    case 417: "Expectation Failed"
    case 421: "Misdirected Request"
    case 422: "Unprocessable Content"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    case 507: "Insufficient Storage"
    default: "Status"
    }
}

/// The Date field, formatted once a second.
struct DateLine: ~Copyable {
    private var second = -1
    private var line: [UInt8] = []

    /// Brings the line up to the wall clock.
    mutating func refresh() {
        let now = time(nil)
        guard now != second else { return }
        second = now
        line = Array("date: \(Self.format(now))\r\n".utf8)
    }

    func withBytes(_ body: (UnsafeRawBufferPointer) -> Void) { unsafe line.withUnsafeBytes { unsafe body($0) } }

    /// The value alone, for HTTP/2.
    var value: ArraySlice<UInt8> { line[6..<(line.count - 2)] }

    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    static func format(_ seconds: Int) -> String {
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let (day, rest) = (seconds / 86_400, seconds % 86_400)
        // Years that begin in March, in eras of 400: leap days fall at the end of each.
        let shifted = day + 719_468
        let ofEra = shifted % 146_097
        let yearOfEra = (ofEra - ofEra / 1_460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * ofYear + 2) / 153
        let dayOfMonth = ofYear - (153 * month + 2) / 5 + 1
        let year = shifted / 146_097 * 400 + yearOfEra + (month >= 10 ? 1 : 0)
        let date = "\(days[day % 7]), \(two(dayOfMonth)) \(months[(month + 2) % 12]) \(year)"
        return "\(date) \(two(rest / 3_600)):\(two(rest / 60 % 60)):\(two(rest % 60)) GMT"
    }
}
