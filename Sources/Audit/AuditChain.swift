// Walks the chain and says what is wrong with it first. Pure: bytes come from a closure.

/// What a log that nothing is wrong with holds.
package struct AuditReport: Sendable, Equatable {
    /// What was archived before it.
    package let start: AuditPoint
    package let end: AuditPoint
    /// Bytes of a commit that a kill interrupted; the next start of the host drops them, nobody was told of it.
    package let unfinishedBytes: Int
}

struct AuditChain {
    /// First numbers of the segments, in order.
    let segments: [UInt64]
    let load: (UInt64) throws -> [UInt8]

    /// - Parameters:
    ///   - floor: the log's anchor before the files were read.
    ///   - latest: reads the anchor again: a host may write meanwhile, and announces before it does.
    ///   - expected: what somebody kept elsewhere.
    func check(floor: AuditHead, latest: @escaping () throws -> AuditHead, expected: AuditPoint?) throws -> AuditReport
    {
        if let expected, expected.count < floor.start.count {
            throw AuditDamage(
                kind: .cutOut, number: expected.count, detail: "it was archived; look there for what you expect")
        }
        var walk = Walk(at: floor.start, floor: floor, ceiling: floor, latest: latest, expected: expected)
        for (index, first) in segments.enumerated() where first > floor.start.count {
            let bytes = try load(first)
            let isLast = index == segments.count - 1
            if isLast || !bytes.isEmpty, first != walk.at.count + 1 {
                throw try misplaced(first, walk.at.count + 1, index, "the file \(AuditPlace.name(first))")
            }
            var offset = 0
            while offset < bytes.count {
                switch AuditEntry.read(bytes, at: offset) {
                case .entry(let entry):
                    guard entry.number == walk.at.count + 1 else {
                        throw try misplaced(entry.number, walk.at.count + 1, index, "entry \(entry.number)")
                    }
                    try walk.add(entry)
                    offset += entry.frame.count
                case .changed where !walk.mayEndHere || !isLast:
                    throw AuditDamage(
                        kind: .changed, number: walk.at.count + 1, detail: "its bytes are not those of its hash")
                case .cut where !walk.mayEndHere || !isLast:
                    throw AuditDamage(
                        kind: isLast ? .tailCut : .cutOut, number: walk.at.count + 1, detail: "its bytes end before it")
                default:
                    guard try walk.mayGoOn() else {
                        throw AuditDamage(
                            kind: .inserted, number: walk.at.count + 1, detail: "there are bytes behind the last entry")
                    }
                    return try walk.finish(unfinishedBytes: bytes.count - offset)
                }
            }
        }
        return try walk.finish(unfinishedBytes: 0)
    }

    /// Something stands where number `wanted` should.
    private func misplaced(_ found: UInt64, _ wanted: UInt64, _ index: Int, _ what: String) throws -> AuditDamage {
        if found < wanted {
            return AuditDamage(kind: .inserted, number: wanted, detail: "\(what) stands there once more")
        }
        if try occurs(wanted, from: index) {
            return AuditDamage(kind: .reordered, number: wanted, detail: "\(what) stands before it")
        }
        return AuditDamage(
            kind: .cutOut, number: wanted, detail: "\(what) follows entry \(wanted - 1)")
    }

    private func occurs(_ number: UInt64, from index: Int) throws -> Bool {
        for first in segments[index...] {
            let bytes = try load(first)
            var offset = 0
            while offset < bytes.count, case .entry(let entry) = AuditEntry.read(bytes, at: offset) {
                if entry.number == number { return true }
                offset += entry.frame.count
            }
        }
        return false
    }
}

/// How far the chain holds.
private struct Walk {
    var at: AuditPoint
    let floor: AuditHead
    /// The newest anchor that was looked at.
    var ceiling: AuditHead
    let latest: () throws -> AuditHead
    let expected: AuditPoint?

    /// Everything that must be there was seen.
    var mayEndHere: Bool { at.count >= floor.settled.count }

    /// Something was announced that follows.
    mutating func mayGoOn() throws -> Bool {
        if at.count >= ceiling.announced.count { ceiling = try latest() }
        return at.count < ceiling.announced.count
    }

    mutating func add(_ entry: AuditEntry) throws {
        guard entry.previous == at.hash else {
            throw AuditDamage(
                kind: .changed, number: entry.number,
                detail: "it doesn't follow entry \(at.count) as that is now: one of the two was rewritten")
        }
        guard try mayGoOn() else {
            throw AuditDamage(
                kind: .inserted, number: entry.number, detail: "the anchor knows \(ceiling.announced.count) entries")
        }
        at = AuditPoint(count: entry.number, hash: entry.hash)
        try compare(floor.settled, "the anchor")
        if let expected { try compare(expected, "what you expect") }
    }

    private func compare(_ point: AuditPoint, _ name: String) throws(AuditDamage) {
        guard point.count == at.count, point.hash != at.hash else { return }
        throw AuditDamage(
            kind: .changed, number: at.count, detail: "\(name) says \(point.hash), and the entry is \(at.hash)")
    }

    mutating func finish(unfinishedBytes: Int) throws -> AuditReport {
        // What was announced a moment ago may have failed, and something else have its number.
        if at.count == ceiling.announced.count, at.hash != ceiling.announced.hash { ceiling = try latest() }
        try compare(ceiling.announced, "the anchor")
        // A log without entries was never compared.
        try compare(floor.settled, "the anchor")
        if let expected { try compare(expected, "what you expect") }
        guard mayEndHere else {
            throw AuditDamage(
                kind: .tailCut, number: at.count + 1,
                detail: "the anchor knows \(floor.settled.count) entries, and the log ends at \(at.count)")
        }
        if let expected, expected.count > at.count {
            throw AuditDamage(
                kind: .rolledBack, number: at.count + 1,
                detail: "\(expected.count) entries are expected, and log and anchor know \(at.count)")
        }
        return AuditReport(start: floor.start, end: at, unfinishedBytes: unfinishedBytes)
    }
}
