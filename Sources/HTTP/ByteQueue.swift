// Bytes that wait to leave or to be read: one growing block that is given back when it is empty.
internal import Glibc

/// A queue of bytes. An empty one that was released holds no memory.
// SAFETY: head <= tail <= capacity at all times, and `base` has `capacity` bytes.
@safe struct ByteQueue: ~Copyable {
    private var base: UnsafeMutableRawPointer?
    private var capacity = 0
    private var head = 0
    private var tail = 0

    init() { unsafe base = nil }

    deinit { unsafe free(base) }

    var count: Int { tail - head }
    var isEmpty: Bool { head == tail }

    /// What waits; valid until the next change.
    var readable: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: base.map { unsafe UnsafeRawPointer($0 + head) }, count: count)
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        unsafe memcpy(room(bytes.count), source, bytes.count)
        tail += bytes.count
    }

    mutating func append(_ text: StaticString) {
        unsafe append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func append(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe append($0) }
    }

    mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { unsafe append(UnsafeRawBufferPointer($0)) }
    }

    mutating func append(_ byte: UInt8) {
        unsafe room(1).storeBytes(of: byte, as: UInt8.self)
        tail += 1
    }

    /// Appends a number in digits.
    mutating func append(number: Int, radix: Int = 10) {
        precondition(number >= 0)
        let most = 20
        let start = unsafe room(most)
        var value = number
        var at = most
        repeat {
            at -= 1
            let digit = UInt8(truncatingIfNeeded: value % radix)
            unsafe start.storeBytes(of: digit < 10 ? digit + 48 : digit + 87, toByteOffset: at, as: UInt8.self)
            value /= radix
        } while value > 0
        unsafe memmove(start, start + at, most - at)
        tail += most - at
    }

    /// Drops bytes from the front.
    mutating func consume(_ size: Int) {
        precondition(size <= count)
        head += size
        if head == tail {
            head = 0
            tail = 0
        }
    }

    /// Takes bytes from the front into `target`; returns how many.
    mutating func move(into target: UnsafeMutableRawBufferPointer) -> Int {
        let size = min(target.count, count)
        guard size > 0, let to = target.baseAddress, let from = unsafe readable.baseAddress else { return 0 }
        unsafe memcpy(to, from, size)
        consume(size)
        return size
    }

    /// Gives the memory back; what waited is gone.
    mutating func release() {
        guard capacity > 0 else { return }
        unsafe free(base)
        unsafe base = nil
        capacity = 0
        head = 0
        tail = 0
    }

    /// Makes room for `size` more bytes and returns where they go.
    private mutating func room(_ size: Int) -> UnsafeMutableRawPointer {
        if let base = unsafe base, tail + size <= capacity { return unsafe base + tail }
        return unsafe grownRoom(size)
    }

    private mutating func grownRoom(_ size: Int) -> UnsafeMutableRawPointer {
        if let base = unsafe base, head > 0 {
            unsafe memmove(base, base + head, count)
            tail -= head
            head = 0
            // Moved at most once for each doubling: a queue that is more than half full grows as well.
            if tail + size <= capacity / 2 { return unsafe base + tail }
        }
        var wanted = max(capacity, 512)
        while wanted < tail + size { wanted *= 2 }
        if wanted > capacity {
            guard let grown = unsafe realloc(base, wanted) else {
                fatalError("HTTP: out of memory for \(wanted) bytes of output")
            }
            unsafe base = grown
            capacity = wanted
        }
        guard let base = unsafe base else { fatalError("HTTP: an output queue without memory") }
        return unsafe base + tail
    }
}
