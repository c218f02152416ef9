// One HTTP/2 stream: a request in, its body by credit, an answer out by the client's window.
internal import CNGHTTP2
internal import Platform

/// Carries one exchange.
// SAFETY: the session that `raw` calls go to outlives this object's use of it: `closed` comes before it is freed.
@safe final class HTTP2Stream: ExchangeCarrier {
    private let id: Int32
    private let session: HTTP2Session
    private let began: MonotonicTime
    var head = HTTP2Head()
    private(set) var exchange: HTTPExchange?
    private(set) var isInputDone = false

    private var bodySize: UInt64 = 0
    private var clock: Pace
    private var expectsContinue = false

    private var output = ByteQueue()
    private var isHead = false
    private var hasStarted = false
    private var sendsBody = false
    private var isEnding = false
    private var isDeferred = false
    private var isWaiting = false
    private var lengthLeft: Int?
    private var lastProgress: MonotonicTime
    private var pace: Pace
    private var isClosed = false
    /// Set when the answer is out and the body isn't in.
    private var lingerSince: MonotonicTime?
    private var discardLeft: Int

    init(id: Int32, session: HTTP2Session) {
        self.id = id
        self.session = session
        began = session.now
        clock = session.limits.bodyPace(began)
        pace = session.limits.answerPace(began)
        lastProgress = began
        discardLeft = session.limits.lingerBytes
    }

    // MARK: the request

    func begin(ends: Bool) {
        let server = session.connection.server
        let request: HTTPRequest
        do throws(Refusal) {
            request = try head.request(
                ends: ends, connection: session.connection.facts, limits: session.limits)
        } catch {
            return refuse(error)
        }
        head = HTTP2Head()
        isHead = request.method == "HEAD"
        expectsContinue = !ends && request.headers.first("expect")?.lowercased() == "100-continue"
        let exchange = HTTPExchange(request: request, loop: server.loop, receivedAt: began, carrier: self)
        self.exchange = exchange
        server.statistics.requests += 1
        server.service.begin(exchange)
    }

    func receive(_ bytes: UnsafeRawBufferPointer) {
        bodySize += UInt64(bytes.count)
        clock.count(bytes.count)
        guard let exchange else { return discard(bytes.count) }
        guard bodySize <= session.limits.bodyBytes else {
            return refuse(
                Refusal(status: 413, text: "The body is too large: the limit is \(session.limits.bodyBytes) bytes."))
        }
        unsafe exchange.deliver(bytes)
    }

    func inputEnded() {
        guard !isInputDone else { return }
        isInputDone = true
        exchange?.deliverEnd()
    }

    /// Goes on with a body that the service now takes.
    func deliver() {
        guard let exchange else { return }
        if expectsContinue, exchange.takesBody, bodySize == 0, !hasStarted, !isInputDone {
            expectsContinue = false
            submit(status: 100, headers: [:], length: nil, kind: .interim)
        }
        exchange.deliverWaiting()
    }

    func bodyDemandChanged(_ exchange: HTTPExchange) { session.noteChanged(self) }

    func bodyConsumed(_ exchange: HTTPExchange, _ size: Int) {
        guard !isClosed else { return }
        _ = unsafe nghttp2_session_consume_stream(session.raw, id, size)
        session.connection.markDirty()
    }

    // MARK: the answer

    func sendWhole(_ exchange: HTTPExchange, status: Int, headers: HTTPHeaders, body: UnsafeRawBufferPointer) {
        let hasBody = !isHead && !isBodiless(status) && body.count > 0
        if hasBody { unsafe output.append(body) }
        isEnding = true
        submit(
            status: status, headers: headers, length: isBodiless(status) ? nil : body.count,
            kind: hasBody ? .body : .whole)
        self.exchange = nil
    }

