// How much memory a process holds, as the kernel tells anybody.
internal import Glibc

package enum ProcessMemory {
    /// Resident bytes of a process; 0 when it is gone.
    package static func resident(of pid: Int32) -> UInt64 {
        guard pid > 0, let file = try? FileDescriptor.open("/proc/\(pid)/statm", flags: O_RDONLY) else { return 0 }
        var text = [UInt8](repeating: 0, count: 128)
        let count = unsafe text.withUnsafeMutableBytes { unsafe read(file.raw, $0.baseAddress, $0.count) }
        let words = text.prefix(max(0, count)).split(separator: UInt8(ascii: " "))
        guard words.count > 1, let pages = UInt64(String(decoding: words[1], as: UTF8.self)) else { return 0 }
        return pages * UInt64(getpagesize())
    }
}
