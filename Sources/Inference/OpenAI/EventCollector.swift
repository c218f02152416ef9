// What gathers the events of one request into one answer, whatever the route; Gateway feeds it.

package protocol EventCollector {
    /// Of the finished answer, for headers.
    var timings: GenerationTimings { get }
    /// The body of the answer, or the error, once the last event came. Feed every event, in order.
    mutating func add(_ event: GenerationEvent) -> Result<[UInt8], OpenAIError>?
}
