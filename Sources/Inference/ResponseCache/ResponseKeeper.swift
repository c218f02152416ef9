// Records answers while they are made, and gives them again; ResponseCache decides what is kept. On the models' loop.
internal import Platform

/// How one request wants the response cache; none wants it unasked.
package struct ResponseCaching: Sendable {
    /// What became of the request there.
    package enum Outcome: Equatable, Sendable {
        /// The answer is one that was given so many seconds ago.
        case hit(age: UInt64)
        case miss
        /// It was not looked for: the answer need not be the same next time, or nothing is kept.
        case bypass
    }

    /// Milliseconds; neither is an older answer given, nor is this one kept for longer.
    package var maxAge: UInt64 = .max
    /// False: a new answer is made, and kept.
    package var mayRead = true
    /// Told once, before the first event of the answer.
    package var report: @Sendable (Outcome) -> Void

    package init(report: @escaping @Sendable (Outcome) -> Void) { self.report = report }
}

final class ResponseKeeper {
    private var cache: ResponseCache<[GenerationEvent]>

    init(_ limits: ResponseCacheLimits) { cache = ResponseCache(limits) }

    var isOff: Bool { cache.limits.bytes == 0 }

    /// The events of the same request's answer; `standing`: of the tenant now.
    func find(
        _ key: String, _ caching: ResponseCaching, standing: QuotaStanding?
    ) -> (events: [GenerationEvent], age: UInt64)? {
        guard caching.mayRead, let found = cache.find(key, maxAge: caching.maxAge, now: .now) else { return nil }
        let events = found.answer.map { event in
            guard case .started(let promptTokens, _) = event else { return event }
            return GenerationEvent.started(promptTokens: promptTokens, standing: standing)
        }
        return (events, found.age / 1000)
    }

    /// A sink that keeps what it hands on, if it comes to a good end.
    func recording(
        _ key: String, tenant: String, model: String, maxAge: UInt64, on loop: EventLoop,
        to sink: @escaping GenerationSink
    ) -> GenerationSink {
        let recorder = LoopBound(Recorder(most: cache.limits.bytesPerAnswer), on: loop)
        let own = LoopBound(self, on: loop)
        return { event in
            if recorder.value.add(event) {
                own.value.cache.store(
                    key, tenant: tenant, model: model, answer: recorder.value.events,
                    bytes: recorder.value.bytes, maxAge: maxAge, now: .now)
            }
            sink(event)
        }
    }

    func keep(where isKept: (_ tenant: String, _ model: String) -> Bool) { cache.keep(where: isKept) }
}

/// The events of one answer in the making.
private final class Recorder {
    private(set) var events: [GenerationEvent] = []
    private(set) var bytes = 0
    /// Text that nothing has to be told of by piece becomes one piece.
    private var text = ""
    private let most: Int

    init(most: Int) { self.most = most }

    /// True when the answer is whole and worth keeping.
    func add(_ event: GenerationEvent) -> Bool {
        guard bytes <= most else { return false }
        switch event {
        case .queued, .tokens, .inferred, .failed: return false
        case .started: events.append(event)
        case .text(let text, let logprobs): add(text, logprobs)
        case .embedding(_, let vector):
            bytes += 32 + 4 * vector.count
            events.append(event)
        case .finished(let reason, let usage, _):
            guard reason != .cancelled, usage.cutBy == nil else { return false }
            flush()
            // Nothing is spent when it is given again.
            events.append(.finished(reason, usage, GenerationTimings()))
            return bytes <= most
        }
        if bytes > most { (events, text) = ([], "") }
        return false
    }

    private func add(_ more: String, _ logprobs: [TokenLogprob]) {
        bytes += more.utf8.count
        guard !logprobs.isEmpty else { return text += more }
        flush()
        bytes += 64 + logprobs.reduce(0) { $0 + $1.bytes }
        events.append(.text(more, logprobs: logprobs))
    }

    private func flush() {
        if !text.isEmpty { events.append(.text(text, logprobs: [])) }
        text = ""
    }
}

extension TokenLogprob {
    fileprivate var bytes: Int { 64 + piece.count + top.reduce(0) { $0 + 48 + $1.piece.count } }
}
