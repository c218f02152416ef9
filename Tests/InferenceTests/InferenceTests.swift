// What the tests of this room share: JSON both ways.
import Inference
import Testing

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
