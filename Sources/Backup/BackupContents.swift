// What a backup holds, said in its last file; and which names may be in one.
internal import Core
internal import FoundationEssentials

struct BackupContents: Codable, Equatable {
    static let name = "MANIFEST.json"
    static let format = 1
    /// A manifest of a million files fits.
    static let largest = 256 << 20

    struct File: Codable, Equatable {
        let name: String
        let bytes: Int
        let sha256: String
    }

    struct Audit: Codable, Equatable {
        /// COUNT:HASH
        let start: String
        let end: String
    }

    var format = Self.format
    let version: String
    let createdAt: Int64
    var files: [File] = []
    /// Nil: the host kept no log yet.
    var audit: Audit?
    /// Names in the state directory that are not in the backup.
    var leftOut: [String] = []

    enum CodingKeys: String, CodingKey {
        case format, version, files, audit
        case createdAt = "created_at_ms"
        case leftOut = "left_out"
    }

    /// Only what a state directory has, and nothing that leads elsewhere.
    static func isAllowed(_ name: String) -> Bool {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        switch parts.count {
        case 1: return isDatabase(name)
        case 2: return parts[0] == "audit" && isSegment(parts[1])
        case 4: return parts[0] == "artefacts" && Names.isValid(parts[1]) && parts[2...].allSatisfy(Names.isFileName)
        default: return false
        }
    }

    static func isDatabase(_ name: String) -> Bool { name.hasSuffix(".db") && Names.isFileName(name) }

    private static func isSegment(_ name: String) -> Bool { name.hasSuffix(".log") && Names.isFileName(name) }
}
