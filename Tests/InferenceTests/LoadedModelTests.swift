// The watch over a worker's operations and the lease of its device, through the service, with workers that say what the test says.
import Core
import Glibc
import Platform
import SwiftletABI
import SwiftletWire
import Synchronization
import Testing
import Workers

@testable import Inference

/// A worker whose words the test gives.
private final class Worker: BackendConnection {
    let name: String
    let sink: (BackendEvent) -> Void
    var sent: [(operation: Int, request: UInt32, payload: [UInt8])] = []
    var killed = false
    private var answered: Set<UInt32> = []

    init(_ name: String, _ sink: @escaping (BackendEvent) -> Void) {
        self.name = name
        self.sink = sink
    }
    func send(operation: Int, request: UInt32, payload: [UInt8]) { sent.append((operation, request, payload)) }
    func close() {}
    func kill() { killed = true }

    /// Answers the oldest operation of that kind that has no answer yet; a step may be out behind another.
    func answer(_ operation: Int, _ payload: [UInt8], status: Int32 = 0) {
        guard let asked = sent.first(where: { $0.operation == operation && !answered.contains($0.request) }) else {
            return
        }
        answered.insert(asked.request)
        sink(.result(request: asked.request, status: status, payload: payload))
    }

    func count(_ operation: Int) -> Int { sent.count { $0.operation == operation } }
}

private final class Errors: Sendable {
    let all = Mutex<[OpenAIError]>([])
    var last: OpenAIError? { all.withLock { $0.last } }
    var count: Int { all.withLock { $0.count } }
}

private func bytes(_ numbers: [UInt32]) -> [UInt8] {
    numbers.flatMap { number in (0..<4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) } }
}

/// Models "a" and "b" on one loop; the processor has as many cores as this test's process may use.
private final class Bench {
    let loop: EventLoop
    var workers: [Worker] = []
    /// Nil only while it is being made.
    private var made: InferenceService?
    var service: InferenceService {
        guard let made else { preconditionFailure("asked for before it was made") }
        return made
    }
    let errors = Errors()
    let info = ModelInfo(
        capabilities: UInt32(SWIFTLET_CAN_GENERATE | SWIFTLET_CAN_CHAT | SWIFTLET_CAN_EMBED), vocabulary: 10,
        contextTokens: 64, sequenceTokens: 64, maxSequences: 2, maxStepTokens: 16, embeddingSize: 1, bytesPerToken: 1,
        modelBytes: 1)

    init(threads: UInt32 = 1, stepMilliseconds: Int = 120_000) throws {
        loop = try EventLoop(index: 0)
        var limits = Limits(defaultsFor: .backend)
        limits.threads = threads
        limits.cpuPercent = threads * 100
        limits.stepMilliseconds = stepMilliseconds
        let service = InferenceService(loop: loop) { [unowned self] spec, sink in
            workers.append(Worker(spec.name, sink))
            return workers.last
        }
        service.setModels(
            ["a", "b"].map { name in
                let worker = WorkerSpec(
                    purpose: .backend, key: FunctionKey(tenant: "platform", name: name), trust: "t", root: "/",
                    directory: name, library: "l.so", limits: limits)
                return ModelSpec(name: name, created: 0, worker: worker, keepAliveMilliseconds: 60_000)
            })
        made = service
    }

    func turn(milliseconds: Int = 0) {
        while loop.step() {}
        guard milliseconds > 0 else { return }
        usleep(UInt32(milliseconds) * 1000)
        _ = loop.step()
        while loop.step() {}
    }

    func chat(_ model: String, tenant: String) throws {
        let text = #"{"model":"\#(model)","messages":[{"role":"user","content":"hi"}],"max_tokens":8}"#
        _ = service.chat(try chatRequest(text), tenant: tenant) { [errors] _, event in
            if case .failed(let error) = event { errors.all.withLock { $0.append(error) } }
        }
        turn()
    }

    func embed(_ model: String, tenant: String) {
        let request = EmbeddingRequest(tenant: tenant, inputs: [.tokens([1])], dimensions: nil)
        _ = service.submit(.embedding(request), model: model) { [errors] event in
            if case .failed(let error) = event { errors.all.withLock { $0.append(error) } }
        }
        turn()
    }

    /// A chat of `tenant` whose first step is with the worker, or waits for the device.
    func bring(_ model: String, tenant: String) throws -> Worker {
        try chat(model, tenant: tenant)
        let worker = try #require(workers.last { $0.name == model })
        worker.sink(.ready(info))
        worker.answer(WIRE_OP_CHAT, bytes([0, 1, 2, 3]))
        worker.answer(WIRE_OP_SEQ_START, [])
        turn()
        return worker
    }

    func metrics(_ name: String) -> ModelMetrics {
        service.metrics.first { $0.name == name }?.values ?? ModelMetrics()
    }
}

