// `swiftlet audit verify` and `audit head`: reads a state directory, beside a running host too, and writes nothing.
internal import Core
internal import Platform

package enum AuditVerification {
    /// Returns what the log holds, or throws `AuditDamage`; `RuntimeError` when it can't be read.
    package static func run(state: String, expected: AuditPoint? = nil) throws -> AuditReport {
        let place = AuditPlace(state: state)
        do {
            let key = try readKey(place)
            while true {
                let floor = try readHead(place, key)
                let chain = AuditChain(segments: try place.segments()) { first in
                    try AuditPlace.read(place.segment(first)) ?? []
                }
                let report = Result {
                    try chain.check(floor: floor, latest: { try readHead(place, key) }, expected: expected)
                }
                // An archive went away under our eyes: then what was read means nothing.
                guard try readHead(place, key).start == floor.start else { continue }
                return try report.get()
            }
        } catch let error as SystemError {
            throw RuntimeError(
                .unavailable, step: "read the audit log in \(place.directory)", cause: "\(error)",
                next: "run it as a user who may read the state directory")
        }
    }

    /// How the log ends, as the anchor knows it; nothing else is read.
    package static func head(state: String) throws -> AuditPoint {
        let place = AuditPlace(state: state)
        do {
            return try anchor(place).settled
        } catch let error as SystemError {
            throw RuntimeError(
                .unavailable, step: "read the audit log in \(place.directory)", cause: "\(error)",
                next: "run it as a user who may read the state directory")
        }
    }

    static func anchor(_ place: AuditPlace) throws -> AuditHead { try readHead(place, try readKey(place)) }

    private static func readKey(_ place: AuditPlace) throws -> AuditKey {
        guard let bytes = try AuditPlace.read(place.key) else {
            throw AuditDamage(kind: .keyMissing, number: nil, detail: "there is no \(place.key)")
        }
        guard bytes.count == AuditKey.size else {
            throw AuditDamage(
                kind: .keyMissing, number: nil, detail: "\(place.key) is no key of \(AuditKey.size) bytes")
        }
        return AuditKey(bytes: bytes)
    }

    private static func readHead(_ place: AuditPlace, _ key: AuditKey) throws -> AuditHead {
        // A host may be writing it: then it is whole a moment later.
        for _ in 0..<100 {
            guard let bytes = try AuditPlace.read(place.head) else {
                throw AuditDamage(kind: .anchorMissing, number: nil, detail: "there is no \(place.head)")
            }
            if let head = AuditHead(bytes, key: key) { return head }
        }
        throw AuditDamage(
            kind: .anchorChanged, number: nil, detail: "\(place.head) is not what \(place.key) sealed")
    }
}
