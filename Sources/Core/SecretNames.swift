// The rule for the names of secrets, which look like those of environment variables.

extension Names {
    /// The rule of `isSecretName` in words.
    package static let secretNameRule = "1 to 64 of A-Z, a-z, 0-9, '_' and '-', starting with a letter or '_'"

    package static func isSecretName(_ name: String) -> Bool {
        let bytes = name.utf8
        guard let first = bytes.first, bytes.count <= 64, isLetter(first) || first == UInt8(ascii: "_") else {
            return false
        }
        return bytes.allSatisfy { byte in
            isLetter(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "_-".utf8.contains(byte)
        }
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }
}
