// The lines that all of minisign's files are made of: a comment, and base64 of a fixed number of bytes.
internal import FoundationEssentials

enum MinisignText {
    static let untrusted = "untrusted comment: "
    static let trusted = "trusted comment: "
    /// minisign's own bounds of comments.
    static let longestComment = 1024
    static let longestTrustedComment = 8192

    /// The lines of a file without their ends; empty ones at the end are left out.
    static func lines(_ file: [UInt8], most: Int, what: String) throws(SigningFault) -> [String] {
        guard file.count <= 16 << 10 else { throw SigningFault("it is too large for a \(what)") }
        guard !file.contains(where: isControl), String(validating: file, as: UTF8.self) != nil else {
            throw SigningFault("it holds bytes that are no text")
        }
        // By bytes: a line that ends in two of them is one character to a String.
        var lines = file.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
        }
        while lines.last == "" { lines.removeLast() }
        guard lines.count == most else { throw SigningFault("it has \(lines.count) lines, and a \(what) has \(most)") }
        return lines
    }

    static func comment(_ line: String, _ label: String, longest: Int) throws(SigningFault) -> String {
        guard line.hasPrefix(label) else { throw SigningFault("a line should begin with \"\(label)\"") }
        let comment = String(line.dropFirst(label.count))
        guard comment.utf8.count <= longest else { throw SigningFault("a comment is longer than \(longest) bytes") }
        return comment
    }

    static func bytes(_ base64: String, count: Int, what: String) throws(SigningFault) -> [UInt8] {
        // One text for the same bytes: bits that decode to nothing must be 0.
        guard let data = Data(base64Encoded: base64), data.count == count, data.base64EncodedString() == base64 else {
            throw SigningFault("its \(what) is not base64 of \(count) bytes")
        }
        return [UInt8](data)
    }

    static func base64(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }

    /// A comment that comes from outside and is to become one line.
    static func line(_ comment: String, longest: Int) throws(SigningFault) -> String {
        guard !comment.utf8.contains(where: { isControl($0) || $0 == 10 || $0 == 13 }), comment.utf8.count <= longest
        else {
            throw SigningFault("a comment is one line of at most \(longest) bytes, without control characters")
        }
        return comment
    }

    private static func isControl(_ byte: UInt8) -> Bool {
        (byte < 0x20 && ![9, 10, 13].contains(byte)) || byte == 0x7f
    }
}
