// What surrounds a request: the log, the models, other host calls, the deadline.

public struct Context: Sendable {
    let invocation: Invocation

    /// The function's log; `swiftlet logs` shows it.
    public var log: Log { Log(host: invocation.host) }

    /// A model that the manifest names under `models`.
    public func model(_ name: String) -> Model { Model(name: name, context: self) }

    /// True once the caller went away or the deadline passed; the handler's task is cancelled then, too.
    public var isCancelled: Bool { invocation.isCancelled || Task.isCancelled }

    /// When the host ends this worker; nil without a limit.
    public var deadline: ContinuousClock.Instant? {
        guard invocation.deadline > 0 else { return nil }
        return .now + .nanoseconds(Int64(clamping: invocation.deadline) - Int64(clamping: monotonicNow()))
    }

    /// Makes a host call by name with JSON text; answers all its bytes.
    public func call(_ name: String, json: [UInt8]) async throws -> [UInt8] {
        var answer: [UInt8] = []
        for try await bytes in try callStream(name, json: json) {
            if answer.isEmpty { answer = bytes } else { answer += bytes }
        }
        return answer
    }

    /// Makes a host call by name with any encodable value; answers what its JSON decodes to.
    public func call<Answer: Decodable>(
        _ name: String, _ payload: some Encodable, as type: Answer.Type = Answer.self
    ) async throws -> Answer {
        let answer = try await call(name, json: try JSON.encode(payload))
        do {
            return try JSON.decode(type, from: answer)
        } catch {
            throw HostCallError(
                call: name, type: "unexpected_answer", message: "the answer is not \(type): \(describe(error))")
        }
    }

    /// Starts a host call and gives its answer piece by piece; dropping the stream gives up the call.
    public func callStream(_ name: String, json: [UInt8]) throws -> HostCallStream {
        HostCallStream(handle: try invocation.open(call: name, payload: json))
    }
}

/// Writes lines to the function's log; each carries the request's id.
public struct Log: Sendable {
    let host: Host

    public func debug(_ line: @autoclosure () -> String) { host.log(.debug, line()) }
    public func info(_ line: @autoclosure () -> String) { host.log(.info, line()) }
    public func warning(_ line: @autoclosure () -> String) { host.log(.warning, line()) }
    public func error(_ line: @autoclosure () -> String) { host.log(.error, line()) }
}
