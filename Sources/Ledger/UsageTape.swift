// Rows of one tenant as bytes, one after the other: how they wait in memory, and how they lie in the ledger's file.

/// What a row has in common with the one before takes no room, so that a row of a busy function has some 40 bytes and nobody else's
/// memory is held by it. Its bytes, in this order:
///
/// - what follows: a bit each for principal, kind, name, version, route, outcome, status (when it differs from the row before), and cold
/// - those of them, a text as its length and its UTF-8, kind as 0 or 1
/// - the time, less that of the row before; the request's id
/// - a bit each for the ten counts below that are there (not 0; CPU time and memory: not nil), and those counts
///
/// Numbers are LEB128, signed ones with the sign in the lowest bit.
struct UsageTape: Sendable {
    let tenant: String
    private(set) var count = 0
    private(set) var bytes: [UInt8] = []
    /// The latest time of its rows.
    private(set) var latest: Int64 = 0
    /// What the next row may have in common with the last one.
    private var last = UsageRow()
    /// Sums over its rows that differ in their amounts only, made while they come: reading them again costs ten times as much. None
    /// of a tape that was stored.
    private(set) var sums: [(first: UsageRow, sums: UsageSums)] = []
    private var places: [SumKey: Int] = [:]
    private var place = 0

    init(tenant: String) { self.tenant = tenant }

    /// One that was stored.
    init(tenant: String, count: Int, bytes: [UInt8]) {
        self.tenant = tenant
        self.count = count
        self.bytes = bytes
    }

    mutating func append(_ row: UsageRow) {
        var changes = Changes(from: last, to: row)
        add(row, isLikeLast: changes.isDisjoint(with: .ofSums))
        if row.isCold { changes.insert(.cold) }
        let counts = row.counts
        // Fifteen numbers, the flags, and texts.
        let most = 160 + row.requestID.utf8.count + (changes.isSubset(of: .short) ? 0 : row.textBytes)
        bytes.append(addingCapacity: most) { out in
            out.append(changes.rawValue)
            if !changes.isSubset(of: .cold) { out.append(changes, of: row) }
            let step = row.time &- last.time
            out.append(number: UInt64(bitPattern: step << 1 ^ step >> 63))
            out.append(text: row.requestID)
            var present: UInt64 = 0
            for place in counts.indices where counts[place] != nil { present |= 1 << UInt64(place) }
            out.append(number: present)
            for place in counts.indices { if let count = counts[place] { out.append(number: count) } }
        }
        count += 1
        latest = max(latest, row.time)
        last.time = row.time
        if !changes.isSubset(of: .cold) { last.take(changes, from: row) }
    }

    /// Calls `body` with each row, in order. False: the bytes are not those of rows, and what could be read was.
    @discardableResult
    func forEach(_ body: (UsageRow) -> Void) -> Bool {
        var reader = Reader(bytes: bytes)
        var row = UsageRow()
        row.tenant = tenant
        for _ in 0..<count {
            guard reader.next(&row) else { return false }
            body(row)
        }
        return reader.isAtEnd
    }

    private struct SumKey: Hashable {
        let principal: String
        let kind: UsageRow.Kind
        let name, outcome: String
        let hour: Int64

        init(_ row: UsageRow) {
            (principal, kind, name, outcome, hour) = (row.principal, row.kind, row.name, row.outcome, row.hour)
        }
    }

    private mutating func add(_ row: UsageRow, isLikeLast: Bool) {
        // Many rows of one function come one after the other, of one hour.
        if !isLikeLast || count == 0 || row.hour != last.hour {
            let key = SumKey(row)
            place = places[key] ?? sums.count
            if place == sums.count {
                places[key] = place
                sums.append((row, UsageSums()))
            }
        }
        sums[place].sums.add(row)
    }

    fileprivate struct Changes: OptionSet {
        let rawValue: UInt8
        static let principal = Changes(rawValue: 1)
        static let kind = Changes(rawValue: 2)
        static let name = Changes(rawValue: 4)
        static let version = Changes(rawValue: 8)
        static let route = Changes(rawValue: 16)
        static let outcome = Changes(rawValue: 32)
        static let status = Changes(rawValue: 64)
        static let cold = Changes(rawValue: 128)
        /// Those that are no texts.
        static let short: Changes = [.kind, .status, .cold]
        /// What sums are kept by.
        static let ofSums: Changes = [.principal, .kind, .name, .outcome]
    }

    /// Goes through the bytes; false wherever they end too soon or say what no row can.
    private struct Reader {
        let bytes: [UInt8]
        var place = 0

        var isAtEnd: Bool { place == bytes.count }

        mutating func next(_ row: inout UsageRow) -> Bool {
            guard let flags = byte() else { return false }
            let changes = Changes(rawValue: flags)
            row.isCold = changes.contains(.cold)
            if changes.contains(.principal) { guard text(&row.principal) else { return false } }
            if changes.contains(.kind) {
                guard let kind = byte(), kind < 2 else { return false }
                row.kind = kind == 0 ? .invoke : .model
            }
            if changes.contains(.name) { guard text(&row.name) else { return false } }
            if changes.contains(.version) { guard text(&row.version) else { return false } }
            if changes.contains(.route) { guard text(&row.route) else { return false } }
            if changes.contains(.outcome) { guard text(&row.outcome) else { return false } }
            if changes.contains(.status) {
                guard let status = number() else { return false }
                row.status = Int(truncatingIfNeeded: status)
            }
            guard let step = number(), text(&row.requestID), let present = number() else { return false }
            row.time &+= Int64(bitPattern: step >> 1) ^ -Int64(step & 1)
            var counts = UsageRow.Counts(repeating: nil)
            for place in counts.indices where present & 1 << UInt64(place) != 0 {
                guard let count = number() else { return false }
                counts[place] = count
            }
            row.counts = counts
            return true
        }

