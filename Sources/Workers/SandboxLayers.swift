// Which layers of confinement this machine gives; the forker found out by trying.

/// The layers in force for workers of this host.
package struct SandboxLayers: Sendable, Equatable {
    package let have: UInt32
    /// 0 none, 1 or 2.
    package let cgroupVersion: UInt32

    package init(have: UInt32, cgroup: UInt32) {
        self.have = have
        cgroupVersion = cgroup
    }

    /// Every layer by its name; the place in this list is the bit of WIRE_LAYER_*.
    package static let names = [
        "user", "pid", "net", "mount", "ipc", "landlock", "seccomp", "caps", "rlimits", "mdwe", "cgroup-memory",
        "cgroup-pids", "cgroup-cpu", "cgroup-devices",
    ]

    package var missing: [String] {
        Self.names.indices.filter { have & (1 << UInt32($0)) == 0 }.map { Self.names[$0] }
    }
}
