// Which device nodes a device of the manifest is on this machine; looked up at each start, since drivers come and go.
internal import CLinux
package import Core
internal import Glibc
internal import Platform
internal import SwiftletWire

/// A character device that a backend may open.
package struct DeviceNode: Hashable, Sendable {
    /// Below /dev.
    package let path: String
    package let major: UInt32
    package let minor: UInt32
}

extension Device {
    private struct Wanted {
        var path: String
        var isRequired = true
    }

    /// What an engine needs to use the device, and nothing beside it: no other GPU, no profiler, no mode setting.
    private var wanted: [Wanted] {
        switch self {
        case .gpu(let number):
            // The last one is where CUDA's names of its threads go.
            [
                Wanted(path: "nvidia\(number)"), Wanted(path: "nvidiactl"), Wanted(path: "nvidia-uvm"),
                Wanted(path: "null"),
            ]
        case .render(let number):
            // The compute queue of AMD's driver; other drivers have none.
            [Wanted(path: "dri/renderD\(number)"), Wanted(path: "kfd", isRequired: false)]
        }
    }

    /// - Parameter folder: where the nodes are; /dev but in tests.
    package func nodes(for owner: FunctionKey, in folder: String = "/dev") throws(RuntimeError) -> [DeviceNode] {
        var found: [DeviceNode] = []
        for one in wanted {
            if let node = try node(one, for: owner, in: folder) { found.append(node) }
        }
        return found
    }

    private func node(_ one: Wanted, for owner: FunctionKey, in folder: String) throws(RuntimeError) -> DeviceNode? {
        let path = "\(folder)/\(one.path)"
        var info = stat()
        guard unsafe lstat(path, &info) == 0 else {
            let code = errno
            if !one.isRequired, code == ENOENT { return nil }
            throw failure(owner, "\(path): \(SystemError.text(of: code))", absent)
        }
        guard info.st_mode & S_IFMT == S_IFCHR else {
            throw failure(owner, "\(path) is no character device", absent)
        }
        // A worker is a user of its own, in no group.
        guard info.st_mode & 0o006 == 0o006 else {
            if !one.isRequired { return nil }
            throw failure(
                owner, "not every user may open \(path)", "let them: chmod 666 \(path), by a udev rule to last")
        }
        return DeviceNode(path: one.path, major: clinux_major(info.st_rdev), minor: clinux_minor(info.st_rdev))
    }

    private var absent: String {
        switch self {
        case .gpu:
            "name a GPU that `swiftlet doctor` lists; with NVIDIA's driver installed, `nvidia-modprobe -u -c=0` makes the nodes"
        case .render: "name a GPU that `swiftlet doctor` lists, or load its driver"
        }
    }

    private func failure(_ owner: FunctionKey, _ cause: String, _ next: String) -> RuntimeError {
        RuntimeError(.unavailable, step: "give \(self) to \(owner)", cause: cause, next: next)
    }

    /// The devices of this machine, in order.
    package static func all(in folder: String = "/dev") -> [Device] {
        let candidates = (0...254).map(Device.gpu) + (128...191).map(Device.render)
        return candidates.filter { device in
            guard let first = device.wanted.first else { return false }
            return unsafe access("\(folder)/\(first.path)", F_OK) == 0
        }
    }
}

extension [DeviceNode] {
    /// As wire_device each.
    func append(to frame: inout FrameBuilder) {
        for node in self {
            frame.append(node.major)
            frame.append(node.minor)
            let room = MemoryLayout<wire_device>.size - 8
            frame.append(Array<UInt8>(node.path.utf8.prefix(room - 1)))
            frame.append([UInt8](repeating: 0, count: room - Swift.min(node.path.utf8.count, room - 1)))
        }
    }
}