/// The result of a step with one sequence, in slot 0, that picked `token`.
private func result(token: UInt32, slot: UInt32 = 0, nanoseconds: UInt32 = 1000) -> [UInt8] {
    bytes([1, 0, nanoseconds, 0, slot, 0, 0, token, 0, 1, 0, 0]) + [120]
}

@Suite struct WatchTests {
    @Test(arguments: [WIRE_OP_CHAT, WIRE_OP_SEQ_START, WIRE_OP_STEP, WIRE_OP_EMBED])
    func anOperationThatHangsEndsTheWorkerAndTheNextRequestLoadsTheModelAgain(operation: Int) throws {
        let bench = try Bench(stepMilliseconds: 40)
        let words: String
        switch operation {
        case WIRE_OP_EMBED:
            bench.embed("a", tenant: "t")
            bench.workers[0].sink(.ready(bench.info))
            words = "embed"
        case WIRE_OP_CHAT:
            try bench.chat("a", tenant: "t")
            bench.workers[0].sink(.ready(bench.info))
            words = "prompt"
        case WIRE_OP_SEQ_START:
            try bench.chat("a", tenant: "t")
            bench.workers[0].sink(.ready(bench.info))
            bench.workers[0].answer(WIRE_OP_CHAT, bytes([0, 1, 2, 3]))
            words = "start a sequence"
        default:
            _ = try bench.bring("a", tenant: "t")
            words = "step"
        }
        let worker = bench.workers[0]
        #expect(worker.sent.last?.operation == operation && !worker.killed)
        bench.turn(milliseconds: 20)
        #expect(!worker.killed && bench.errors.count == 0, "it has time left")
        bench.turn(milliseconds: 40)
        #expect(worker.killed)
        let error = try #require(bench.errors.last)
        #expect(error.code == "model_failed" && error.status == 500)
        #expect(error.message == "model a: \(words) took longer than 40 ms (limits.step_ms); the worker was ended")
        // Before it is gone the next caller waits, for a new one.
        try bench.chat("a", tenant: "t")
        #expect(bench.errors.count == 1 && bench.workers.count == 1)
        worker.answer(operation, result(token: 3))
        worker.sink(.exited("its worker crashed with SIGKILL"))
        #expect(bench.errors.count == 1 && bench.workers.count == 2)
        #expect(bench.metrics("a").crashes == 1 && bench.metrics("a").failed == 1)
    }

    @Test func anAnswerInTimeStartsTheClockAnew() throws {
        let bench = try Bench(stepMilliseconds: 60)
        let worker = try bench.bring("a", tenant: "t")
        for token in 1...5 {
            bench.turn(milliseconds: 30)
            worker.answer(WIRE_OP_STEP, result(token: UInt32(token)))
        }
        #expect(!worker.killed && worker.count(WIRE_OP_STEP) == 7, "150 ms passed, and no step took 60")
        bench.turn(milliseconds: 90)
        #expect(worker.killed)
    }

    @Test func anIdleModelIsNotWatched() throws {
        let bench = try Bench(stepMilliseconds: 20)
        let worker = try bench.bring("a", tenant: "t")
        for token in 1...8 { worker.answer(WIRE_OP_STEP, result(token: UInt32(token))) }
        bench.turn(milliseconds: 50)
        bench.turn(milliseconds: 50)
        #expect(!worker.killed && bench.errors.count == 0)
    }

    @Test func resultsThatBreakTheContractEndTheWorkerAndSaySo() throws {
        for (payload, words) in [
            (result(token: 10), "step: the token 10 is none of the model's 10"),
            (result(token: .max), "step: the token -1 is none"),
            (result(token: 1, slot: 7), "step: its result is not one for each"),
            (bytes([0, 0, 9, 0]), "step: its result is not one for each"),
            ([1, 2, 3], "step: its result is not one for each"),
        ] {
            let bench = try Bench()
            let worker = try bench.bring("a", tenant: "t")
            worker.answer(WIRE_OP_STEP, payload)
            bench.turn()
            #expect(worker.killed && bench.errors.count == 1)
            #expect(
                bench.errors.last?.message.contains("model a: \(words)") == true,
                "\(String(describing: bench.errors.last))")
        }
        let bench = try Bench()
        try bench.chat("a", tenant: "t")
        bench.workers[0].sink(.ready(bench.info))
        bench.workers[0].answer(WIRE_OP_CHAT, bytes([0, 1, 99]))
        bench.turn()
        #expect(bench.errors.last?.message.contains("prompt: the token 99 is none") == true)
    }

    @Test func whatAWorkerSaysOfItsTimeIsBelievedUpToWhatPassed() throws {
        let bench = try Bench()
        let worker = try bench.bring("a", tenant: "t")
        var forged = result(token: 1)
        forged.replaceSubrange(8..<16, with: Array(repeating: 255, count: 8))
        for _ in 0..<3 { worker.answer(WIRE_OP_STEP, forged) }
        let counted = bench.metrics("a")
        #expect(counted.steps == 3 && counted.stepNanoseconds <= counted.deviceHeldNanoseconds)
        #expect(counted.tenants.byName["t"]?.deviceNanoseconds == counted.stepNanoseconds)
    }
}

