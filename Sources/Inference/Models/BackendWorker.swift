// One backend worker's process: operations out as frames, frames in as events; ModelRunner is behind the sink.
internal import Core
package import Platform
internal import SwiftletWire
package import Workers

/// Runs a model's worker on one loop.
package final class BackendWorker: BackendConnection, WorkerChannelDelegate {
    /// An answer above this is no answer: the worker's own code makes none.
    private static let maxResultBytes = 256 << 20
    /// How long a worker may take to end by itself.
    private static let graceMilliseconds: UInt64 = 2_000

    private let host: WorkerHost
    private let worker: Worker
    private let loop: EventLoop
    private var sink: ((BackendEvent) -> Void)?
    private var channel: WorkerChannel?
    private var isReady = false
    /// The one answer whose end has not come yet: a worker gives them one after the other.
    private var partial: (request: UInt32, status: Int32, payload: [UInt8])?
    /// Why we ended it; else its exit tells.
    private var reason: String?
    private var graceTimer: TimerToken?

    /// Starts a worker for `spec`. What becomes of it comes through `sink`.
    ///
    /// - Parameter watcher: looks after its device memory, when it has a device.
    package static func start(
        _ spec: WorkerSpec, host: WorkerHost, loop: EventLoop, buffer: PacketBuffer, watcher: DeviceWatcher,
        sink: @escaping (BackendEvent) -> Void
    ) -> (any BackendConnection)? {
        do {
            let worker = try host.start(spec)
            let backend = BackendWorker(worker, host: host, loop: loop, buffer: buffer, sink: sink)
            backend.watch(with: watcher)
            return backend
        } catch {
            loop.afterBatch { sink(.exited("\(error)")) }
            return nil
        }
    }

    init(
        _ worker: Worker, host: WorkerHost, loop: EventLoop, buffer: PacketBuffer,
        sink: @escaping (BackendEvent) -> Void
    ) {
        self.worker = worker
        self.host = host
        self.loop = loop
        self.sink = sink
        do {
            channel = try WorkerChannel(descriptor: worker.channel.raw, loop: loop, buffer: buffer, delegate: self)
        } catch {
            reason = "watch the worker's channel: \(error)"
            host.kill(worker)
        }
        awaitExit()
    }

    // The closure keeps this object until the process is gone, so nobody else has to.
    private func awaitExit() {
        let own = LoopBound(self, on: loop)
        let remote = loop.remote
        worker.whenExited { exit in remote.submit { _ in own.value.ended(exit) } }
    }

    private func watch(with watcher: DeviceWatcher) {
        let own = LoopBound(self, on: loop)
        let remote = loop.remote
        watcher.watch(worker) { overuse in remote.submit { _ in own.value.endForOveruse(overuse) } }
    }

    private func endForOveruse(_ overuse: DeviceOveruse) {
        reason = reason ?? "\(overuse)"
        sink?(.overBudget(overuse))
        kill()
    }

    // MARK: towards the worker

    package func send(operation: Int, request: UInt32, payload: [UInt8]) {
        var rest = payload[...]
        repeat {
            let part = rest.prefix(Int(WIRE_FRAME_MAX - WIRE_HEAD_SIZE))
            rest = rest.dropFirst(part.count)
            let flags = rest.isEmpty ? Int(WIRE_FLAG_END) : 0
            var frame = FrameBuilder(
                FrameHead(Int(WIRE_OP), flags: flags, id: request, call: UInt32(operation)), capacity: part.count)
            frame.append(part)
            channel?.send(frame.finish())
        } while !rest.isEmpty
    }

    package func close() {
        reason = reason ?? "unloaded"
        awaitEnd()
    }

    /// Lets the worker end by itself, but not for ever.
    private func awaitEnd() {
        guard graceTimer == nil else { return }
        host.retire(worker)
        graceTimer = loop.schedule(at: .now.adding(milliseconds: Self.graceMilliseconds)) { [weak self] in self?.kill()
        }
    }

    package func kill() {
        channel?.detach()
        host.kill(worker)
    }

    // MARK: from the worker

    package func received(_ head: FrameHead, _ payload: RawSpan) {
        switch Int(head.type) {
        case Int(WIRE_OP_RESULT) where isReady: result(head, payload)
        case Int(WIRE_READY) where !isReady: ready(payload)
        case Int(WIRE_FAILED) where !isReady: sink?(.failed(payload.text(in: 0..<payload.byteCount)))
        case Int(WIRE_LOG): sink?(.log(level: Int(head.call), text: payload.text(in: 0..<payload.byteCount)))
        default: violate("frame \(head.type) out of place")
        }
    }

    private func ready(_ payload: RawSpan) {
        guard let info = ModelInfo(ready: payload) else { return violate("a READY frame without a usable model") }
        isReady = true
        sink?(.ready(info))
    }

    private func result(_ head: FrameHead, _ payload: RawSpan) {
        if let partial, partial.request != head.id { return violate("a result inside another") }
        var offset = 0
        let isFirst = partial == nil
        // Taken out, so that it grows where it is.
        var result = partial.take() ?? (head.id, 0, [])
        if isFirst {
            guard let status = payload.i32(&offset), let size = payload.u32(&offset) else {
                return violate("a result of \(payload.byteCount) bytes")
            }
            result.status = status
            result.payload.reserveCapacity(min(Int(size), Self.maxResultBytes))
        }
        unsafe payload.extracting(offset..<payload.byteCount).withUnsafeBytes { bytes in
            unsafe result.payload.append(contentsOf: bytes)
        }
        guard result.payload.count <= Self.maxResultBytes else { return violate("a result over 1 GiB") }
        guard head.isEnd else { return partial = result }
        sink?(.result(request: head.id, status: result.status, payload: result.payload))
    }

    private func violate(_ what: String) {
        reason = reason ?? "the worker broke the protocol: \(what)"
        kill()
    }

    package func channelDrained() {}

    package func channelEnded(_ end: ChannelEnd) {
        guard case .violation(let what) = end else { return awaitEnd() }
        violate(what)
    }

    private func ended(_ exit: WorkerExit) {
        channel?.detach()
        if let graceTimer { loop.cancel(graceTimer) }
        let sink = sink
        self.sink = nil
        sink?(.exited(Self.words(exit, spec: worker.spec, reason: reason)))
    }

    private static func words(_ exit: WorkerExit, spec: WorkerSpec, reason: String?) -> String {
        switch exit.outcome(limits: spec.limits) {
        case .outOfMemory(limit: let limit, peak: _):
            "ran out of memory: its limit is \(limit >> 20) MiB; raise limits.memory_mb"
        case .exited(code: 0, words: _): reason ?? "its worker ended by itself"
        case .exited(code: let code, words: let words): reason ?? "its worker ended with exit status \(code)\(words)"
        case .crashed(signal: let signal, words: let words):
            reason ?? "its worker crashed with \(Signal.words(signal))\(words)"
        // What a zygote that could not go on said: a device that is another one by now, for instance.
        default: reason ?? "its worker's zygote ended" + (exit.lastWords.isEmpty ? "" : ": \(exit.lastWords)")
        }
    }
}

