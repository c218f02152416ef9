// The host's own log: one JSON object a line on stderr, written at once because it is rare.
internal import FoundationEssentials
internal import Glibc

/// Lines for the operator. A tenant's log lines go to the function's log instead.
package enum Log {
    /// What happened and works on.
    package static func info(_ message: String, _ fields: [(String, String)] = []) { write("info", message, fields) }
    /// What should be looked at.
    package static func error(_ message: String, _ fields: [(String, String)] = []) { write("error", message, fields) }

    private static func write(_ level: String, _ message: String, _ fields: [(String, String)]) {
        var line: [UInt8] = []
        line.append(contentsOf: #"{"time":""#.utf8)
        line.append(contentsOf: Date().formatted(.iso8601).utf8)
        line.append(contentsOf: #"","level":""#.utf8)
        line.append(contentsOf: level.utf8)
        line.append(contentsOf: #"","message":"#.utf8)
        appendJSON(message, to: &line)
        for (name, value) in fields {
            line.append(UInt8(ascii: ","))
            appendJSON(name, to: &line)
            line.append(UInt8(ascii: ":"))
            appendJSON(value, to: &line)
        }
        line.append(contentsOf: "}\n".utf8)
        _ = unsafe line.withUnsafeBytes { unsafe Glibc.write(2, $0.baseAddress, $0.count) }
    }
}

/// Appends a string as a JSON string literal (RFC 8259, section 7).
package func appendJSON(_ text: String, to bytes: inout [UInt8]) {
    let digits = Array("0123456789abcdef".utf8)
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            bytes.append(UInt8(ascii: "\\"))
            bytes.append(byte)
        case 0x0a: bytes.append(contentsOf: "\\n".utf8)
        case 0..<0x20:
            bytes.append(contentsOf: "\\u00".utf8)
            bytes.append(digits[Int(byte >> 4)])
            bytes.append(digits[Int(byte & 15)])
        default: bytes.append(byte)
        }
    }
    bytes.append(UInt8(ascii: "\""))
}