    func sendHead(_ exchange: HTTPExchange, status: Int, headers: HTTPHeaders, contentLength: Int?) {
        sendsBody = !isHead && !isBodiless(status)
        lengthLeft = sendsBody ? contentLength : nil
        submit(status: status, headers: headers, length: isBodiless(status) ? nil : contentLength, kind: .body)
    }

    func sendBody(_ exchange: HTTPExchange, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard sendsBody, bytes.count > 0 else { return true }
        if let left = lengthLeft {
            guard bytes.count <= left else {
                exchange.abort()
                return true
            }
            lengthLeft = left - bytes.count
        }
        if output.isEmpty { restartPace() }
        unsafe output.append(bytes)
        resume()
        isWaiting = output.count > session.limits.highWater
        return !isWaiting
    }

    func sendEnd(_ exchange: HTTPExchange) {
        if let lengthLeft, lengthLeft > 0 { return abort(exchange) }
        isEnding = true
        self.exchange = nil
        resume()
    }

    func abort(_ exchange: HTTPExchange) {
        self.exchange = nil
        reset(NGHTTP2_INTERNAL_ERROR)
    }

    /// Answers for the service, because the request can't be handed over or gone on with.
    private func refuse(_ refusal: Refusal) {
        session.connection.server.statistics.refusedRequests += 1
        let gone = exchange
        exchange = nil
        if hasStarted {
            reset(NGHTTP2_CANCEL)
        } else {
            let body = Array("\(refusal.text)\n".utf8)
            if !isHead { output.append(body) }
            isEnding = true
            let headers: HTTPHeaders = ["content-type": "text/plain; charset=utf-8"]
            submit(status: refusal.status, headers: headers, length: body.count, kind: isHead ? .whole : .body)
        }
        gone?.clientGone()
    }

    // MARK: frames

    /// Moves what waits into a DATA frame.
    func fill(_ frame: UnsafeMutableRawBufferPointer) -> Int {
        let moved = unsafe output.move(into: frame)
        if moved > 0 { lastProgress = session.now }
        pace.count(moved)
        if output.isEmpty { output.release() }
        isDeferred = moved == 0 && !isAtEnd
        if isWaiting, output.count <= session.limits.lowWater {
            isWaiting = false
            session.noteDrained(self)
        }
        return moved
    }

    var isAtEnd: Bool { isEnding && output.isEmpty }

    private func resume() {
        session.connection.markDirty()
        guard isDeferred, !isClosed else { return }
        isDeferred = false
        _ = unsafe nghttp2_session_resume_data(session.raw, id)
    }

    private func reset(_ code: nghttp2_error_code) {
        output.release()
        isEnding = true
        guard !isClosed else { return }
        _ = unsafe nghttp2_submit_rst_stream(session.raw, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, code.rawValue)
        session.connection.markDirty()
    }

    /// The rest of the body isn't wanted, but a client that is reset in the middle of its upload may never look at the
    /// answer: it is heard out for a moment, as HTTP/1 lingers.
    func answerIsOut() {
        if !isInputDone { lingerSince = session.now }
    }

    private func discard(_ size: Int) {
        guard !isClosed, discardLeft > 0 else { return }
        discardLeft -= size
        // Without an error code, because refusing the rest is none (RFC 9113, 8.1).
        if discardLeft <= 0 { return lingerSince == nil ? () : reset(NGHTTP2_NO_ERROR) }
        _ = unsafe nghttp2_session_consume_stream(session.raw, id, size)
    }

    private enum Kind { case interim, whole, body }

