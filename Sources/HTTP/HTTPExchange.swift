// One request and its answer, as a service sees them; HTTP1Session.swift and HTTP2Session.swift carry them.
package import Platform

/// Takes requests. One service object belongs to one loop; all calls come on its thread.
package protocol HTTPService: AnyObject {
    /// A head is complete. Answer now, or keep the exchange and answer later.
    func begin(_ exchange: HTTPExchange)
}

/// Why a body could not be collected.
package enum HTTPBodyError: Error, Equatable {
    case tooLarge(limit: Int)
    /// The client went away, or sent too slowly.
    case interrupted
}

/// The protocol side of an exchange.
protocol ExchangeCarrier: AnyObject {
    func sendWhole(_ exchange: HTTPExchange, status: Int, headers: HTTPHeaders, body: UnsafeRawBufferPointer)
    func sendHead(_ exchange: HTTPExchange, status: Int, headers: HTTPHeaders, contentLength: Int?)
    /// False: too much is waiting; `HTTPExchange.drained` will be called.
    func sendBody(_ exchange: HTTPExchange, _ bytes: UnsafeRawBufferPointer) -> Bool
    func sendEnd(_ exchange: HTTPExchange)
    func abort(_ exchange: HTTPExchange)
    /// The service took, paused or resumed the body: look at it again before the batch ends.
    func bodyDemandChanged(_ exchange: HTTPExchange)
    /// The service has been given these bytes for good.
    func bodyConsumed(_ exchange: HTTPExchange, _ size: Int)
}

