// What to start: everything a zygote must know to turn a prepared process into one tenant's worker.
package import Core
internal import SwiftletWire

/// A worker to be.
package struct WorkerSpec: Sendable {
    package enum Purpose: UInt32, Sendable {
        case handler = 1
        case backend = 2
        case probe = 3
        /// A handler that serves one invocation and ends.
        case fresh = 4
    }

    package var purpose: Purpose
    /// Whose function or model this is, for `ps` and for logs.
    package let key: FunctionKey
    /// Workers with the same trust key come from one zygote and share its address layout.
    package let trust: String
    /// Directory that the zygote of this trust key sees as /app.
    package var root: String
    /// The artefact's directory below `root`.
    package let directory: String
    /// Workers of the same pool are interchangeable.
    package var pool: String
    /// File names inside that directory; `model` may be empty.
    package var library: String
    package var model = ""
    /// JSON.
    package var config = "{}"
    package var limits: Limits
    /// A backend's, if it has one.
    package var device: Device?
    /// What that is on this machine; WorkerHost fills it in at the start.
    var nodes: [DeviceNode] = []
    package var contextTokens: UInt32 = 0
    package var maxSequences: UInt32 = 0
    package var maxStepTokens: UInt32 = 0

    package init(
        purpose: Purpose, key: FunctionKey, trust: String, root: String, directory: String, library: String,
        limits: Limits
    ) {
        self.purpose = purpose
        self.key = key
        self.trust = trust
        self.root = root
        self.directory = directory
        pool = "\(trust)/\(key.name)@\(directory)"
        self.library = library
        self.limits = limits
    }

    /// Workers with the same key come from one zygote. Its nodes are part of it, because a zygote takes them once, for all.
    var zygoteKey: String {
        nodes.reduce(trust) { key, node in key + " \(node.path)=\(node.major):\(node.minor)" }
    }

    /// The START frame; `prepared` is the number of the waiting worker that it is for, 0 for any.
    func startPacket(worker: UInt32, prepared: UInt32 = 0) -> [UInt8] {
        var frame = FrameBuilder(FrameHead(Int(WIRE_START), id: prepared), capacity: 256 + config.utf8.count)
        frame.append(worker)
        frame.append(purpose.rawValue)
        frame.append(limits.memoryBytes)
        frame.append(limits.threads)
        frame.append(limits.cpuPercent)
        frame.append(UInt32(0))
        frame.append(limits.files)
        frame.append(contextTokens)
        frame.append(maxSequences)
        frame.append(maxStepTokens)
        frame.append(limits.threads)
        frame.append(device == nil ? 0 : limits.deviceMemoryBytes)
        for text in [directory, library, model, config] { frame.append(UInt32(text.utf8.count)) }
        frame.append(UInt32(nodes.count))
        frame.append(limits.cpuWeight)
        for text in [directory, library, model, config] { frame.append(text) }
        return frame.finish()
    }
}
