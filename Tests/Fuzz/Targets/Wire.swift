// What a hostile worker or zygote may write on its socket; the first byte chooses who listens.
import CLinux
import Core
import Glibc
import Platform
import SwiftletWire

@testable import Inference
@testable import Scheduler
@testable import Workers

extension Target {
    static let wire = Target(name: "wire") { bytes in
        var input = Input(bytes)
        switch input.u8() % 4 {
        case 0: readPacket(input.all())
        case 1: unsafe Room.shared.invoke(&input)
        case 2: unsafe Room.shared.operate(&input)
        default: unsafe Room.shared.listenToZygote(&input)
        }
    }

    /// One packet as it is, then its payload by every reader that takes one.
    private static func readPacket(_ bytes: [UInt8]) {
        guard let head = unsafe FrameHead(packet: bytes.span.bytes) else {
            let size = bytes.count < 8 ? -1 : (4..<8).reversed().reduce(0) { $0 << 8 | Int(bytes[$1]) }
            return require(bytes.count < 16 || size != bytes.count - 16, "a frame whose size is right is taken")
        }
        let payload = Array(bytes[16...])
        var offset = 0
        while let size = unsafe payload.span.bytes.u32(&offset) {
            require(offset <= payload.count, "a reader stays inside")
            let before = offset
            if unsafe payload.span.bytes.take(size, &offset) == nil {
                require(offset == before && Int(size) > payload.count - offset, "what is there is given")
            }
        }
        _ = unsafe ModelInfo(ready: payload.span.bytes)
        if let step = StepResult(payload) {
            require(step.outputs.count * 32 + 16 <= payload.count, "each output has its bytes")
        }
        if let run = TensorRun(payload) {
            require(run.outputs.count * 24 + 16 <= payload.count, "each tensor has its bytes")
            for output in run.outputs where output.fault == nil {
                _ = output.elements
                require(Tensor.count(output.shape) != nil, "a tensor without fault can be counted")
            }
        }
        if let signature = TensorSignature(payload) {
            require(!signature.outputs.isEmpty, "a model gives something")
        }
        let tokens = PromptTokens.parse(payload, isChat: head.has(1))
        require((tokens?.count ?? 0) * 4 <= payload.count, "each token has its bytes")
    }
}

/// A host with no processes: workers are sockets, whose other ends are written here.
private final class Room {
    // SAFETY: libFuzzer calls the target on one thread.
    nonisolated(unsafe) static let shared = Room()

    private static let identity: UInt32 = 7
    private let loop: EventLoop
    private let buffer = PacketBuffer()
    private let host: WorkerHost
    private let dispatcher: Dispatcher

    private init() {
        let configuration = WorkerHostConfiguration(zygotePath: "/bin/true", kitPath: "", swiftRuntimePath: "")
        guard let loop = try? EventLoop(index: 0), let host = try? WorkerHost(configuration) else {
            fatalError("no event loop, or no /bin/true")
        }
        self.loop = loop
        self.host = host
        dispatcher = Dispatcher(host: host, control: loop.remote, restartRate: 0)
    }

    // MARK: who listens

    /// A handler's worker during one invocation.
    func invoke(_ input: inout Input) {
        let (worker, end) = makeWorker(.handler)
        let sink = Sink()
        let how = input.u8()
        let isCold = how & 1 == 1
        var fields = FieldBlock()
        unsafe fields.append(name: "a".utf8Span.span.bytes, value: "b".utf8Span.span.bytes)
        let request = InvocationRequest(
            id: UInt64(Self.identity), requestID: "r", function: worker.spec.key, method: "GET", path: "/", query: "",
            fields: fields, body: [1, 2, 3], bodyComplete: true)
        let run = InvocationRun(
            request, lease: Lease(worker: worker, isCold: isCold), dispatcher: dispatcher, loop: loop, buffer: buffer,
            queued: 0, sink: sink)
        sink.run = run
        let follower = Sink()
        let second = how & 2 == 0 || isCold ? nil : behind(run, worker, follower)
        while !input.isEmpty {
            send(&input, on: end)
            settle(end)
            require(sink.openCalls.count <= Int(WIRE_CALLS_MAX), "open host calls are bounded by the host itself")
        }
        close(end)
        settle(nil)
        worker.noteExit(WorkerExit(status: 0))
        settle(nil)
        require(sink.ends == 1, "an invocation ends once: \(sink.ends)")
        require(sink.heads <= 1 && sink.bytes <= 4096, "one head, and no more bytes than the limit")
        let last = second == nil ? 0 : 1
        require(
            follower.ends + follower.displacements == last,
            "whoever stands behind is served or told to go elsewhere, once")
        sink.run = nil
        follower.run = nil
    }