    private func submit(status: Int, headers: HTTPHeaders, length: Int?, kind: Kind) {
        guard !isClosed else { return }
        if kind != .interim { hasStarted = true }
        restartPace()
        let list = FieldList(
            status: status, headers: headers, length: length, date: kind == .interim ? nil : dateValue(),
            strictTransport: kind == .interim ? 0 : session.connection.strictTransport)
        let (raw, id) = unsafe (session.raw, id)
        let flags = UInt8(NGHTTP2_FLAG_NONE.rawValue)
        unsafe list.withFields { fields in
            switch kind {
            case .interim: _ = unsafe nghttp2_submit_headers(raw, flags, id, nil, fields.baseAddress, fields.count, nil)
            case .whole: _ = unsafe nghttp2_submit_response(raw, id, fields.baseAddress, fields.count, nil)
            case .body:
                var provider = unsafe nghttp2_data_provider()
                unsafe provider.read_callback = HTTP2Callbacks.readBody
                _ = unsafe nghttp2_submit_response(raw, id, fields.baseAddress, fields.count, &provider)
            }
        }
        session.connection.markDirty()
    }

    private func restartPace() {
        lastProgress = session.now
        pace.restart(lastProgress)
    }

    private func dateValue() -> ArraySlice<UInt8> {
        session.connection.server.date.refresh()
        return session.connection.server.date.value
    }

    // MARK: ends

    func check(_ now: MonotonicTime) {
        if let lingerSince {
            if !isInputDone, now.since(lingerSince) / 1_000_000 >= session.limits.lingerTimeout {
                reset(NGHTTP2_NO_ERROR)
            }
        } else if !output.isEmpty, takesTooSlowly(now) {
            let gone = exchange
            exchange = nil
            reset(NGHTTP2_CANCEL)
            gone?.clientGone()
        } else if isInputDone || exchange?.takesBody != true {
            clock.restart(now)
        } else if clock.isTooSlow(now) {
            let rate = session.limits.bodyMinimumRate
            refuse(Refusal(status: 408, text: "The body came too slowly: send at least \(rate) bytes a second."))
        }
    }

    private func takesTooSlowly(_ now: MonotonicTime) -> Bool {
        now.since(lastProgress) / 1_000_000 >= session.limits.writeTimeout || pace.isTooSlow(now)
    }

    /// The stream is gone from the connection, or the connection is gone.
    func closed() {
        isClosed = true
        output.release()
        let gone = exchange
        exchange = nil
        gone?.clientGone()
    }
}

/// The fields of an answer in the shape that nghttp2 takes.
struct FieldList {
    private var bytes: [UInt8]
    private var cuts: [(name: Int, value: Int, end: Int)] = []

    init(status: Int, headers: HTTPHeaders, length: Int?, date: ArraySlice<UInt8>?, strictTransport: Int) {
        bytes = headers.bytes
        cuts.reserveCapacity(headers.count + 3)
        add(":status", "\(status)".utf8)
        for field in headers.fields where !isOurs(field, in: headers) {
            cuts.append((Int(field.nameStart), Int(field.valueStart), Int(field.valueEnd)))
        }
        if let length { add("content-length", "\(length)".utf8) }
        if let date { add("date", date) }
        if strictTransport > 0 { add("strict-transport-security", "max-age=\(strictTransport)".utf8) }
    }

    private mutating func add(_ name: String, _ value: some Sequence<UInt8>) {
        let start = bytes.count
        bytes.append(contentsOf: name.utf8)
        let middle = bytes.count
        bytes.append(contentsOf: value)
        cuts.append((start, middle, bytes.count))
    }

    /// The pointers are valid during `body`; nghttp2 copies what it keeps.
    func withFields(_ body: (UnsafeMutableBufferPointer<nghttp2_nv>) -> Void) {
        var bytes = bytes
        unsafe bytes.withUnsafeMutableBufferPointer { block in
            guard let base = block.baseAddress else { return }
            unsafe withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: cuts.count) { fields in
                for (index, cut) in cuts.enumerated() {
                    unsafe fields.initializeElement(
                        at: index,
                        to: nghttp2_nv(
                            name: base + cut.name, value: base + cut.value, namelen: cut.value - cut.name,
                            valuelen: cut.end - cut.value, flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue)))
                }
                unsafe body(fields)
            }
        }
    }
}
