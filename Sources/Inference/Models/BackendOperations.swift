// The payloads of backend operations, both ways, as swiftlet_wire.h lays them out.

internal import SwiftletWire

/// Builds the payload of one operation.
struct OperationPayload {
    private(set) var bytes: [UInt8] = []

    private mutating func append<Number: FixedWidthInteger>(_ number: Number) {
        unsafe withUnsafeBytes(of: number.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    private mutating func append(_ number: Float) { append(number.bitPattern) }

    /// WIRE_OP_TOKENIZE: plain text; `start`: with what the model wants around a text.
    static func tokenize(_ text: String, start: Bool = true) -> [UInt8] {
        var payload = OperationPayload()
        payload.append(UInt32(0))
        payload.append(UInt32(start ? 1 : 0))
        payload.bytes.append(contentsOf: text.utf8)
        return payload.bytes
    }

    /// WIRE_OP_EMBED
    static func embed(_ tokens: [Int32]) -> [UInt8] {
        var payload = OperationPayload()
        payload.bytes.reserveCapacity(tokens.count * 4)
        for token in tokens { payload.append(token) }
        return payload.bytes
    }

    /// WIRE_OP_CHAT
    static func chat(_ messages: [ChatMessage]) -> [UInt8] {
        var payload = OperationPayload()
        payload.append(UInt32(messages.count))
        for message in messages {
            payload.append(UInt32(message.role.utf8.count))
            payload.append(UInt32(message.content.utf8.count))
            payload.bytes.append(contentsOf: message.role.utf8)
            payload.bytes.append(contentsOf: message.content.utf8)
        }
        return payload.bytes
    }

    /// WIRE_OP_SEQ_START: the slot, the fixed part of swiftlet_sampling_v1, then the grammar.
    static func start(slot: UInt32, _ options: GenerationOptions, seed: UInt64) -> [UInt8] {
        let sampling = options.sampling
        var payload = OperationPayload()
        payload.append(slot)
        payload.append(UInt32(56))
        payload.append(UInt32(1))
        payload.append(sampling.seed ?? seed)
        payload.append(sampling.temperature)
        payload.append(sampling.topP)
        payload.append(sampling.minP)
        payload.append(sampling.topK)
        payload.append(sampling.repeatPenalty)
        payload.append(sampling.frequencyPenalty)
        payload.append(sampling.presencePenalty)
        payload.append(sampling.penaltyWindow)
        payload.append(UInt32(options.topLogprobs))
        payload.append(UInt32(options.wantLogprobs ? 1 : 0))
        if let grammar = options.grammar { payload.bytes.append(contentsOf: grammar.utf8) }
        return payload.bytes
    }

    /// WIRE_OP_SEQ_COPY
    static func copy(from: UInt32, to: UInt32, tokens: Int) -> [UInt8] {
        var payload = OperationPayload()
        payload.append(from)
        payload.append(to)
        payload.append(UInt32(tokens))
        return payload.bytes
    }

    /// WIRE_OP_SEQ_RESTORE
    static func restore(slot: UInt32, _ state: [UInt8]) -> [UInt8] {
        var payload = OperationPayload()
        payload.bytes.reserveCapacity(4 + state.count)
        payload.append(slot)
        payload.bytes.append(contentsOf: state)
        return payload.bytes
    }

    /// WIRE_OP_SEQ_RESTORE_PREFIX
    static func restorePrefix(slot: UInt32, tokens: Int, _ state: [UInt8]) -> [UInt8] {
        var payload = OperationPayload()
        payload.bytes.reserveCapacity(8 + state.count)
        payload.append(slot)
        payload.append(UInt32(tokens))
        payload.bytes.append(contentsOf: state)
        return payload.bytes
    }

    /// WIRE_OP_SEQ_DROP, and WIRE_OP_SEQ_SAVE
    static func drop(slot: UInt32) -> [UInt8] {
        var payload = OperationPayload()
        payload.append(slot)
        return payload.bytes
    }

    /// WIRE_OP_STEP; `tokens` gives those of one item that doesn't follow another step.
    static func step(_ plan: StepPlan, tokens: (StepPlan.Item) -> ArraySlice<Int32>) -> [UInt8] {
        var payload = OperationPayload()
        payload.append(UInt32(plan.items.count))
        payload.append(UInt32(0))
        for item in plan.items {
            payload.append(item.slot)
            payload.append(UInt32(item.position))
            payload.append(UInt32(item.count))
            payload.append(UInt32((item.samples ? WIRE_ITEM_SAMPLE : 0) | (item.follows ? WIRE_ITEM_FOLLOWS : 0)))
            if !item.follows { for token in tokens(item) { payload.append(token) } }
        }
        return payload.bytes
    }
}

/// What a step did for one item.
struct StepOutput: Equatable {
    var slot: UInt32
    var status: Int32
    var ended: Bool
    var token: Int32
    var picked: TokenLogprob
}

struct StepResult: Equatable {
    /// Bytes that one token may stand for: what is beyond is no token.
    private static let maxPiece: UInt32 = 65_536

    var nanoseconds: UInt64
    var outputs: [StepOutput]

    /// Nil when the bytes don't hold exactly what they announce.
    /// - Parameter most: nanoseconds that the step can have taken, whatever the worker says.
    init?(_ payload: [UInt8], atMost most: UInt64 = .max) {
        var reader = ByteReader(payload)
        guard let count = reader.u32(), reader.u32() != nil, let nanoseconds = reader.u64(), count <= 65_536 else {
            return nil
        }
        self.nanoseconds = min(nanoseconds, most)
        outputs = []
        outputs.reserveCapacity(Int(count))
        for _ in 0..<count {
            guard let output = Self.output(&reader) else { return nil }
            outputs.append(output)
        }
        guard reader.rest.isEmpty else { return nil }
    }

    private static func output(_ reader: inout ByteReader) -> StepOutput? {
        guard let slot = reader.u32(), let status = reader.i32(), let end = reader.u32(), let token = reader.i32(),
            let logprob = reader.f32(), let size = reader.u32(), let topCount = reader.u32(), reader.u32() != nil,
            size <= maxPiece, let piece = reader.take(size), topCount <= 1024
        else { return nil }
        var picked = TokenLogprob(piece: piece, logprob: logprob)
        for _ in 0..<topCount {
            guard reader.i32() != nil, let logprob = reader.f32(), let size = reader.u32(),
                size <= maxPiece, let piece = reader.take(size)
            else { return nil }
            picked.top.append(TokenLogprob.Alternative(piece: piece, logprob: logprob))
        }
        return StepOutput(slot: slot, status: status, ended: end != 0, token: token, picked: picked)
    }
}

/// The tokens of a prompt: what WIRE_OP_TOKENIZE and WIRE_OP_CHAT answer.
enum PromptTokens {
    static func parse(_ payload: [UInt8], isChat: Bool) -> [Int32]? {
        var reader = ByteReader(payload)
        if isChat {
            guard let size = reader.u32(), reader.take(size) != nil else { return nil }
        }
        guard reader.rest.count % 4 == 0 else { return nil }
        var tokens: [Int32] = []
        tokens.reserveCapacity(reader.rest.count / 4)
        while let token = reader.i32() { tokens.append(token) }
        return tokens
    }
}
