// The line to one backend worker, as the runner sees it; BackendWorker.swift is the real one.
internal import SwiftletABI

/// What ModelRunner needs of a backend worker. Loop-confined.
package protocol BackendConnection: AnyObject {
    /// Sends one operation (WIRE_OP_*). Never blocks: what the worker doesn't take yet is queued, in order.
    func send(operation: Int, request: UInt32, payload: [UInt8])
    /// Ends the worker: politely, and by force when it isn't gone after a while. `.exited` follows.
    func close()
    /// Ends the worker at once, because it broke the rules or hangs. `.exited` follows.
    func kill()
}

/// What a backend's worker tells, on the loop, after the function that started it has returned.
package enum BackendEvent {
    case ready(ModelInfo)
    /// It can't load the model; `.exited` follows.
    case failed(String)
    /// The answer to operation `request`; `payload` is complete, and text when `status` is not zero.
    case result(request: UInt32, status: Int32, payload: [UInt8])
    case log(level: Int, text: String)
    /// It held more of its device than its share, and is being ended; `.exited` follows.
    case overBudget(DeviceOveruse)
    /// The process is gone. The last event.
    case exited(String)
}

/// What a loaded model is, and how long loading took.
package struct ModelInfo: Equatable, Sendable {
    package var capabilities: UInt32
    package var vocabulary: Int
    package var contextTokens: Int
    package var sequenceTokens: Int
    package var maxSequences: Int
    package var maxStepTokens: Int
    package var embeddingSize: Int
    package var bytesPerToken: UInt64
    package var modelBytes: UInt64
    /// Nanoseconds: confinement, loading the plugin, sealing, opening the model.
    package var confine: UInt64 = 0
    package var load: UInt64 = 0
    package var seal: UInt64 = 0
    package var open: UInt64 = 0

    /// One of SWIFTLET_CAN_*.
    func can(_ capability: Int) -> Bool { Int(capabilities) & capability == capability }

    /// What can do both is served as a language model.
    var isForTensors: Bool { can(SWIFTLET_CAN_INFER) && !can(SWIFTLET_CAN_GENERATE) }
}
