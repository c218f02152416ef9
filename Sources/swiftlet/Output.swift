// Writes to stdout and stderr at once, so that a pipe sees each line when it is made.
internal import FoundationEssentials
internal import Glibc

enum Output {
    static func line(_ text: String) { bytes(Array((text + "\n").utf8)) }
    static func error(_ text: String) { bytes(Array((text + "\n").utf8), to: 2) }

    static func bytes(_ bytes: [UInt8], to descriptor: Int32 = 1) {
        var offset = 0
        while offset < bytes.count {
            let count = unsafe bytes.withUnsafeBytes {
                unsafe write(descriptor, $0.baseAddress?.advanced(by: offset), $0.count - offset)
            }
            // A reader that left (`swiftlet logs | head`) is no failure of ours.
            guard count > 0 || errno == EINTR else { return }
            offset += max(0, count)
        }
    }

    /// Milliseconds since 1970 as `2026-01-31T23:59:59Z`.
    static func date(_ milliseconds: Int64) -> String {
        Date(timeIntervalSince1970: Double(milliseconds / 1000)).formatted(.iso8601)
    }

    /// Rows under a head, in columns as wide as their widest cell.
    static func table(_ head: [String], _ rows: [[String]]) {
        let widths = head.indices.map { column in ([head] + rows).map { $0[column].count }.max() ?? 0 }
        for row in [head] + rows {
            let cells = row.indices.map { row[$0] + String(repeating: " ", count: widths[$0] - row[$0].count) }
            var text = cells.joined(separator: "  ")
            while text.hasSuffix(" ") { text.removeLast() }
            line(text)
        }
    }
}
