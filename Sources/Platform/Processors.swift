// How many cores this process may use.
internal import CLinux

package enum Processors {
    /// Cores of this process' affinity (`taskset`, cpusets), which its workers inherit.
    package static var usable: Int { Int(clinux_usable_cores()) }
}