    private func behind(_ front: InvocationRun, _ worker: Worker, _ sink: Sink) -> InvocationRun {
        let request = InvocationRequest(
            id: UInt64(Self.identity) + 1, requestID: "r", function: worker.spec.key, method: "GET", path: "/",
            query: "",
            fields: FieldBlock(), body: [], bodyComplete: true)
        let run = InvocationRun(
            request, lease: Lease(worker: worker, isCold: false), place: .behind(front), dispatcher: dispatcher,
            loop: loop,
            buffer: buffer, queued: 0, sink: sink)
        sink.run = run
        return run
    }

    /// A backend's worker.
    func operate(_ input: inout Input) {
        let (worker, end) = makeWorker(.backend)
        var ends = 0
        let backend = BackendWorker(worker, host: host, loop: loop, buffer: buffer) { event in
            require(ends == 0, "nothing follows the end")
            switch event {
            case .exited: ends += 1
            case .overBudget: require(false, "only the host's watch says that")
            case .ready(let info): require(info.maxSequences <= 65_536, "sequences can be counted")
            case .result(_, _, let payload):
                _ = StepResult(payload)
                _ = PromptTokens.parse(payload, isChat: true)
            case .failed, .log: break
            }
        }
        backend.send(operation: Int(WIRE_OP_TOKENIZE), request: 1, payload: [1, 2, 3])
        while !input.isEmpty {
            send(&input, on: end)
            settle(end)
        }
        close(end)
        settle(nil)
        backend.kill()
        worker.noteExit(WorkerExit(status: 0))
        settle(nil)
        require(ends == 1, "a backend's end is told once")
    }

    /// A zygote, on its control socket.
    func listenToZygote(_ input: inout Input) {
        let (ours, theirs) = makePair()
        let zygote = Zygote(number: 1, socket: ControlSocket(FileDescriptor(owning: ours), name: "zygote"))
        var ends = 0
        // What it says in words goes to the log, and there are too many words here.
        let quiet = [Int(WIRE_ZYGOTE_READY), Int(WIRE_ADOPTED), Int(WIRE_EXITED), Int(WIRE_STARTED)]
        try? zygote.socket.read(
            on: loop, buffer: buffer,
            received: { head, payload, _ in
                if quiet.contains(Int(head.type)) { zygote.received(head, payload, nil) }
            },
            ended: {
                zygote.ended()
                ends += 1
            })
        while !input.isEmpty {
            send(&input, on: theirs)
            settle(nil)
        }
        close(theirs)
        settle(nil)
        require(ends == 1 && zygote.workers.isEmpty, "a zygote's end is told once")
    }

    // MARK: the other end

