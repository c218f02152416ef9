// Requests for vectors and tokens: what goes to the worker in which order, and what becomes of damaged answers.
@testable import Inference
import Core
import Platform
import SwiftletABI
import SwiftletWire
import Synchronization
import Testing
import Workers

/// A worker whose answers the test gives: each text is as many tokens as it has bytes.
private final class Line: BackendConnection {
    var sent: [(operation: Int, request: UInt32, payload: [UInt8])] = []
    var answered = 0
    var killed = false

    func send(operation: Int, request: UInt32, payload: [UInt8]) { sent.append((operation, request, payload)) }
    func close() {}
    func kill() { killed = true }
}

private final class Events: Sendable {
    private let all = Mutex<[GenerationEvent]>([])

    var sink: GenerationSink { { event in self.all.withLock { $0.append(event) } } }
    var vectors: [Int] {
        all.withLock { $0.compactMap { if case .embedding(let index, _) = $0 { index } else { nil } } }
    }
    var error: OpenAIError? {
        all.withLock { $0.compactMap { if case .failed(let error) = $0 { error } else { nil } }.first }
    }
    var tokens: Int? {
        all.withLock {
            $0.compactMap { if case .finished(_, let usage, _) = $0 { usage.promptTokens } else { nil } }.first
        }
    }
    var ends: Int { all.withLock { $0.count(where: \.isLast) } }
}

private struct Bench {
    let line = Line()
    let counters = ModelCounters()
    let desk: ModelDesk

    init(capabilities: UInt32 = UInt32(SWIFTLET_CAN_EMBED)) {
        let worker = WorkerSpec(
            purpose: .backend, key: FunctionKey(tenant: "platform", name: "m"), trust: "platform:m", root: "/",
            directory: "m",
            library: "m.so", model: "", config: "{}", limits: Limits(defaultsFor: .backend), device: nil,
            contextTokens: 16,
            maxSequences: 1, maxStepTokens: 16)
        let spec = ModelSpec(name: "m", created: 0, worker: worker, keepAliveMilliseconds: 1000)
        let info = ModelInfo(
            capabilities: capabilities, vocabulary: 256, contextTokens: 16, sequenceTokens: 16, maxSequences: 1,
            maxStepTokens: 16, embeddingSize: 2, bytesPerToken: 0, modelBytes: 0)
        desk = ModelDesk(
            spec, info: info, connection: line, counters: counters, quotas: QuotaKeeper(), prefixes: nil,
            started: { _ in },
            ended: { _ in })
    }

    func ask(_ id: UInt64, _ tenant: String, _ inputs: [EmbeddingInput], dimensions: Int? = nil) -> Events {
        let events = Events()
        let request = EmbeddingRequest(tenant: tenant, inputs: inputs, dimensions: dimensions)
        desk.submit(GenerationID(id), .embedding(request), loadNanoseconds: 0, sink: events.sink)
        return events
    }

    /// Answers the operation that is out as an honest worker does. False: none is.
    func serve() -> Bool {
        guard line.answered < line.sent.count else { return false }
        let (operation, request, payload) = line.sent[line.answered]
        line.answered += 1
        var answer: [UInt8] = [0, 0, 128, 63, 0, 0, 0, 0]
        if operation == WIRE_OP_TOKENIZE {
            answer = []
            for byte in payload.dropFirst(8) { answer += [byte, 0, 0, 0] }
        }
        desk.received(request, status: 0, payload: answer)
        return true
    }
}

@Test func textsBecomeTokensFirstAndThenVectorsInOrder() {
    let bench = Bench()
    let events = bench.ask(1, "a", [.text("xy"), .tokens([7]), .text("z")])
    while bench.serve() { #expect(events.ends <= 1) }
    #expect(
        bench.line.sent.map(\.operation) == [WIRE_OP_TOKENIZE, WIRE_OP_TOKENIZE]
            + Array(repeating: WIRE_OP_EMBED, count: 3))
    #expect(bench.line.sent[3].payload == [7, 0, 0, 0])
    #expect(events.vectors == [0, 1, 2] && events.tokens == 4 && events.ends == 1)
    #expect(bench.counters.now.embeddings == 3 && bench.counters.now.promptTokens == 4)
}

@Test func oneTextWaitsForOneOperationOfAnothersMany() {
    let bench = Bench()
    let many = bench.ask(1, "many", Array(repeating: .tokens([1, 2, 3, 4, 5, 6, 7, 8]), count: 500))
    for _ in 0..<100 { _ = bench.serve() }
    let one = bench.ask(2, "one", [.tokens([1])])
    #expect(bench.line.sent.count == 101)
    _ = bench.serve()
    _ = bench.serve()
    #expect(one.vectors == [0] && one.ends == 1 && many.vectors.count == 101)
    while bench.serve() {}
    #expect(many.vectors == Array(0..<500) && many.ends == 1)
}

