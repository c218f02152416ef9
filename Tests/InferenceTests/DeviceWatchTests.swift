// A device's memory and who may hold it: the decision, the watcher with a stand-in for the driver, and what callers are told.
import Core
import Glibc
import Platform
import Synchronization
import TestSupport
import Testing

@testable import Inference
@testable import Workers

private let gibi: UInt64 = 1 << 30

private func at(_ milliseconds: UInt64) -> MonotonicTime {
    MonotonicTime(nanoseconds: 0).adding(milliseconds: milliseconds)
}

private func share(_ worker: UInt32, pid: Int32, device: Device = .gpu(0), budget: UInt64 = 8 * gibi)
    -> DeviceWatch.Share
{
    DeviceWatch.Share(worker: worker, pid: pid, device: device, budget: budget)
}

@Suite struct DeviceWatchTests {
    @Test func onlyWhoHoldsMoreThanItsShareIsNamed() {
        var watch = DeviceWatch()
        let samples: [Device: [NVML.Use]] = [
            .gpu(0): [
                NVML.Use(pid: 10, bytes: 9 * gibi), NVML.Use(pid: 11, bytes: 8 * gibi),
                NVML.Use(pid: 99, bytes: 70 * gibi),
            ]
        ]
        let verdicts = watch.decide(
            samples, shares: [share(1, pid: 10), share(2, pid: 11), share(3, pid: 12)], now: at(0))
        #expect(
            verdicts == [
                DeviceWatch.Verdict(
                    worker: 1, overuse: DeviceOveruse(device: .gpu(0), used: 9 * gibi, budget: 8 * gibi))
            ], "the share itself may be held, and strangers are not ours to judge")
    }

    @Test func aDeviceIsJudgedByItselfAndInAllItsParts() {
        var watch = DeviceWatch()
        let parts = [NVML.Use(pid: 10, bytes: 5 * gibi), NVML.Use(pid: 10, bytes: 4 * gibi)]
        #expect(watch.decide([.gpu(1): parts], shares: [share(1, pid: 10)], now: at(0)).isEmpty, "another device")
        #expect(watch.decide([:], shares: [share(1, pid: 10)], now: at(1)).isEmpty, "nobody could be asked")
        #expect(watch.decide([.gpu(0): parts], shares: [share(1, pid: 0)], now: at(2)).isEmpty, "it is not known yet")
        #expect(watch.decide([.gpu(0): parts], shares: [share(1, pid: 10)], now: at(3)).first?.overuse.used == 9 * gibi)
    }

    @Test func oneThatWasNamedIsNamedAgainOnlyWhenItStays() {
        var watch = DeviceWatch()
        let samples: [Device: [NVML.Use]] = [.gpu(0): [NVML.Use(pid: 10, bytes: 9 * gibi)]]
        func count(_ milliseconds: UInt64) -> Int {
            watch.decide(samples, shares: [share(1, pid: 10)], now: at(milliseconds)).count
        }
        #expect([count(0), count(500), count(4_999), count(5_000), count(5_001)] == [1, 0, 0, 1, 0])
        // A successor with a new number is judged at once.
        #expect(watch.decide(samples, shares: [share(2, pid: 10)], now: at(5_002)).count == 1)
    }

    @Test func theWordsSayHowMuch() {
        #expect(
            "\(DeviceOveruse(device: .gpu(0), used: 9 * gibi + gibi / 10, budget: 8 * gibi))"
                == "used 9.1 GiB of gpu:0, and its budget is 8.0 GiB")
        #expect(
            "\(DeviceOveruse(device: .gpu(1), used: (64 << 20) + 1, budget: 64 << 20))"
                == "used 64.1 MiB of gpu:1, and its budget is 64.0 MiB", "what is over never reads as what is allowed")
    }
}

@Suite struct DeviceWatcherTests {
    private func worker(_ number: UInt32, pid: Int32, device: Device?) throws -> Worker {
        var limits = Limits(defaultsFor: .backend)
        limits.deviceMemoryBytes = 1000
        let spec = WorkerSpec(
            purpose: .backend, key: FunctionKey(tenant: "platform", name: "m"), trust: "platform:m", root: "/",
            directory: "d", library: "l.so", limits: limits, device: device)
        var pair = try ChannelPair()
        let worker = Worker(
            number: number, wireNumber: number, spec: spec, channel: pair.takeOurs(), fromPreparedZygote: true)
        worker.noteStarted(pid: pid)
        return worker
    }

