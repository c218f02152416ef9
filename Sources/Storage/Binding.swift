// The values of a statement that runs once for each of many elements, given without an allocation a value.
internal import CSQLite

/// Values go to the statement's parameters in the order in which they are added.
// SAFETY: the pointers are private, the value can't be copied, and SQLite reads the texts before the next `begin`.
@safe package struct Binding: ~Copyable {
    /// More text than this in one element is copied by SQLite.
    private static let capacity = 2048

    private let statement: OpaquePointer
    private let texts = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.capacity, alignment: 1)
    private var used = 0
    private var place: Int32 = 0
    private var code = SQLITE_OK

    init(_ statement: OpaquePointer) { unsafe self.statement = statement }

    deinit {
        // What it points to goes: the statement must not hold it any longer.
        unsafe sqlite3_reset(statement)
        unsafe sqlite3_clear_bindings(statement)
        unsafe texts.deallocate()
    }

    mutating func begin() { (used, place, code) = (0, 0, SQLITE_OK) }

    /// Whether the statement took every value.
    var isWhole: Bool { code == SQLITE_OK }

    package mutating func add(_ integer: Int64) { take(unsafe sqlite3_bind_int64(statement, next(), integer)) }

    /// SQLite's integers are signed: a count that doesn't fit is stored as the greatest that does; nil is NULL.
    package mutating func add(_ count: UInt64?) {
        guard let count else { return take(unsafe sqlite3_bind_null(statement, next())) }
        add(Int64(clamping: count))
    }

    package mutating func add(_ text: String) {
        let place = next()
        let bytes = unsafe text.utf8Span.span.bytes
        let count = bytes.byteCount
        let isOurs = unsafe count <= texts.count - used
        let code = unsafe bytes.withUnsafeBytes { source in
            guard isOurs, let from = source.baseAddress, let kept = unsafe texts.baseAddress?.advanced(by: used)
            else {
                return unsafe sqlite3_bind_text(statement, place, text, Int32(clamping: count), csqlite_transient())
            }
            unsafe kept.copyMemory(from: from, byteCount: count)
            return unsafe sqlite3_bind_text(
                statement, place, kept.assumingMemoryBound(to: CChar.self), Int32(count), nil)
        }
        if isOurs { used += count }
        take(code)
    }

    private mutating func next() -> Int32 {
        place += 1
        return place
    }

    private mutating func take(_ code: Int32) {
        if self.code == SQLITE_OK { self.code = code }
    }
}
