// The one writer of the log's files, in the order that makes a kill at any moment harmless. AuditLog.swift drives it.
internal import CLinux
internal import Core
internal import Glibc
internal import Platform

/// When a new segment begins.
package struct AuditLimits: Sendable {
    package var segmentBytes = 4 << 20
    package var segmentMilliseconds: Int64 = 86_400_000
    /// Closed segments of which the last entry is older go to the archive; nil keeps all.
    package var archiveDays: Int?

    package init() {}
}

/// The order of a commit: 1. the anchor announces the new end, on disk; 2. the entries, on disk; 3. the anchor calls them
/// settled. A kill after 1 leaves a log that ends at `settled`, after 2 one that ends at `announced`; a part of a commit, which
/// nobody was told of, is dropped by the next start.
struct AuditWriter: ~Copyable {
    /// Space that is taken ahead, so that an act that began can be written down on a full disk.
    private static let reserve = 64 << 10

    private let place: AuditPlace
    private let key: AuditKey
    private let limits: AuditLimits
    private let headFile: FileDescriptor
    private var segment: FileDescriptor
    private var segmentFirst: UInt64
    private var segmentSize: Int
    private var segmentBegan: Int64
    private var reservedEnd = 0
    private(set) var head: AuditHead

    /// Opens a log, or begins one where there is none. Throws `AuditDamage` for one that isn't as the anchor says.
    init(state: String, limits: AuditLimits) throws {
        let place = AuditPlace(state: state)
        try AuditPlace.make(place.directory)
        let key = try Self.key(place)
        guard let bytes = try AuditPlace.read(place.head) else {
            throw AuditDamage(kind: .anchorMissing, number: nil, detail: "there is no \(place.head)")
        }
        guard var head = AuditHead(bytes, key: key) else {
            throw AuditDamage(
                kind: .anchorChanged, number: nil, detail: "\(place.head) is not what \(place.key) sealed")
        }
        try Self.finishArchiving(place, head)
        let segments = try place.segments()
        guard let first = segments.last ?? (head.settled == head.start ? head.start.count + 1 : nil) else {
            throw AuditDamage(kind: .tailCut, number: head.start.count + 1, detail: "there is no segment")
        }
        let tail = try Self.tail(place, first, head)
        let headFile = try FileDescriptor.open(place.head, flags: O_RDWR)
        let segment = try FileDescriptor.open(place.segment(first), flags: O_RDWR | O_CREAT)
        try WholeFiles.syncNames(in: place.directory)
        let raw = segment.raw
        try libc("ftruncate(\(place.segment(first)))") { ftruncate(raw, off_t(tail.size)) }
        try AuditPlace.sync(segment, place.segment(first))
        head.settled = tail.end
        head.announced = tail.end
        try AuditPlace.write(head.sealed(by: key), to: headFile, at: 0, place.head)
        try AuditPlace.sync(headFile, place.head)
        (self.place, self.key, self.limits, self.head) = (place, key, limits, head)
        (segmentFirst, segmentSize, segmentBegan) = (first, tail.size, tail.began)
        self.headFile = headFile
        self.segment = segment
    }

    /// Numbers the events and makes them last. On failure the log is as it was.
    mutating func commit(_ events: [(milliseconds: Int64, event: AuditEvent)]) throws(SystemError) -> AuditPoint {
        var bytes: [UInt8] = []
        var end = head.settled
        for (time, event) in events {
            let entry = AuditEntry(number: end.count + 1, milliseconds: time, event: event, previous: end.hash)
            bytes += entry.frame
            end = AuditPoint(count: entry.number, hash: entry.hash)
        }
        guard let time = events.first?.milliseconds else { return end }
        try rotate(now: time)
        let before = head
        do throws(SystemError) {
            head.announced = end
            try writeHead(head)
            try AuditPlace.sync(headFile, place.head)
            try AuditPlace.write(bytes, to: segment, at: segmentSize, place.segment(segmentFirst))
            try AuditPlace.sync(segment, place.segment(segmentFirst))
        } catch {
            head = before
            _ = ftruncate(segment.raw, off_t(segmentSize))
            reservedEnd = 0
            try writeHead(before)
            throw error
        }
        if segmentSize == 0 { segmentBegan = time }
        segmentSize += bytes.count
        head.settled = end
        // Not flushed: after a loss of power the announced end is found in the log, and settled then.
        try writeHead(head)
        return end
    }

    /// Takes disk space for what comes next.
    mutating func reserveSpace() throws(SystemError) {
        guard reservedEnd < segmentSize + Self.reserve / 2 else { return }
        let end = segmentSize + Self.reserve
        let result = clinux_reserve(segment.raw, off_t(segmentSize), off_t(Self.reserve))
        // A filesystem that can't is one that tells at the write.
        if result != -EOPNOTSUPP { try check(result, "fallocate(\(place.segment(segmentFirst)))") }
        reservedEnd = end
    }

    /// Moves closed segments that are old enough out of the log. Returns the places that it then begins behind.
    mutating func archive(now: Int64) throws -> [AuditPoint] {
        guard let days = limits.archiveDays else { return [] }
        var begins: [AuditPoint] = []
        for first in try place.segments() where first < segmentFirst {
            guard let last = try Self.lastEntry(try AuditPlace.read(place.segment(first)) ?? []),
                last.milliseconds < now - Int64(days) * 86_400_000
            else { break }
            var next = head
            next.start = AuditPoint(count: last.number, hash: last.hash)
            // Before the file moves: a log that begins earlier than its anchor says is whole, the other way round it is cut.
            try writeHead(next)
            try AuditPlace.sync(headFile, place.head)
            head = next
            try Self.finishArchiving(place, head)
            begins.append(next.start)
        }
        return begins
    }