/// One request and its answer. Confined to its loop.
///
/// An exchange is over when its answer is finished or its client is gone: everything asked of it later does nothing.
package final class HTTPExchange {
    package let request: HTTPRequest
    package let loop: EventLoop
    /// When the first byte of the head came.
    package let receivedAt: MonotonicTime
    /// What the service knows of the caller; HTTP never looks into it.
    package var context: AnyObject?

    private enum Answer { case none, started, finished }

    private var answer = Answer.none
    private var carrier: (any ExchangeCarrier)?
    private var bodyHandler: ((RawSpan, _ isEnd: Bool) -> Void)?
    private var isPaused = false
    private var isDelivering = false
    private var waiting: [UInt8] = []
    private var endArrived = false
    private var endDelivered = false

    init(request: HTTPRequest, loop: EventLoop, receivedAt: MonotonicTime, carrier: any ExchangeCarrier) {
        self.request = request
        self.loop = loop
        self.receivedAt = receivedAt
        self.carrier = carrier
    }

    // MARK: the request's body

    /// Receives the body in order; `isEnd` comes once, with or after the last bytes. Until it is set the client is kept waiting.
    package var onBody: ((RawSpan, _ isEnd: Bool) -> Void)? {
        get { bodyHandler }
        set {
            bodyHandler = newValue
            if newValue != nil { carrier?.bodyDemandChanged(self) }
        }
    }

    /// Keeps the client waiting: TCP stops reading, HTTP/2 opens no window. At most 64 KiB that came before are held.
    package func pauseBody() { isPaused = true }

    package func resumeBody() {
        guard isPaused else { return }
        isPaused = false
        carrier?.bodyDemandChanged(self)
    }

    /// Gathers the whole body and hands it over once.
    package func collectBody(limit: Int, _ done: @escaping (Result<[UInt8], HTTPBodyError>) -> Void) {
        if let length = request.contentLength, length > UInt64(limit) { return done(.failure(.tooLarge(limit: limit))) }
        guard carrier != nil else { return done(.failure(.interrupted)) }
        var body: [UInt8] = []
        body.reserveCapacity(min(Int(request.contentLength ?? 0), 1 << 20))
        bodyInterrupted = { done(.failure(.interrupted)) }
        onBody = { [unowned self] bytes, isEnd in
            guard body.count + bytes.byteCount <= limit else {
                stopCollecting()
                return done(.failure(.tooLarge(limit: limit)))
            }
            body.append(bytes)
            guard isEnd else { return }
            stopCollecting()
            done(.success(body))
        }
    }

    private var bodyInterrupted: (() -> Void)?

    private func stopCollecting() {
        bodyHandler = nil
        bodyInterrupted = nil
    }

    // MARK: the answer

    package var hasStarted: Bool { answer != .none }
    package var isOver: Bool { carrier == nil }

    /// Answers in one go. A status that is no final one (below 200, above 999) is sent as 500.
    package func respond(status: Int, headers: HTTPHeaders = [:], body: [UInt8] = []) {
        guard answer == .none, let carrier else { return }
        answer = .finished
        answered(status)
        let headers = adorned(headers)
        onSent?(body.count)
        ended()
        unsafe body.withUnsafeBytes {
            unsafe carrier.sendWhole(self, status: Self.final(status), headers: headers, body: $0)
        }
        release()
    }

    /// Begins a streamed answer: `write` follows, then `finish`. With `contentLength` exactly that many bytes must follow.
    package func start(status: Int, headers: HTTPHeaders = [:], contentLength: Int? = nil) {
        guard answer == .none, let carrier else { return }
        answer = .started
        answered(status)
        carrier.sendHead(
            self, status: Self.final(status), headers: adorned(headers), contentLength: contentLength)
    }

    /// Adds now what `adorn` adds to whatever answer comes; to fields that are nobody else's, so that nothing is copied.
    package func adornNow(_ headers: inout HTTPHeaders) { adorn.take()?(&headers) }

    private func adorned(_ headers: HTTPHeaders) -> HTTPHeaders {
        guard let adorn = adorn.take() else { return headers }
        var more = headers
        adorn(&more)
        return more
    }

    private func ended() {
        guard let told = onEnd.take() else { return }
        told()
    }

    private func answered(_ status: Int) {
        guard let told = onAnswer.take() else { return }
        told(Self.final(status))
    }

    private static func final(_ status: Int) -> Int { (200...999).contains(status) ? status : 500 }

    /// Sends a piece. False: too much is waiting for the client; go on after `onDrain`.
    @discardableResult
    package func write(_ bytes: RawSpan) -> Bool {
        guard answer == .started, let carrier else { return true }
        onSent?(bytes.byteCount)
        return unsafe bytes.withUnsafeBytes { unsafe carrier.sendBody(self, $0) }
    }

    @discardableResult
    package func write(_ bytes: [UInt8]) -> Bool {
        guard answer == .started, let carrier else { return true }
        onSent?(bytes.count)
        return unsafe bytes.withUnsafeBytes { unsafe carrier.sendBody(self, $0) }
    }

    /// Ends a streamed answer.
    package func finish() {
        guard answer == .started, let carrier else { return }
        answer = .finished
        ended()
        carrier.sendEnd(self)
        release()
    }

    /// Breaks the answer off so that the client sees a broken one, never a short one that looks whole.
    package func abort() {
        guard let carrier else { return }
        answer = .finished
        carrier.abort(self)
        release()
    }

    /// Called when there is room again after `write` returned false.
    package var onDrain: (() -> Void)?
    /// Called once when the client goes away, or is given up, before the answer is finished.
    package var onClose: (() -> Void)?

    /// Called once with the status, before the answer's head is sent.
    package var onAnswer: ((_ status: Int) -> Void)?

    /// Adds to the head of whatever answer comes; called once.
    package var adorn: ((inout HTTPHeaders) -> Void)?

    /// Called with how many bytes of the answer's body are about to be sent.
    package var onSent: ((Int) -> Void)?

    /// Called once when the exchange is over, however it ends; before the last bytes of a whole answer are sent, so that
    /// whoever reads them finds done what is done here.
    package var onEnd: (() -> Void)?

    // MARK: for the carrier

    /// True when the service takes body bytes now.
    var takesBody: Bool { bodyHandler != nil && !isPaused }

    /// Hands over a piece, or keeps it until the service takes it.
    func deliver(_ bytes: UnsafeRawBufferPointer) {
        guard takesBody, waiting.isEmpty, !isDelivering else { return unsafe waiting.append(contentsOf: bytes) }
        unsafe call(bytes, isEnd: false)
        carrier?.bodyConsumed(self, bytes.count)
    }

    func deliverEnd() {
        endArrived = true
        deliverWaiting()
    }

    /// Hands over what was kept.
    func deliverWaiting() {
        guard takesBody, !isDelivering else { return }
        if !waiting.isEmpty {
            let held = waiting
            waiting = []
            unsafe held.withUnsafeBytes { unsafe call($0, isEnd: false) }
            carrier?.bodyConsumed(self, held.count)
        }
        guard endArrived, !endDelivered, takesBody, waiting.isEmpty else { return }
        endDelivered = true
        unsafe call(UnsafeRawBufferPointer(start: nil, count: 0), isEnd: true)
    }

    private func call(_ bytes: UnsafeRawBufferPointer, isEnd: Bool) {
        isDelivering = true
        if let bodyHandler { unsafe bodyHandler(bytes.bytes, isEnd) }
        isDelivering = false
    }

    func drained() { onDrain?() }

    /// The client is gone: tells the service, once.
    func clientGone() {
        guard carrier != nil else { return }
        let (interrupted, gone) = (bodyInterrupted, onClose)
        release()
        interrupted?()
        gone?()
    }

    private func release() {
        carrier = nil
        ended()
        adorn = nil
        onSent = nil
        bodyHandler = nil
        bodyInterrupted = nil
        onDrain = nil
        onClose = nil
        onAnswer = nil
    }
}

extension [UInt8] {
    /// Appends what a span shows.
    package mutating func append(_ bytes: RawSpan) {
        unsafe bytes.withUnsafeBytes { unsafe append(contentsOf: $0) }
    }
}
