// How much CPU time a process has used, as the kernel tells anybody.
internal import Glibc

package enum ProcessCPU {
    /// Nanoseconds of all its threads; 0 when it is gone.
    package static func nanoseconds(of pid: Int32) -> UInt64 {
        var clock = clockid_t()
        var time = timespec()
        guard pid > 0, unsafe clock_getcpuclockid(pid, &clock) == 0, unsafe clock_gettime(clock, &time) == 0 else {
            return 0
        }
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
