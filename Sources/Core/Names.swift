// The rule for the names of tenants, functions and models; everything that takes a name from outside asks here first.

package enum Names {
    /// The longest name: it fits a DNS label, so a function may become a host name later.
    package static let longest = 63

    /// The rule in words, for errors and documentation.
    package static let rule = "1 to 63 of a-z, 0-9 and '-', starting with a letter or digit"

    package static func isValid(_ name: String) -> Bool {
        let bytes = name.utf8
        guard let first = bytes.first, bytes.count <= longest, isLetterOrDigit(first) else { return false }
        return bytes.allSatisfy { isLetterOrDigit($0) || $0 == UInt8(ascii: "-") }
    }

    /// - Parameter what: what the name is for, e.g. "tenant"; it opens the error.
    package static func validate(_ name: String, as what: String = "name") throws(RuntimeError) {
        guard !isValid(name) else { return }
        throw RuntimeError(
            .badRequest, step: "name of the \(what)", cause: "\(quoted(name)) is not a valid name",
            next: "use \(rule)")
    }

    /// Text from outside, made safe to print: cut to 80 characters, control characters replaced.
    package static func quoted(_ text: String) -> String {
        var shown = "'"
        for (index, scalar) in text.unicodeScalars.enumerated() {
            guard index < 80 else {
                shown += "…"
                break
            }
            let isControl =
                scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format
            shown.unicodeScalars.append(isControl ? "\u{FFFD}" : scalar)
        }
        return shown + "'"
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}

extension Names {
    /// A plain file name: what a manifest and an archive may call a file. No folders, no hidden files.
    package static func isFileName(_ name: String) -> Bool {
        let bytes = name.utf8
        guard let first = bytes.first, bytes.count <= 128, first != UInt8(ascii: "."), first != UInt8(ascii: "-") else {
            return false
        }
        return bytes.allSatisfy { byte in
            isLetterOrDigit(byte | 0x20) && byte >= UInt8(ascii: "0") || "._+-".utf8.contains(byte)
        }
    }

    /// The rule of `isFileName` in words.
    package static let fileNameRule = "1 to 128 of A-Z, a-z, 0-9, '.', '_', '+' and '-', not starting with '.' or '-'"
}
