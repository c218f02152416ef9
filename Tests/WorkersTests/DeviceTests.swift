// From a device's name to nodes: what is there, what is not, and what the caller is told.
import Core
import Glibc
import SwiftletWire
import TestSupport
import Testing

@testable import Workers

private let owner = FunctionKey(tenant: "platform", name: "llama")

@Suite struct DeviceTests {
    private func refusal(_ device: Device, in folder: String) -> RuntimeError? {
        do throws(RuntimeError) {
            _ = try device.nodes(for: owner, in: folder)
            return nil
        } catch {
            return error
        }
    }

    @Test func aDeviceThatIsNotThereIsNamedWithStepCauseAndNextThing() throws {
        let scratch = try Scratch()
        let error = try #require(refusal(.gpu(3), in: scratch.path))
        #expect(error.code == .unavailable && error.step == "give gpu:3 to platform/llama")
        #expect(error.cause.contains("\(scratch.path)/nvidia3: No such file") && error.next.contains("swiftlet doctor"))
        try scratch.write("nvidia3", "a file")
        #expect(refusal(.gpu(3), in: scratch.path)?.cause.contains("no character device") == true)
    }

    @Test(.enabled(if: geteuid() == 0)) func nodesAreFoundWithTheirNumbers() throws {
        let scratch = try Scratch()
        for (name, minor) in [("nvidia0", 0), ("nvidia1", 1), ("nvidiactl", 255)] {
            try shell("mknod -m 666 '\(scratch.file(name))' c 195 \(minor)")
        }
        #expect(refusal(.gpu(1), in: scratch.path)?.cause.contains("nvidia-uvm") == true, "CUDA needs all three")
        try shell("mknod -m 660 '\(scratch.file("nvidia-uvm"))' c 510 0")
        #expect(refusal(.gpu(1), in: scratch.path)?.next.contains("chmod 666") == true, "a worker is in no group")
        try shell("chmod 666 '\(scratch.file("nvidia-uvm"))' && mknod -m 666 '\(scratch.file("null"))' c 1 3")
        let nodes = try Device.gpu(1).nodes(for: owner, in: scratch.path)
        #expect(
            nodes == [
                DeviceNode(path: "nvidia1", major: 195, minor: 1),
                DeviceNode(path: "nvidiactl", major: 195, minor: 255),
                DeviceNode(path: "nvidia-uvm", major: 510, minor: 0), DeviceNode(path: "null", major: 1, minor: 3),
            ], "its own node and the shared ones, never another GPU's")
        #expect(Device.all(in: scratch.path) == [.gpu(0), .gpu(1)])
        try shell("mkdir '\(scratch.file("dri"))' && mknod -m 666 '\(scratch.file("dri/renderD129"))' c 226 129")
        let render = try Device.render(129).nodes(for: owner, in: scratch.path)
        #expect(render == [DeviceNode(path: "dri/renderD129", major: 226, minor: 129)], "no kfd: not AMD's driver")
    }

    @Test func nodesTravelAsTheWireLaysThemOut() {
        var frame = FrameBuilder(FrameHead(WIRE_ADOPT))
        [DeviceNode(path: "nvidia1", major: 195, minor: 1), DeviceNode(path: "nvidiactl", major: 195, minor: 255)]
            .append(
                to: &frame)
        let bytes = frame.finish()[Int(WIRE_HEAD_SIZE)...]
        #expect(bytes.count == 2 * MemoryLayout<wire_device>.size)
        #expect(Array(bytes.prefix(16)) == [195, 0, 0, 0, 1, 0, 0, 0] + Array("nvidia1\0".utf8))
        #expect(bytes[bytes.startIndex + 64] == 195 && bytes[bytes.startIndex + 68] == 255 && bytes.last == 0)
    }

    @Test func aZygoteIsSharedOnlyByThoseWithTheSameNodes() {
        func key(_ nodes: [DeviceNode]) -> String {
            WorkerSpec(
                purpose: .backend, key: owner, trust: "platform:llama", root: "/", directory: "d", library: "l.so",
                limits: Limits(defaultsFor: .backend)
            ).with(nodes).zygoteKey
        }
        let (one, two) = (DeviceNode(path: "a", major: 1, minor: 2), DeviceNode(path: "a", major: 1, minor: 3))
        #expect(Set([key([]), key([one]), key([two]), key([one, two])]).count == 4 && key([]) == "platform:llama")
    }
}