    private func writeHead(_ head: AuditHead) throws(SystemError) {
        try AuditPlace.write(head.sealed(by: key), to: headFile, at: 0, place.head)
    }

    /// A commit lies in one segment, whole.
    private mutating func rotate(now: Int64) throws(SystemError) {
        guard segmentSize > 0,
            segmentSize >= limits.segmentBytes || now - segmentBegan >= limits.segmentMilliseconds
        else { return }
        let first = head.settled.count + 1
        let next = try FileDescriptor.open(place.segment(first), flags: O_RDWR | O_CREAT | O_TRUNC)
        try WholeFiles.syncNames(in: place.directory)
        _ = ftruncate(segment.raw, off_t(segmentSize))
        segment = next
        (segmentFirst, segmentSize, segmentBegan, reservedEnd) = (first, 0, now, 0)
    }
}

extension AuditWriter {
    /// The key of this log; a new one with a new log.
    private static func key(_ place: AuditPlace) throws -> AuditKey {
        if let bytes = try AuditPlace.read(place.key) {
            guard bytes.count == AuditKey.size else {
                throw AuditDamage(
                    kind: .keyMissing, number: nil, detail: "\(place.key) is no key of \(AuditKey.size) bytes")
            }
            return AuditKey(bytes: bytes)
        }
        let segments = try place.segments()
        if let old = try AuditPlace.read(place.head) {
            // The key gets its name last: a kill before that leaves a log without entries.
            guard segments.isEmpty, let bytes = try AuditPlace.read(place.newKey),
                AuditHead(old, key: AuditKey(bytes: bytes)) == AuditHead()
            else { throw AuditDamage(kind: .keyMissing, number: nil, detail: "there is no \(place.key)") }
            try AuditPlace.rename(place.newKey, place.key)
            return AuditKey(bytes: bytes)
        }
        guard segments.isEmpty else {
            throw AuditDamage(kind: .keyMissing, number: nil, detail: "there is no \(place.key) and no \(place.head)")
        }
        let key = AuditKey.random()
        try AuditPlace.create(place.newKey, key.bytes)
        try AuditPlace.create(place.head, AuditHead().sealed(by: key))
        try WholeFiles.syncNames(in: place.directory)
        try AuditPlace.rename(place.newKey, place.key)
        try WholeFiles.syncNames(in: place.state)
        return key
    }

    /// Where the last segment's settled part ends, after what a kill left of a commit was judged.
    private static func tail(_ place: AuditPlace, _ first: UInt64, _ head: AuditHead) throws -> (
        size: Int, end: AuditPoint, began: Int64
    ) {
        let bytes = try AuditPlace.read(place.segment(first)) ?? []
        guard first <= head.settled.count + 1 else {
            throw AuditDamage(
                kind: .inserted, number: first, detail: "the anchor knows \(head.settled.count) entries")
        }
        // What comes before this segment is the business of `audit verify`.
        guard case .entry(let begin) = bytes.isEmpty ? .cut : AuditEntry.read(bytes, at: 0) else {
            guard first == head.settled.count + 1 else {
                throw AuditDamage(
                    kind: bytes.isEmpty ? .tailCut : .changed, number: first, detail: "it can't be read")
            }
            return (0, head.settled, WallClock.milliseconds)
        }
        let floor = AuditHead(
            start: AuditPoint(
                count: first - 1, hash: first == head.settled.count + 1 ? head.settled.hash : begin.previous),
            settled: head.settled, announced: head.announced)
        let chain = AuditChain(segments: [first]) { _ in bytes }
        let report = try chain.check(floor: floor, latest: { floor }, expected: nil)
        if report.end.count == head.announced.count {
            return (bytes.count - report.unfinishedBytes, report.end, begin.milliseconds)
        }
        // A part of a commit: nobody was told of it, and nothing proves that it is ours.
        var size = 0
        while size < bytes.count, case .entry(let entry) = AuditEntry.read(bytes, at: size),
            entry.number <= head.settled.count
        {
            size += entry.frame.count
        }
        return (size, head.settled, begin.milliseconds)
    }

    private static func lastEntry(_ bytes: [UInt8]) throws(AuditDamage) -> AuditEntry? {
        var last: AuditEntry?
        var offset = 0
        while offset < bytes.count {
            guard case .entry(let entry) = AuditEntry.read(bytes, at: offset) else {
                throw AuditDamage(
                    kind: .changed, number: last.map { $0.number + 1 }, detail: "it can't be read; nothing is archived")
            }
            last = entry
            offset += entry.frame.count
        }
        return last
    }

    /// Segments before the log's beginning go to the archive; a kill may have left some.
    private static func finishArchiving(_ place: AuditPlace, _ head: AuditHead) throws {
        let old = try place.segments().filter { $0 <= head.start.count }
        guard !old.isEmpty else { return }
        try AuditPlace.make(place.archive)
        for first in old { try AuditPlace.rename(place.segment(first), "\(place.archive)/\(AuditPlace.name(first))") }
        try WholeFiles.syncNames(in: place.archive)
        try WholeFiles.syncNames(in: place.directory)
    }
}
