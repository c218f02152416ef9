// Backend operations: the bytes we send are the structs of the ABI, and no bytes of a worker crash the host.
@testable import Inference
import SwiftletABI
import SwiftletWire
import TestSupport
import Testing

@Test func samplingIsTheStructOfTheABI() {
    var options = GenerationOptions()
    options.sampling.seed = 0x0102_0304_0506_0708
    options.sampling.temperature = 0.5
    options.sampling.topP = 0.25
    options.sampling.topK = 7
    options.wantLogprobs = true
    options.topLogprobs = 5
    let bytes = OperationPayload.start(slot: 9, options, seed: 0)
    let size = unsafe MemoryLayout<swiftlet_sampling_v1>.size
    #expect(size == 72 && bytes.count == 60)
    // Its last field, the grammar, is a place in memory; its bytes follow on the wire.
    options.grammar = "root ::= []"
    let whole = OperationPayload.start(slot: 9, options, seed: 0)
    #expect(Array(whole[60...]) == Array("root ::= []".utf8))
    let padded = bytes[4...] + Array(repeating: 0, count: 16)
    let read = unsafe padded.withUnsafeBytes { unsafe $0.loadUnaligned(as: swiftlet_sampling_v1.self) }
    #expect(unsafe read.size == 56 && read.version == 1 && read.seed == 0x0102_0304_0506_0708)
    #expect(unsafe read.temperature == 0.5 && read.top_p == 0.25 && read.min_p == 0 && read.top_k == 7)
    #expect(unsafe read.repeat_penalty == 1 && read.frequency_penalty == 0 && read.presence_penalty == 0)
    #expect(unsafe read.penalty_window == 64 && read.top_logprobs == 5 && read.want_logprobs == 1)
}

private func output(slot: UInt32, token: Int32, piece: [UInt8], top: [[UInt8]]) -> [UInt8] {
    var head = wire_output(
        sequence: slot, status: 0, end: 0, token: token, logprob: -1, piece_size: UInt32(piece.count),
        top_count: UInt32(top.count), reserved: 0)
    var bytes = unsafe withUnsafeBytes(of: &head) { unsafe Array($0) } + piece
    for other in top { bytes += [1, 0, 0, 0, 0, 0, 0, 0, UInt8(other.count), 0, 0, 0] + other }
    return bytes
}

private let stepPayload: [UInt8] =
    [2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0] + output(slot: 3, token: 8, piece: [65, 66], top: [[67], []])
    + output(slot: 4, token: 9, piece: [], top: [])

@Test func stepResultsAreReadWhole() {
    let result = StepResult(stepPayload)
    #expect(result?.nanoseconds == 5)
    #expect(result?.outputs.map(\.slot) == [3, 4] && result?.outputs.map(\.token) == [8, 9])
    #expect(
        result?.outputs.first?.picked.piece == [65, 66] && result?.outputs.first?.picked.top.map(\.piece) == [[67], []])
}

@Test func damagedResultsAreRefusedNotTrusted() {
    for length in 0..<stepPayload.count { #expect(StepResult(Array(stepPayload[..<length])) == nil) }
    #expect(StepResult(stepPayload + [0]) == nil)
    var generator = SeededGenerator(seed: 7)
    for _ in 0..<20_000 {
        var bytes = stepPayload
        bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
        bytes[Int.random(in: 0..<bytes.count, using: &generator)] = 0xFF
        _ = StepResult(bytes)
        _ = PromptTokens.parse(bytes, isChat: true)
    }
    #expect(PromptTokens.parse([1, 0, 0, 0, 65, 7, 0, 0, 0], isChat: true) == [7])
    #expect(PromptTokens.parse([1, 0, 0, 0, 65, 7, 0, 0], isChat: true) == nil)
    #expect(PromptTokens.parse([9, 0, 0, 0, 65], isChat: true) == nil)
}

@Test func waitingRoomsAreBoundedInAllAndForEachTenant() throws {
    var room = WaitingRoom(maxInAll: 3, maxPerTenant: 2)
    try room.enter(GenerationID(1), tenant: "a")
    try room.enter(GenerationID(2), tenant: "a")
    #expect(throws: OpenAIError.self) { try room.enter(GenerationID(3), tenant: "a") }
    try room.enter(GenerationID(4), tenant: "b")
    #expect(throws: OpenAIError.self) { try room.enter(GenerationID(5), tenant: "c") }
    room.leave(GenerationID(1))
    room.leave(GenerationID(1))
    try room.enter(GenerationID(6), tenant: "a")
    #expect(room.count == 3)
}
