// Whether the numbers of processes here are those that drivers use.
internal import Glibc

package enum PidNamespace {
    /// The kernel's own number for the one that it starts in (PROC_PID_INIT_INO).
    private static let first = "pid:[4026531836]"

    /// False in most containers: a driver's process numbers then name other processes, or none.
    package static var isFirst: Bool {
        var buffer = [CChar](repeating: 0, count: 64)
        let count = unsafe readlink("/proc/self/ns/pid", &buffer, buffer.count - 1)
        return String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self) == first
    }
}
