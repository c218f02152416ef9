// SHA256SUMS, the file that is signed: every other file of an artefact with its SHA-256, as sha256sum writes and checks it.

package struct SignedList: Equatable, Sendable {
    package static let name = "SHA256SUMS"
    package static let signatureName = "SHA256SUMS.minisig"
    package static let names: Set<String> = [name, signatureName]
    /// Far above 64 files with the longest names.
    package static let largest = 64 << 10

    /// SHA-256 in hex by name.
    package let sums: [String: String]

    /// - Parameter files: all files of an artefact; the list and its signature are left out.
    package init(_ files: [(name: String, sha256: String)]) {
        sums = Dictionary(files.filter { !Self.names.contains($0.name) }.map { ($0.name, $0.sha256) }) { $1 }
    }

    /// Reads the file, in any order and in both of sha256sum's forms.
    package init(_ file: [UInt8]) throws(SigningFault) {
        guard file.count <= Self.largest else { throw SigningFault("it is larger than \(Self.largest) bytes") }
        var sums: [String: String] = [:]
        var lines = file.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        for (number, line) in lines.enumerated() {
            let digits = line.prefix(64)
            let rest = line.dropFirst(64)
            guard digits.count == 64, digits.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }),
                rest.count > 2, rest.first == UInt8(ascii: " "),
                [UInt8(ascii: " "), UInt8(ascii: "*")].contains(rest[rest.startIndex + 1]),
                let name = String(validating: rest.dropFirst(2), as: UTF8.self)
            else { throw SigningFault("its line \(number + 1) is not what sha256sum writes") }
            guard sums.updateValue(String(decoding: digits, as: UTF8.self), forKey: name) == nil else {
                throw SigningFault("its line \(number + 1) names a file for the second time")
            }
        }
        self.sums = sums
    }

    /// The file: sorted, so that the same files always make the same bytes.
    package var file: String { sums.sorted { $0.key < $1.key }.map { "\($0.value)  \($0.key)\n" }.joined() }

    /// What is not as listed; nil when the files are exactly these.
    package func fault(in files: [(name: String, sha256: String)]) -> String? {
        let there = SignedList(files).sums
        for name in Set(sums.keys).union(there.keys).sorted() where sums[name] != there[name] {
            guard there[name] != nil else { return "it lists \(name.debugDescription), which is not there" }
            return sums[name] == nil ? "it does not list \(name)" : "\(name) is not the file that it lists"
        }
        return nil
    }
}
