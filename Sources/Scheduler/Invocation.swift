// What an invocation asks, where its time went, and who hears its answer.
package import Core
package import Workers

/// What a handler is asked.
package struct InvocationRequest {
    package var id: UInt64
    package var requestID: String
    /// The function that is called; a worker may serve several.
    package var function: FunctionKey
    package var method: String
    package var path: String
    package var query: String
    package var fields: FieldBlock
    /// The first bytes of the body; all of it when `bodyComplete`.
    package var body: [UInt8]
    package var bodyComplete: Bool

    package init(
        id: UInt64, requestID: String, function: FunctionKey, method: String, path: String, query: String,
        fields: FieldBlock, body: [UInt8], bodyComplete: Bool
    ) {
        self.id = id
        self.requestID = requestID
        self.function = function
        self.method = method
        self.path = path
        self.query = query
        self.fields = fields
        self.body = body
        self.bodyComplete = bodyComplete
    }
}

/// Where the time of an invocation went, in nanoseconds; 0 when the step did not happen.
package struct InvocationTimings: Sendable {
    package var queue: UInt64 = 0
    package var spawn: UInt64 = 0
    package var load: UInt64 = 0
    package var run: UInt64 = 0
    /// CPU time of the worker since it last told any, or to its end; nil: it has not told.
    package var cpu: UInt64?
    /// Bytes; of a worker that ended with this invocation.
    package var memoryPeak: UInt64?

    package init() {}
}

/// Receives an answer as it comes, on the loop's thread.
package protocol InvocationSink: AnyObject {
    /// - Parameters:
    ///   - fields: whole header fields, one after the other; they die when this returns.
    ///   - isWhole: true when the end of the answer is here too.
    func responseHead(status: Int, fields: RawSpan, isWhole: Bool, timings: InvocationTimings)
    /// Returns false to pause the worker until `resume`.
    func responseBody(_ bytes: RawSpan) -> Bool
    func log(level: Int, text: String)
    func hostCall(_ call: UInt32, name: String, payload: [UInt8])
    func cancelHostCall(_ call: UInt32)
    /// It was sent to a worker ahead of its turn, and the worker ended before that: it runs nowhere, and may ask for another.
    func displaced()
    /// Called once, last; never after `displaced`.
    func ended(_ outcome: Outcome, timings: InvocationTimings)
}
