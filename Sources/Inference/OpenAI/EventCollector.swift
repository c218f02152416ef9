// What turns the events of one request into its answer, whatever the route; Gateway feeds it.

package protocol EventCollector {
    /// Of the finished answer, for headers.
    var timings: GenerationTimings { get }
    /// The body of the answer, or the error, once the last event came. Feed every event, in order.
    mutating func add(_ event: GenerationEvent) -> Result<[UInt8], OpenAIError>?
}

/// The same for requests of several answers.
package protocol AnswerBody {
    var timings: GenerationTimings { get }
    mutating func add(_ event: GenerationEvent, choice: Int) -> Result<[UInt8], OpenAIError>?
}

/// The bytes of a streamed answer. Feed it every event in order.
package protocol AnswerStream {
    /// The last bytes were written; nothing more will be.
    var isOver: Bool { get }
    /// The bytes to send for an event; empty when there is nothing to say yet. Until the first bytes are sent, a `.failed`
    /// can still be answered with its own status instead.
    mutating func write(_ event: GenerationEvent, choice: Int) -> [UInt8]
}

/// One event of a stream whose events have names.
func namedEvent(_ name: String, _ json: [UInt8]) -> [UInt8] {
    Array("event: \(name)\ndata: ".utf8) + json + Array("\n\n".utf8)
}