    @Test func whoIsOverIsEndedAndNobodyElse() throws {
        let scratch = try Scratch()
        let source = #filePath.split(separator: "/").dropLast(2).map { "/" + $0 }.joined() + "/Doubles/nvml.c"
        let facts = try scratch.write("facts", "minors 0\n0 71 1000\n0 72 1001\n0 73 5000\n")
        let library = scratch.file("libnvml.so")
        try shell("cc -shared -fPIC '-DFACTS=\"\(facts)\"' '\(source)' -o '\(library)'")
        let loop = try EventLoop(index: 0)
        let watcher = DeviceWatcher(loop: loop, library: library, intervalMilliseconds: 5)
        let ended = Mutex<[UInt32: DeviceOveruse]>([:])
        let (within, over) = (try worker(1, pid: 71, device: .gpu(0)), try worker(2, pid: 72, device: .gpu(0)))
        let plain = try worker(3, pid: 73, device: nil)
        for worker in [within, over, plain] {
            watcher.watch(worker) { [number = worker.number] overuse in ended.withLock { $0[number] = overuse } }
        }
        func turn(until isDone: () -> Bool) {
            for _ in 0..<400 where !isDone() {
                _ = loop.step()
                usleep(5_000)
            }
        }
        turn { !ended.withLock(\.isEmpty) }
        #expect(ended.withLock { $0 } == [2: DeviceOveruse(device: .gpu(0), used: 1001, budget: 1000)])
        // It is asked again: what is within its share now may not stay there.
        over.noteExit(WorkerExit(status: 9))
        try scratch.write("facts", "minors 0\n0 71 1002\n")
        turn { ended.withLock { $0[1] != nil } }
        #expect(ended.withLock { $0[1]?.used } == 1002 && ended.withLock { $0[3] } == nil)
    }
}

/// A worker that says what the test says.
private final class ScriptedBackend: BackendConnection {
    let sink: (BackendEvent) -> Void
    init(_ sink: @escaping (BackendEvent) -> Void) { self.sink = sink }
    func send(operation: Int, request: UInt32, payload: [UInt8]) {}
    func close() {}
    func kill() {}
}

@Suite struct OverBudgetTests {
    @Test func callersOfAnEndedModelAreToldWhyAndTheNextOneLoadsItAgain() throws {
        let loop = try EventLoop(index: 0)
        var started: [ScriptedBackend] = []
        let service = InferenceService(loop: loop) { _, sink in
            started.append(ScriptedBackend(sink))
            return started.last
        }
        var limits = Limits(defaultsFor: .backend)
        limits.deviceMemoryBytes = 8 * gibi
        let spec = WorkerSpec(
            purpose: .backend, key: FunctionKey(tenant: "platform", name: "m"), trust: "t", root: "/", directory: "d",
            library: "l.so", limits: limits)
        service.setModels([ModelSpec(name: "m", created: 0, worker: spec, keepAliveMilliseconds: 1000)])
        let answers = Mutex<[OpenAIError]>([])
        func ask() throws {
            _ = service.chat(
                try chatRequest(#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#), tenant: "t"
            ) { _, event in
                if case .failed(let error) = event { answers.withLock { $0.append(error) } }
            }
            while loop.step() {}
        }
        try ask()
        let info = ModelInfo(
            capabilities: 3, vocabulary: 10, contextTokens: 64, sequenceTokens: 64, maxSequences: 1, maxStepTokens: 16,
            embeddingSize: 0, bytesPerToken: 1, modelBytes: 1)
        try #require(started.count == 1)
        started[0].sink(.ready(info))
        let overuse = DeviceOveruse(device: .gpu(0), used: 9 * gibi, budget: 8 * gibi)
        started[0].sink(.overBudget(overuse))
        started[0].sink(.overBudget(overuse))
        started[0].sink(.exited("\(overuse)"))
        let error = try #require(answers.withLock { $0.first })
        #expect(error.code == "model_over_budget" && error.status == 500)
        #expect(error.message.contains("model m: it used 9.0 GiB of gpu:0, and its budget is 8.0 GiB; raise limits."))
        let counted = try #require(service.metrics.first).values
        #expect(counted.overBudget == 1 && counted.crashes == 1 && counted.failed == 1, "named twice, counted once")
        try ask()
        try #require(started.count == 2, "the next caller loads it")
        started[1].sink(.ready(info))
        started[1].sink(.exited("its worker crashed"))
        #expect(answers.withLock { $0.last?.code } == "model_failed", "the old reason is not the new worker's")
    }
}
