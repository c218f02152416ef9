// What to start: everything a zygote must know to turn a prepared process into one tenant's worker.
package import Core
internal import SwiftletWire

/// A worker to be. A class, because each call of its function hands it on.
package final class WorkerSpec: Sendable {
    package enum Purpose: UInt32, Sendable {
        case handler = 1
        case backend = 2
        case probe = 3
        /// A handler that serves one invocation and ends.
        case fresh = 4
    }

    /// Where interchangeable workers are. Hashed once, because each call of a function looks it up.
    package struct Pool: Hashable, Sendable {
        private let hash: Int
        private let name: String

        package init(_ name: String) {
            hash = name.hashValue
            self.name = name
        }

        package func hash(into hasher: inout Hasher) { hasher.combine(hash) }
    }

    package let purpose: Purpose
    /// Whose function or model this is, for `ps` and for logs.
    package let key: FunctionKey
    /// Workers with the same trust key come from one zygote and share its address layout.
    package let trust: String
    /// Directory that the zygote of this trust key sees as /app.
    package let root: String
    /// The artefact's directory below `root`.
    package let directory: String
    package let pool: Pool
    /// File names inside that directory; `model` may be empty.
    package let library: String
    package let model: String
    /// JSON.
    package let config: String
    package let limits: Limits
    /// A backend's, if it has one.
    package let device: Device?
    /// What that is on this machine; WorkerHost fills it in at the start.
    let nodes: [DeviceNode]
    package let contextTokens: UInt32
    package let maxSequences: UInt32
    package let maxStepTokens: UInt32
    /// A backend whose engine makes machine code: its worker has a policy of its own.
    package let makesCode: Bool

    /// - Parameter sharesPool: its workers serve every function of the same trust key and artefact.
    package convenience init(
        purpose: Purpose, key: FunctionKey, trust: String, root: String, directory: String, sharesPool: Bool = false,
        library: String, model: String = "", config: String = "{}", limits: Limits, device: Device? = nil,
        contextTokens: UInt32 = 0, maxSequences: UInt32 = 0, maxStepTokens: UInt32 = 0, makesCode: Bool = false
    ) {
        self.init(
            purpose: purpose, key: key, trust: trust, root: root, directory: directory,
            pool: Pool(sharesPool ? "\(trust)@\(directory)" : "\(trust)/\(key.name)@\(directory)"), library: library,
            model: model, config: config, limits: limits, device: device, nodes: [], contextTokens: contextTokens,
            maxSequences: maxSequences, maxStepTokens: maxStepTokens,
            makesCode: makesCode)
    }

    private init(
        purpose: Purpose, key: FunctionKey, trust: String, root: String, directory: String, pool: Pool,
        library: String, model: String, config: String, limits: Limits, device: Device?, nodes: [DeviceNode],
        contextTokens: UInt32, maxSequences: UInt32, maxStepTokens: UInt32, makesCode: Bool
    ) {
        self.purpose = purpose
        self.key = key
        self.trust = trust
        self.root = root
        self.directory = directory
        self.pool = pool
        self.library = library
        self.model = model
        self.config = config
        self.limits = limits
        self.device = device
        self.nodes = nodes
        self.contextTokens = contextTokens
        self.maxSequences = maxSequences
        self.maxStepTokens = maxStepTokens
        self.makesCode = makesCode
    }

    /// The same with what its device is on this machine.
    func with(_ nodes: [DeviceNode]) -> WorkerSpec {
        WorkerSpec(
            purpose: purpose, key: key, trust: trust, root: root, directory: directory, pool: pool, library: library,
            model: model, config: config, limits: limits, device: device, nodes: nodes, contextTokens: contextTokens,
            maxSequences: maxSequences, maxStepTokens: maxStepTokens,
            makesCode: makesCode)
    }

    /// Workers with the same key come from one zygote. Its nodes are part of it, because a zygote takes them once, for all.
    var zygoteKey: String {
        nodes.reduce(trust) { key, node in key + " \(node.path)=\(node.major):\(node.minor)" }
    }

    /// What its group lets it start: a device's driver has threads beside the engine's own.
    var threads: UInt32 { limits.threads + (nodes.isEmpty ? 0 : Self.driverThreads) }
    private static let driverThreads: UInt32 = 16

    /// The START frame; `prepared` is the number of the waiting worker that it is for, 0 for any.
    func startPacket(worker: UInt32, prepared: UInt32 = 0) -> [UInt8] {
        var frame = FrameBuilder(FrameHead(Int(WIRE_START), id: prepared), capacity: 256 + config.utf8.count)
        frame.append(worker)
        frame.append(makesCode ? UInt32(WIRE_KIND_JIT) : purpose.rawValue)
        frame.append(limits.memoryBytes)
        frame.append(threads)
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
