// The log in a backup, and its life after: what is copied is settled, and a new anchor is sealed with a new key.
internal import Core
internal import Platform

package enum AuditTransfer {
    package struct File: Sendable {
        /// Below the state directory.
        package let name: String
        package let path: String
        /// The part of it that is settled.
        package let bytes: Int
    }

    /// What a copy of the log holds, beside a running host too.
    package static func files(of state: String) throws -> (files: [File], start: AuditPoint, end: AuditPoint) {
        let place = AuditPlace(state: state)
        while true {
            let head = try AuditVerification.anchor(place)
            var files: [File] = []
            for first in try place.segments() where first > head.start.count && first <= head.settled.count {
                let bytes = try AuditPlace.read(place.segment(first)) ?? []
                files.append(
                    File(
                        name: "audit/\(AuditPlace.name(first))", path: place.segment(first),
                        bytes: settledSize(bytes, head.settled.count)))
            }
            // An archive that went away meanwhile leaves holes.
            guard try AuditVerification.anchor(place).start == head.start else { continue }
            return (files, head.start, head.settled)
        }
    }

    private static func settledSize(_ bytes: [UInt8], _ count: UInt64) -> Int {
        var size = 0
        while size < bytes.count, case .entry(let entry) = AuditEntry.read(bytes, at: size), entry.number <= count {
            size += entry.frame.count
        }
        return size
    }

    /// Makes a copied log one that a host can go on with, and writes `event` into it. The chain is checked against `end` first.
    package static func adopt(state: String, start: AuditPoint, end: AuditPoint, event: AuditEvent) throws {
        let place = AuditPlace(state: state)
        do {
            try AuditPlace.make(place.directory)
            let head = AuditHead(start: start, settled: end, announced: end)
            let chain = AuditChain(segments: try place.segments()) { try AuditPlace.read(place.segment($0)) ?? [] }
            _ = try chain.check(floor: head, latest: { head }, expected: end)
            let key = AuditKey.random()
            try AuditPlace.create(place.head, head.sealed(by: key))
            try AuditPlace.create(place.key, key.bytes)
            var writer = try AuditWriter(state: state, limits: AuditLimits())
            _ = try writer.commit([(WallClock.milliseconds, event)])
        } catch let damage as AuditDamage {
            throw damage.refusal(place.directory)
        } catch let error as SystemError {
            throw AuditLog.storageError(place, "\(error)")
        }
    }

    /// Puts a log that no host starts with beside a new one, of which the first entry says so. Returns where the old one is.
    package static func reset(state: String, reason: String) throws -> String {
        let place = AuditPlace(state: state)
        do {
            let old = "\(place.directory).damaged-\(WallClock.milliseconds)"
            try AuditPlace.make(place.directory)
            try AuditPlace.rename(place.directory, old)
            if try AuditPlace.read(place.key) != nil { try AuditPlace.rename(place.key, "\(old)/audit.key") }
            var writer = try AuditWriter(state: state, limits: AuditLimits())
            let event = AuditEvent(actor: "operator", act: "audit.reset", target: old, detail: reason)
            _ = try writer.commit([(WallClock.milliseconds, event)])
            return old
        } catch let error as SystemError {
            throw AuditLog.storageError(place, "\(error)")
        }
    }
}
