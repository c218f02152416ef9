// Tells the reader of a stream that its model is being loaded: comments of the event stream, which clients skip.
internal import HTTP
internal import Inference
internal import Platform

/// Writes a comment each second until the answer begins. Belongs to one exchange, on its loop.
final class LoadingNotice {
    /// So long nothing is written: what fails sooner is answered with a status of its own.
    private static let firstMilliseconds: UInt64 = 1500
    private static let nextMilliseconds: UInt64 = 1000

    private let model: String
    private unowned let gateway: Gateway
    private let write: ([UInt8]) -> Void
    private let begun = MonotonicTime.now
    private var timer: TimerToken?

    /// - Parameter write: sends bytes of the stream, and its head before the first.
    init(model: String, gateway: Gateway, write: @escaping ([UInt8]) -> Void) {
        self.model = model
        self.gateway = gateway
        self.write = write
    }

    func start() { if timer == nil { schedule(Self.firstMilliseconds) } }

    /// The answer has begun, or nobody reads it. Repeated calls are fine.
    func stop() {
        if let timer { gateway.loop.cancel(timer) }
        timer = nil
    }

    private func schedule(_ milliseconds: UInt64) {
        timer = gateway.loop.schedule(at: .now.adding(milliseconds: milliseconds)) { [self] in
            timer = nil
            write(Array(": \(text)\n\n".utf8))
            schedule(Self.nextMilliseconds)
        }
    }

    private var text: String {
        let seconds = MonotonicTime.now.since(begun) / 1_000_000_000
        let inference = gateway.shared.inference
        guard let spec = inference.model(named: model) else { return "\(model) was removed, \(seconds) s" }
        let status = inference.status(of: spec)
        let waiting = "\(seconds) s, \(status.waiting) waiting"
        switch status.phase(now: .now) {
        case .queued: return "model \(spec.name) waits for memory, \(waiting)"
        case .ready: return "model \(spec.name) is loaded, \(waiting)"
        default: return "loading model \(spec.name), \(waiting)"
        }
    }
}