        private mutating func byte() -> UInt8? {
            guard place < bytes.count else { return nil }
            defer { place += 1 }
            return bytes[place]
        }

        private mutating func number() -> UInt64? {
            var (number, shift): (UInt64, UInt64) = (0, 0)
            while let next = byte(), shift < 64 {
                number |= UInt64(next & 127) << shift
                if next < 128 { return number }
                shift += 7
            }
            return nil
        }

        private mutating func text(_ text: inout String) -> Bool {
            guard let count = number(), count <= UInt64(bytes.count - place) else { return false }
            text = String(decoding: bytes[place..<(place + Int(count))], as: UTF8.self)
            place += Int(count)
            return true
        }
    }
}

extension OutputSpan<UInt8> {
    fileprivate mutating func append(number: UInt64) {
        var rest = number
        while rest > 127 {
            append(UInt8(truncatingIfNeeded: rest) | 128)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }

    fileprivate mutating func append(text: String) {
        let source = text.utf8Span.span
        append(number: UInt64(source.count))
        for place in source.indices { append(source[place]) }
    }

    fileprivate mutating func append(_ changes: UsageTape.Changes, of row: UsageRow) {
        if changes.contains(.principal) { append(text: row.principal) }
        if changes.contains(.kind) { append(row.kind == .invoke ? 0 : 1) }
        if changes.contains(.name) { append(text: row.name) }
        if changes.contains(.version) { append(text: row.version) }
        if changes.contains(.route) { append(text: row.route) }
        if changes.contains(.outcome) { append(text: row.outcome) }
        if changes.contains(.status) { append(number: UInt64(max(0, row.status))) }
    }
}

extension UsageTape.Changes {
    /// What of the second row must be told beside the first.
    fileprivate init(from last: UsageRow, to row: UsageRow) {
        self = []
        if row.principal != last.principal { insert(.principal) }
        if row.kind != last.kind { insert(.kind) }
        if row.name != last.name { insert(.name) }
        if row.version != last.version { insert(.version) }
        if row.route != last.route { insert(.route) }
        if row.outcome != last.outcome { insert(.outcome) }
        if row.status != last.status { insert(.status) }
    }
}

extension UsageRow {
    typealias Counts = InlineArray<10, UInt64?>

    var hour: Int64 { time / LedgerStore.hour }

    /// Of those that may differ from the row before, each with its length.
    fileprivate var textBytes: Int {
        principal.utf8.count + name.utf8.count + version.utf8.count + route.utf8.count + outcome.utf8.count + 50
    }

    fileprivate mutating func take(_ changes: UsageTape.Changes, from row: UsageRow) {
        if changes.contains(.principal) { principal = row.principal }
        kind = row.kind
        if changes.contains(.name) { name = row.name }
        if changes.contains(.version) { version = row.version }
        if changes.contains(.route) { route = row.route }
        if changes.contains(.outcome) { outcome = row.outcome }
        status = row.status
    }

    /// Its amounts in the order in which a tape has them.
    fileprivate var counts: Counts {
        get {
            func some(_ count: UInt64) -> UInt64? { count == 0 ? nil : count }
            return [
                some(queuedNanoseconds), some(runNanoseconds), some(deviceNanoseconds), cpuNanoseconds, memoryPeakBytes,
                some(tokensIn), some(tokensCached), some(tokensOut), some(bytesIn), some(bytesOut),
            ]
        }
        set {
            queuedNanoseconds = newValue[0] ?? 0
            runNanoseconds = newValue[1] ?? 0
            deviceNanoseconds = newValue[2] ?? 0
            cpuNanoseconds = newValue[3]
            memoryPeakBytes = newValue[4]
            tokensIn = newValue[5] ?? 0
            tokensCached = newValue[6] ?? 0
            tokensOut = newValue[7] ?? 0
            bytesIn = newValue[8] ?? 0
            bytesOut = newValue[9] ?? 0
        }
    }
}

/// Tapes of several tenants that are being written on.
struct UsageTapes: Sendable {
    /// More rows than this are told in a next tape: who reads one row reads its whole tape.
    static let rowsPerTape = 4096

    private(set) var tapes: [UsageTape] = []
    private var places: [String: Int] = [:]
    private var current = 0

    mutating func append(_ row: UsageRow) {
        if !isCurrent(row.tenant) { current = places[row.tenant] ?? tapes.count }
        if !hasRoom() {
            current = tapes.count
            tapes.append(UsageTape(tenant: row.tenant))
            places[row.tenant] = current
        }
        tapes[current].append(row)
    }

    // By spans, which look at a tape without a copy of it.

    private func isCurrent(_ tenant: String) -> Bool {
        let all = tapes.span
        return current < all.count && all[current].tenant == tenant
    }

    private func hasRoom() -> Bool {
        let all = tapes.span
        return current < all.count && all[current].count < Self.rowsPerTape
    }
}