extension ModelInfo {
    /// Reads wire_ready with the wire_model behind name and version; nil when the numbers can't be of a model.
    init?(ready payload: RawSpan) {
        var offset = 8
        guard let confine = payload.u64(&offset), let load = payload.u64(&offset), let seal = payload.u64(&offset),
            let open = payload.u64(&offset), let name = payload.u32(&offset), let version = payload.u32(&offset),
            payload.i32(&offset) != nil, payload.u32(&offset) == 1, payload.u64(&offset) != nil,
            payload.take(name, &offset) != nil,
            payload.take(version, &offset) != nil, let capabilities = payload.u32(&offset),
            let vocabulary = payload.u32(&offset), let context = payload.u32(&offset),
            let sequence = payload.u32(&offset),
            let sequences = payload.u32(&offset), let step = payload.u32(&offset), let embedding = payload.u32(&offset),
            payload.u32(&offset) != nil, let bytesPerToken = payload.u64(&offset),
            let modelBytes = payload.u64(&offset),
            sequences <= 65_536
        else { return nil }
        self.init(
            capabilities: capabilities, vocabulary: Int(vocabulary), contextTokens: Int(context),
            sequenceTokens: Int(sequence), maxSequences: Int(sequences), maxStepTokens: Int(step),
            embeddingSize: Int(embedding), bytesPerToken: bytesPerToken, modelBytes: modelBytes)
        self.confine = confine
        self.load = load
        self.seal = seal
        self.open = open
    }
}