@Suite struct LeaseTests {
    @Test func modelsThatNeedTheWholeProcessorTakeTurns() throws {
        let bench = try Bench(threads: 256)
        let a = try bench.bring("a", tenant: "t")
        let b = try bench.bring("b", tenant: "u")
        #expect(a.count(WIRE_OP_STEP) == 2 && b.count(WIRE_OP_STEP) == 0, "a step is out, and one that follows it")
        a.answer(WIRE_OP_STEP, result(token: 1))
        #expect(a.count(WIRE_OP_STEP) == 2 && b.count(WIRE_OP_STEP) == 0, "none follows any more: somebody waits")
        a.answer(WIRE_OP_STEP, result(token: 1))
        #expect(a.count(WIRE_OP_STEP) == 2 && b.count(WIRE_OP_STEP) == 1, "it is the other one's turn")
        usleep(20_000)
        b.answer(WIRE_OP_STEP, result(token: 1))
        #expect(a.count(WIRE_OP_STEP) == 3 && b.count(WIRE_OP_STEP) == 1)
        a.answer(WIRE_OP_STEP, result(token: 2))
        #expect(a.count(WIRE_OP_STEP) == 4 && b.count(WIRE_OP_STEP) == 1, "a's short steps have not used up what b had")
        #expect(bench.metrics("a").deviceWaitNanoseconds >= 20_000_000 && bench.metrics("a").deviceTurns == 3)
    }

    @Test func aWorkerThatDiesOrHangsGivesTheDeviceBack() throws {
        let bench = try Bench(threads: 256, stepMilliseconds: 40)
        let a = try bench.bring("a", tenant: "t")
        let b = try bench.bring("b", tenant: "u")
        #expect(a.count(WIRE_OP_STEP) == 2 && b.count(WIRE_OP_STEP) == 0)
        bench.turn(milliseconds: 60)
        #expect(a.killed && b.count(WIRE_OP_STEP) == 2 && !b.killed)
        a.sink(.exited("killed"))
        let again = try bench.bring("a", tenant: "t")
        #expect(again !== a && again.count(WIRE_OP_STEP) == 0)
        b.sink(.exited("its worker crashed with SIGSEGV"))
        #expect(again.count(WIRE_OP_STEP) == 2)
    }

    @Test func aNeighbourOfAModelThatHangsGoesOnBeforeThatIsEnded() throws {
        let bench = try Bench(threads: 256)
        let a = try bench.bring("a", tenant: "t")
        let b = try bench.bring("b", tenant: "u")
        bench.turn(milliseconds: 1500)
        #expect(b.count(WIRE_OP_STEP) == 0)
        bench.turn(milliseconds: 600)
        #expect(b.count(WIRE_OP_STEP) == 2 && !a.killed)
        b.answer(WIRE_OP_STEP, result(token: 1))
        #expect(b.count(WIRE_OP_STEP) == 3, "nothing waits for a")
    }

    @Test func aModelsTextsAndAnswersShareItsTurns() throws {
        let bench = try Bench()
        let a = try bench.bring("a", tenant: "t")
        bench.embed("a", tenant: "u")
        #expect(a.count(WIRE_OP_STEP) == 2 && a.count(WIRE_OP_EMBED) == 0, "a worker does one thing at a time")
        for _ in 0..<2 { a.answer(WIRE_OP_STEP, result(token: 1)) }
        #expect(a.count(WIRE_OP_STEP) == 2 && a.count(WIRE_OP_EMBED) == 1)
        a.answer(WIRE_OP_EMBED, [0, 0, 128, 63])
        #expect(a.count(WIRE_OP_STEP) == 4 && bench.errors.count == 0)
    }

    @Test func modelsThatFitDoNotWait() throws {
        let bench = try Bench()
        guard Processors.usable > 1 else { return }
        let a = try bench.bring("a", tenant: "t")
        let b = try bench.bring("b", tenant: "u")
        #expect(a.count(WIRE_OP_STEP) == 2 && b.count(WIRE_OP_STEP) == 2)
    }

    @Test func whoLeavesWhileItsModelWaitsHoldsNobodyUp() throws {
        let bench = try Bench(threads: 256)
        let a = try bench.bring("a", tenant: "t")
        let request = EmbeddingRequest(tenant: "u", inputs: [.tokens([1])], dimensions: nil)
        let handle = bench.service.submit(.embedding(request), model: "b") { _ in }
        bench.turn()
        bench.workers[1].sink(.ready(bench.info))
        handle.cancel()
        bench.turn()
        for _ in 0..<2 { a.answer(WIRE_OP_STEP, result(token: 1)) }
        #expect(
            bench.workers[1].sent.isEmpty && a.count(WIRE_OP_STEP) == 4,
            "b had the device, had nothing to do and left it")
    }
}
