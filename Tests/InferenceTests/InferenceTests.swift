// What the tests of this room share: a generator whose seed a failure can name, and JSON both ways.
import Inference
import Testing

/// SplitMix64: small, and the same on every machine.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}

func chatRequest(_ body: [UInt8]) throws(OpenAIError) -> ChatRequest {
    var parser = JSONParser()
    return try ChatRequest(body.span, parser: &parser)
}

func chatRequest(_ body: String) throws(OpenAIError) -> ChatRequest { try chatRequest(Array(body.utf8)) }

/// The refusal of a body that must be refused.
func refusal(_ body: String) -> OpenAIError? {
    do throws(OpenAIError) {
        _ = try chatRequest(body)
        return nil
    } catch {
        return error
    }
}
