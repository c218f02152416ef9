// Invocations that stand in one worker, one behind the other: the worker is a socket, and the test is its process.
import CLinux
import Core
import Glibc
import Platform
import SwiftletWire
import Testing

@testable import Scheduler
@testable import Workers

/// One worker's socket, and what is read from its other end.
private final class Stage {
    let loop: EventLoop
    private let host: WorkerHost
    let dispatcher: Dispatcher
    let worker: Worker
    private let end: FileDescriptor
    private let buffer = PacketBuffer()

    init() throws {
        loop = try EventLoop(index: 0)
        host = try WorkerHost(WorkerHostConfiguration(zygotePath: "/bin/true", kitPath: "", swiftRuntimePath: ""))
        dispatcher = Dispatcher(host: host, control: loop.remote, restartRate: 0)
        var ends: [CInt] = [-1, -1]
        let made = unsafe socketpair(AF_UNIX, CInt(SOCK_SEQPACKET.rawValue) | O_NONBLOCK, 0, &ends)
        try #require(made == 0)
        end = FileDescriptor(owning: ends[1])
        let spec = WorkerSpec(
            purpose: .handler, key: FunctionKey(tenant: "t", name: "f"), trust: "t", root: "/", directory: "d",
            library: "l.so", limits: Limits(defaultsFor: .handler))
        worker = Worker(
            number: 1, wireNumber: 1, spec: spec, channel: FileDescriptor(owning: ends[0]), fromPreparedZygote: true)
        worker.noteReady()
    }

    deinit {
        var status: CInt = 0
        _ = unsafe waitpid(host.forkerPid, &status, 0)
    }

    func run(_ id: UInt64, place: Place, sink: Teller) -> InvocationRun {
        let request = InvocationRequest(
            id: id, requestID: "r", function: worker.spec.key, method: "GET", path: "/", query: "",
            fields: FieldBlock(), body: [], bodyComplete: true)
        return InvocationRun(
            request, lease: Lease(worker: worker, isCold: false), place: place, dispatcher: dispatcher, loop: loop,
            buffer: buffer, queued: 0, sink: sink)
    }

    /// Heads of the frames that have come.
    func heard() -> [FrameHead] {
        var heads: [FrameHead] = []
        while case .packet(let count) = buffer.receive(from: end.raw) {
            buffer.withPacket(count) { packet in if let head = FrameHead(packet: packet) { heads.append(head) } }
        }
        return heads
    }

    /// A whole answer, in one packet.
    func answer(_ id: UInt32) {
        var frame = FrameBuilder(
            FrameHead(Int(WIRE_RESPONSE), flags: Int(WIRE_FLAG_END) | Int(WIRE_FLAG_FINISHED), id: id), capacity: 64)
        for word: UInt32 in [200, 0, 0, 0, 5, 0, 0, 0] { frame.append(word) }
        let packet = frame.finish()
        _ = unsafe packet.withUnsafeBytes {
            unsafe send(end.raw, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL | MSG_DONTWAIT))
        }
        settle()
    }

    /// The process ends.
    func die() {
        _ = shutdown(end.raw, CInt(SHUT_RDWR))
        settle()
        worker.noteExit(WorkerExit(status: 11))
        settle()
    }

    func settle() { for _ in 0..<100 where !loop.step() { return } }
}

private final class Teller: InvocationSink {
    private(set) var words: [String] = []
    private(set) var timings = InvocationTimings()

    func responseHead(status: Int, fields: RawSpan, isWhole: Bool, timings: InvocationTimings) {}
    func responseBody(_ bytes: RawSpan) -> Bool { true }
    func log(level: Int, text: String) {}
    func hostCall(_ call: UInt32, name: String, payload: [UInt8]) {}
    func cancelHostCall(_ call: UInt32) {}
    func displaced() { words.append("displaced") }
    func ended(_ outcome: Core.Outcome, timings: InvocationTimings) {
        words.append(outcome.name)
        self.timings = timings
    }
}

@Suite struct TurnTests {
    private let stage: Stage
    private let tellers = (0..<3).map { _ in Teller() }
    private let runs: [InvocationRun]

    init() throws {
        stage = try Stage()
        let front = stage.run(1, place: .first, sink: tellers[0])
        runs =
            [front]
            + (1..<3).map { [stage, tellers] in
                stage.run(UInt64($0 + 1), place: .behind(front), sink: tellers[$0])
            }
    }

    private var told: [[String]] { tellers.map(\.words) }

    @Test func eachIsAnsweredInTurn() {
        #expect(runs[0].followers == 2)
        let heads = stage.heard()
        #expect(heads.map(\.id) == [1, 2, 3] && heads.allSatisfy { Int($0.type) == Int(WIRE_INVOKE) && $0.isEnd })
        stage.answer(1)
        #expect(told == [["success"], [], []] && runs[1].followers == 1)
        stage.answer(2)
        stage.answer(3)
        #expect(told == [["success"], ["success"], ["success"]])
        #expect(tellers[0].timings.queue == 0 && tellers[2].timings.queue >= tellers[1].timings.queue)
        #expect(tellers[1].timings.queue > 0, "the wait in the worker counts")
    }

    @Test func whoeverWasNotBegunMayGoElsewhere() {
        stage.answer(1)
        stage.die()
        #expect(told == [["success"], ["crashed"], ["displaced"]])
    }

    @Test func nobodyAnswersOutOfTurn() {
        stage.answer(2)
        stage.worker.noteExit(WorkerExit(status: 9))
        stage.settle()
        #expect(told == [["protocol_violation"], ["displaced"], ["displaced"]])
    }

    @Test func aCallerWhoLeftIsCancelledWhenItsTurnComes() {
        runs[1].cancel()
        _ = stage.heard()
        stage.answer(1)
        #expect(stage.heard().map { "\($0.id) \(Int($0.type) == Int(WIRE_CANCEL))" } == ["2 true"])
        stage.answer(2)
        stage.answer(3)
        #expect(told == [["success"], ["cancelled"], ["success"]])
    }

    @Test func aCallerWhoLeftWantsNoOtherWorker() {
        runs[2].cancel()
        stage.die()
        #expect(told == [["crashed"], ["displaced"], ["cancelled"]])
    }
}