@Test func whatCannotBeEmbeddedIsRefusedBeforeAnythingIsSent() {
    let bench = Bench()
    for (inputs, dimensions, param) in [
        ([EmbeddingInput.tokens([1, 256])], nil, "input[0]"), ([.text("x"), .tokens([-1])], nil, "input[1]"),
        ([.tokens(Array(repeating: 1, count: 17))], nil, "input[0]"), ([.text("x")], 3, "dimensions"),
        ([.text(String(repeating: "x", count: 5000))], nil, "input[0]"),
    ] as [([EmbeddingInput], Int?, String)] {
        let events = bench.ask(1, "a", inputs, dimensions: dimensions)
        #expect(events.error?.status == 400 && events.error?.param == param && events.ends == 1)
    }
    #expect(bench.line.sent.isEmpty)
    let chat = Bench(capabilities: UInt32(SWIFTLET_CAN_GENERATE))
    #expect(chat.ask(1, "a", [.text("x")]).error?.code == "unsupported_value")
    #expect(chat.line.sent.isEmpty && chat.counters.now.refused == 1)
}

@Test func aTextThatIsTooLongIsFoundBeforeAnyVectorIsMade() {
    let bench = Bench()
    let events = bench.ask(1, "a", [.text("fine"), .text("seventeen bytes !")])
    while bench.serve() {}
    #expect(events.error?.param == "input[1]" && events.error?.code == "context_length_exceeded")
    #expect(events.error?.message.contains("17") == true && events.error?.message.contains("16") == true)
    #expect(bench.line.sent.allSatisfy { $0.operation == WIRE_OP_TOKENIZE })
}

@Test func whoLeavesIsNotServedAndTheNextIs() {
    let bench = Bench()
    let left = bench.ask(1, "a", [.tokens([1]), .tokens([2])])
    let next = bench.ask(2, "a", [.tokens([3])])
    bench.desk.cancel(GenerationID(1))
    bench.desk.cancel(GenerationID(1))
    while bench.serve() {}
    #expect(left.vectors.isEmpty && left.ends == 1 && next.vectors == [0] && next.ends == 1)
    #expect(bench.line.sent.count == 2 && bench.counters.now.cancelled == 1)
}

@Test func damagedAnswersEndTheWorkerAndFailuresOnlyTheirRequest() {
    for payload in [[], [0, 0, 128, 63], Array(repeating: 0, count: 9)] as [[UInt8]] {
        let bench = Bench()
        _ = bench.ask(1, "a", [.tokens([1])])
        bench.desk.received(bench.line.sent[0].request, status: 0, payload: payload)
        #expect(bench.line.killed)
    }
    let unasked = Bench()
    unasked.desk.received(77, status: 0, payload: [])
    #expect(unasked.line.killed)
    let bench = Bench()
    let notFinite = bench.ask(1, "a", [.tokens([1])])
    let refused = bench.ask(2, "a", [.tokens([2])])
    let failed = bench.ask(3, "a", [.tokens([3])])
    let fine = bench.ask(4, "a", [.tokens([4])])
    bench.desk.received(bench.line.sent[0].request, status: 0, payload: [0, 0, 192, 127, 0, 0, 0, 0])
    bench.desk.received(bench.line.sent[1].request, status: Int32(SWIFTLET_LIMIT), payload: Array("too long".utf8))
    bench.desk.received(bench.line.sent[2].request, status: Int32(SWIFTLET_FAILED), payload: Array("broken".utf8))
    bench.line.answered = 3
    while bench.serve() {}
    #expect(notFinite.error?.code == "model_failed" && failed.error?.code == "model_failed")
    #expect(refused.error?.status == 400 && refused.error?.message == "input[0]: too long")
    #expect(fine.vectors == [0] && !bench.line.killed)
}

@Test func whenTheWorkerIsGoneAllFail() {
    let bench = Bench()
    let both = [bench.ask(1, "a", [.tokens([1])]), bench.ask(2, "b", [.text("x")])]
    let lost = bench.desk.failAll(.modelFailed("m", "gone"))
    #expect(Set(lost) == [GenerationID(1), GenerationID(2)])
    #expect(both.allSatisfy { $0.error?.code == "model_failed" && $0.ends == 1 })
}