    /// Sends one packet: how, type, flags, id and call number a byte each, and the payload behind its size.
    private func send(_ input: inout Input, on end: CInt) {
        let how = input.u8()
        let (type, flags, id, call) = (input.u8(), input.u8(), input.u8(), input.u8())
        let size = Int(input.u16() % 2048)
        // A payload of zeros for large ones: an input of a few bytes may then say much.
        let payload = how & 1 == 1 ? [UInt8](repeating: 0, count: size * 32 % Int(WIRE_PAYLOAD_MAX)) : input.take(size)
        let head = FrameHead(Int(type), flags: Int(flags), id: id == 0 ? Self.identity : UInt32(id), call: UInt32(call))
        var frame = FrameBuilder(head, capacity: payload.count)
        frame.append(payload)
        var packet = frame.finish()
        if how & 0xf0 == 0xf0 { packet[4] ^= how }
        if how & 0xf0 == 0xe0 { packet = Array(packet.prefix(Int(how & 15))) }
        _ = unsafe packet.withUnsafeBytes {
            unsafe Glibc.send(end, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL | MSG_DONTWAIT))
        }
    }

    private func makePair() -> (CInt, CInt) {
        var ends: [CInt] = [-1, -1]
        let made = unsafe socketpair(AF_UNIX, CInt(SOCK_SEQPACKET.rawValue) | O_NONBLOCK, 0, &ends)
        require(made == 0, "a socket pair")
        return (ends[0], ends[1])
    }

    private func makeWorker(_ purpose: WorkerSpec.Purpose) -> (Worker, CInt) {
        var limits = Limits(defaultsFor: purpose == .handler ? .handler : .backend)
        limits.responseBytes = 4096
        let spec = WorkerSpec(
            purpose: purpose, key: FunctionKey(tenant: "t", name: "f"), trust: "t", root: "/", directory: "d",
            library: "l.so", limits: limits)
        let (ours, theirs) = makePair()
        let worker = Worker(
            number: 1, wireNumber: 1, spec: spec, channel: FileDescriptor(owning: ours), fromPreparedZygote: true)
        return (worker, theirs)
    }

    /// Lets the host do all it can, and takes what it sends.
    private func settle(_ end: CInt?) {
        for _ in 0..<10_000 {
            let worked = loop.step()
            var heard = false
            if let end {
                while unsafe withUnsafeTemporaryAllocation(
                    byteCount: 65_536, alignment: 16,
                    {
                        unsafe recv(end, $0.baseAddress, $0.count, CInt(MSG_DONTWAIT))
                    }) > 0
                { heard = true }
            }
            if !worked, !heard { return }
        }
        fatalError("BROKEN: the host comes to rest when nothing comes in")
    }
}

/// Takes an answer, and answers host calls: at once, later or never, as the call's number says.
private final class Sink: InvocationSink {
    var run: InvocationRun?
    private(set) var heads = 0
    private(set) var bytes = 0
    private(set) var ends = 0
    private(set) var displacements = 0
    private(set) var openCalls: Set<UInt32> = []

    func responseHead(status: Int, fields: RawSpan, isWhole: Bool, timings: InvocationTimings) {
        heads += 1
        require(ends == 0 && bytes == 0, "the head comes first")
        var (count, offset) = (0, 0)
        while fields.field(&offset) != nil { count += 1 }
        require((200...599).contains(status) && count <= Int(WIRE_HEADERS_MAX), "a head is within bounds")
        require(offset == fields.byteCount, "and made of whole fields")
    }

    func responseBody(_ bytes: RawSpan) -> Bool {
        require(ends == 0 && heads == 1, "bytes come behind the head")
        self.bytes += bytes.byteCount
        return true
    }

    func log(level: Int, text: String) { require(ends == 0, "nothing follows the end") }

    func hostCall(_ call: UInt32, name: String, payload: [UInt8]) {
        require(ends == 0, "nothing follows the end")
        require(!openCalls.contains(call), "an open call's number is not used again")
        require(payload.count <= 4 << 20, "a call's payload is bounded")
        openCalls.insert(call)
        guard call % 3 == 0 else { return }
        openCalls.remove(call)
        run?.reply(call, [1, 2, 3], isEnd: true)
    }

    func cancelHostCall(_ call: UInt32) {
        require(ends == 0, "nothing follows the end")
        openCalls.remove(call)
    }

    func displaced() {
        require(ends == 0, "nothing follows the end")
        displacements += 1
    }

    func ended(_ outcome: Core.Outcome, timings: InvocationTimings) { ends += 1 }
}
