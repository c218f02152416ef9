// Entries for readers, newest first, a page at a time; each page reads a bounded number of segments.
package import Core
internal import Platform

/// Which entries are wanted.
package struct AuditQuery: Sendable, Equatable {
    package static let largestPage = 1000

    /// Below this number.
    package var before: UInt64?
    package var limit = 100
    /// That concern this tenant or were done by it.
    package var tenant: String?
    /// This act, or all below it: `key` finds `key.create`.
    package var act: String?
    /// Unix milliseconds.
    package var since: Int64?

    package init() {}

    func matches(_ entry: AuditEntry) -> Bool {
        if let since, entry.milliseconds < since { return false }
        if let act, entry.event.act != act, !entry.event.act.hasPrefix(act + ".") { return false }
        guard let tenant else { return true }
        return entry.event.tenant == tenant || entry.event.actorTenant == tenant
    }
}

package struct AuditPage: Sendable {
    package let entries: [AuditEntry]
    /// `before` of the next page; nil: this was the last.
    package let next: UInt64?
}

extension AuditPage {
    /// Segments that one page may read.
    private static let segments = 8

    /// - Parameter end: entries up to this number exist.
    static func read(_ query: AuditQuery, _ place: AuditPlace, end: UInt64) throws(SystemError) -> AuditPage {
        let bound = min(query.before ?? .max, end == .max ? end : end + 1)
        var found: [AuditEntry] = []
        let wanted = try place.segments().filter { $0 < bound }.reversed()
        var newer = bound
        for (index, first) in wanted.enumerated() {
            guard index < segments else { return AuditPage(entries: found, next: newer) }
            newer = first
            let entries = try entries(place, first, below: bound)
            for entry in entries.reversed() where query.matches(entry) {
                guard found.count < query.limit else {
                    return AuditPage(entries: found, next: entry.number + 1)
                }
                found.append(entry)
            }
            if let since = query.since, let last = entries.last, last.milliseconds < since { break }
        }
        return AuditPage(entries: found, next: nil)
    }

    private static func entries(_ place: AuditPlace, _ first: UInt64, below bound: UInt64) throws(SystemError)
        -> [AuditEntry]
    {
        let bytes = try AuditPlace.read(place.segment(first)) ?? []
        var entries: [AuditEntry] = []
        var offset = 0
        while offset < bytes.count, case .entry(let entry) = AuditEntry.read(bytes, at: offset), entry.number < bound {
            entries.append(entry)
            offset += entry.frame.count
        }
        return entries
    }
}

extension AuditLog {
    /// Reads a page elsewhere; `then` is called there.
    package func page(
        _ query: AuditQuery, then: @escaping @Sendable (Result<AuditPage, RuntimeError>) -> Void
    ) {
        let (place, end) = (place, head.count)
        read {
            do throws(SystemError) {
                then(.success(try AuditPage.read(query, place, end: end)))
            } catch {
                then(
                    .failure(
                        RuntimeError(
                            .unavailable, step: "read the audit log", cause: "\(error)",
                            next: "check the state directory, and `swiftlet audit verify`")))
            }
        }
    }

    /// Checks the whole log elsewhere; `then` is called there.
    package func verify(
        expected: AuditPoint?, then: @escaping @Sendable (Result<AuditReport, any Error>) -> Void
    ) {
        let state = place.state
        read { then(Result { try AuditVerification.run(state: state, expected: expected) }) }
    }
}
