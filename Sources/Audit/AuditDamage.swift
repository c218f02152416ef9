// What can be wrong with a log, with the first entry that shows it.
internal import Core

package struct AuditDamage: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Kind: String, Sendable, CaseIterable {
        /// An entry is not the one that was written.
        case changed
        /// Entries are missing between others.
        case cutOut = "cut_out"
        case reordered
        /// There is an entry too much.
        case inserted
        /// Entries are missing at the end.
        case tailCut = "tail_cut"
        case anchorMissing = "anchor_missing"
        /// The anchor is not what this key sealed.
        case anchorChanged = "anchor_changed"
        case keyMissing = "key_missing"
        /// Log and anchor agree, and are older than what is known of them.
        case rolledBack = "rolled_back"
    }

    package let kind: Kind
    /// The first bad entry; nil when the damage is none of an entry.
    package let number: UInt64?
    package let detail: String

    package var description: String {
        let place = number.map { " at entry \($0)" } ?? ""
        return "\(kind.rawValue)\(place): \(detail)"
    }

    /// As an error of a host that is to start.
    func refusal(_ directory: String) -> RuntimeError {
        RuntimeError(
            .conflict, step: "open the audit log in \(directory)", cause: "it was tampered with or damaged: \(self)",
            next: "look with `swiftlet audit verify --state DIR`, restore a backup, or begin a new log with "
                + "`swiftlet audit reset --state DIR`, which keeps the old one beside it")
    }
}
