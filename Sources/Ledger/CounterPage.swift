// How many rows were ever taken: a page of a file that the kernel keeps when the program is killed.
internal import Core
internal import Glibc
internal import Platform

/// Each counter is for one thread at a time: its owner holds a lock around each use.
// SAFETY: the pointer is private, points to a page that is mapped until deinit, and the owners' locks guard its words.
@safe final class CounterPage: @unchecked Sendable {
    private static let size = 4096
    /// Beside the one that `raise` sets, each in a line of the cache of its own.
    static let counters = 16
    private static let wordsPerLine = 8
    private static let magic: UInt64 = 0x3145_4741_5355_5753

    private let words: UnsafeMutablePointer<UInt64>

    init(path: String) throws(RuntimeError) {
        do throws(SystemError) {
            let file = try FileDescriptor.open(path, flags: O_RDWR | O_CREAT)
            // With blocks of its own: a page of a hole would be a SIGBUS on a full disk.
            let code = posix_fallocate(file.raw, 0, off_t(Self.size))
            guard code == 0 else { throw SystemError(call: "posix_fallocate", code: code) }
            let mapped = unsafe mmap(nil, Self.size, PROT_READ | PROT_WRITE, MAP_SHARED, file.raw, 0)
            guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
                throw SystemError(call: "mmap", code: errno)
            }
            unsafe words = mapped.bindMemory(to: UInt64.self, capacity: Self.size / 8)
        } catch {
            throw RuntimeError(
                .unavailable, step: "open \(path)", cause: "\(error)",
                next: "check that the state directory is writable and that its disk has room")
        }
        if unsafe words[0] != Self.magic {
            unsafe words.update(repeating: 0, count: Self.size / 8)
            unsafe words[0] = Self.magic
        }
    }

    deinit { unsafe munmap(words, Self.size) }

    /// Rows that were taken since the ledger was made. For when nobody counts.
    var taken: UInt64 {
        (1...Self.counters).reduce(unsafe words[1]) { sum, line in unsafe sum + words[line * Self.wordsPerLine] }
    }

    /// Makes it at least this many. For when nobody counts.
    func raise(to least: UInt64) {
        let taken = taken
        if taken < least { unsafe words[1] += least - taken }
    }

    func add(to counter: Int) {
        precondition(0..<Self.counters ~= counter)
        unsafe words[(counter + 1) * Self.wordsPerLine] += 1
    }
}
