// HTTP/1 on one connection: requests in, one at a time; HTTP1Answer.swift sends the answers.
internal import CLLHTTP
internal import Platform

/// Parses requests in order. The next one is not looked at before the current one is answered, so answers can't overtake.
// SAFETY: the parser is freed with this object and calls back only while `parse` runs, when this object is alive.
@safe final class HTTP1Session: WireSession {
    enum Phase {
        case head
        /// The head is complete, the message isn't.
        case body
        /// The message is complete, the answer isn't.
        case answering
        /// Nothing more is read.
        case stopped
    }

    let connection: Connection
    private(set) var phase = Phase.head
    private(set) var message: HTTP1Message?
    private(set) var exchange: HTTPExchange?
    var answer = HTTP1Answer()

    private let parser: OpaquePointer
    private var pending = ByteQueue()
    private var isParsingPending = false
    private var sawEnd = false
    private var refusal: Refusal?

    private var head = HTTP1HeadBuffer()
    private var headBegan: MonotonicTime?
    private var idleSince: MonotonicTime

    private var bodySize: UInt64 = 0
    private var rawBodySize: UInt64 = 0
    private var clock: Pace
    private var discardLeft = 0
    private var saidContinue = false

    /// How much of a body is read for nothing, to keep a connection that was answered early.
    static let discardLimit = 256 * 1024

    init(_ connection: Connection) {
        self.connection = connection
        idleSince = connection.server.loop.now
        clock = connection.server.limits.bodyPace(idleSince)
        unsafe parser = Self.makeParser()
        unsafe cllhttp_set_owner(parser, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit { unsafe cllhttp_free(parser) }

    private var limits: HTTPLimits { connection.server.limits }
    private var now: MonotonicTime { connection.server.loop.now }

    // MARK: input

    var wantsInput: Bool {
        guard pending.isEmpty, !sawEnd else { return false }
        switch phase {
        case .head: return hasRoomForAnswers
        case .body: return canParse
        case .answering: return true
        case .stopped: return false
        }
    }

    /// Answers to pipelined requests may not pile up: the next request waits until the client took what it has.
    private var hasRoomForAnswers: Bool { connection.output.count <= limits.highWater }

    private var canParse: Bool {
        switch phase {
        case .head: hasRoomForAnswers
        case .body: message?.hasBody == false || (exchange?.takesBody ?? true)
        case .answering, .stopped: false
        }
    }

    func receive(_ bytes: UnsafeRawBufferPointer) {
        guard phase != .stopped else { return }
        if headBegan == nil, phase == .head { headBegan = now }
        if !pending.isEmpty { return unsafe pending.append(bytes) }
        let used = unsafe parse(bytes)
        if used < bytes.count, phase != .stopped {
            unsafe pending.append(UnsafeRawBufferPointer(rebasing: bytes[used...]))
        }
    }

    func inputEnded() { sawEnd = true }

    func settle() {
        exchange?.deliverWaiting()
        parsePending()
        sayContinue()
        if sawEnd { actOnEnd() }
    }

    func produce() {}

    func outputDrained() {
        if let exchange, answer.takeWaiting() { exchange.drained() }
        if !pending.isEmpty, canParse { connection.markDirty() }
    }

    private func parsePending() {
        guard !pending.isEmpty, canParse else { return }
        if headBegan == nil, phase == .head { headBegan = now }
        isParsingPending = true
        let used = unsafe parse(pending.readable)
        isParsingPending = false
        // What is parsed may end the connection, and the rest is then worth nothing.
        guard phase != .stopped else { return pending.release() }
        pending.consume(used)
        if pending.isEmpty { pending.release() }
    }

    /// Parses as far as it may; returns how many bytes it used.
    private func parse(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard let base = bytes.baseAddress else { return 0 }
        var offset = 0
        var isPaused = false
        while canParse, offset < bytes.count || isPaused {
            var used = 0
            let wasHead = phase == .head
            let result = unsafe cllhttp_execute(parser, base + offset, bytes.count - offset, &used)
            offset += used
            if wasHead { head.rawSize += used } else { rawBodySize += UInt64(used) }
            isPaused = false
            switch result {
            case .CLLHTTP_MORE: checkRawSizes()
            case .CLLHTTP_HEAD:
                isPaused = true
                beginExchange()
            case .CLLHTTP_END: endMessage()
            case .CLLHTTP_STOPPED: refuse(refusal ?? Refusal(status: 400, text: "The request was given up."))
            case .CLLHTTP_BAD:
                let problem = unsafe String(cString: cllhttp_problem(parser))
                refuse(Refusal(status: 400, text: "The request is malformed: \(problem)."))
            }
        }
        return offset
    }

    // MARK: one message

    private func beginExchange() {
        let parts = HTTP1HeadParts(
            head: unsafe cllhttp_head_of(parser), target: 0..<head.targetSize, headers: head.headers,
            connection: connection.facts)
        let began = headBegan ?? now
        head = HTTP1HeadBuffer()
        headBegan = nil
        let message: HTTP1Message
        do throws(Refusal) { message = try HTTP1Message(parts, limits: limits) } catch { return refuse(error) }
        self.message = message
        phase = .body
        bodySize = 0
        rawBodySize = 0
        saidContinue = false
        clock.restart(now)
        answer = HTTP1Answer()
        let exchange = HTTPExchange(
            request: message.request, loop: connection.server.loop, receivedAt: began, carrier: self)
        self.exchange = exchange
        connection.server.statistics.requests += 1
        connection.server.service.begin(exchange)
    }

    private func endMessage() {
        guard phase == .body else { return }
        phase = .answering
        if answer.isDone { return nextMessage() }
        exchange?.deliverEnd()
    }

    /// The answer is complete; the message may not be.
    func answerEnded() {
        exchange = nil
        connection.markDirty()
        switch phase {
        case .answering: nextMessage()
        case .body where answer.closes: stop(linger: message?.hasBody == true)
        case .body: discardLeft = Self.discardLimit
        case .head, .stopped: break
        }
    }

    private func nextMessage() {
        exchange = nil
        message = nil
        if answer.closes { return stop(linger: !pending.isEmpty) }
        phase = .head
        idleSince = now
    }

    /// The answer is broken off: nothing more of this exchange is sent or told.
    func exchangeAborted() { exchange = nil }

    func stop(linger: Bool) {
        phase = .stopped
        // While it is parsed, the parser and the service still look into it.
        if !isParsingPending { pending.release() }
        connection.endAfterFlush(linger: linger)
    }

    /// True when the client waits for a 100 that will not come: whether the body follows can't be known any more.
    var mustHangUp: Bool {
        phase == .body && message?.expectsContinue == true && !saidContinue && bodySize == 0
            && exchange?.takesBody != true
    }

    /// True while a large or unbounded rest of a body is not worth reading just to keep the connection.
    var restIsExpensive: Bool {
        guard phase == .body, let message, message.hasBody else { return false }
        guard let length = message.request.contentLength else { return true }
        return length - bodySize > 64 * 1024
    }

    private func sayContinue() {
        guard phase == .body, let message, message.expectsContinue, !saidContinue, bodySize == 0, !answer.hasStarted,
            exchange?.takesBody == true
        else { return }
        saidContinue = true
        connection.output.append("HTTP/1.1 100 Continue\r\n\r\n")
    }

    private func actOnEnd() {
        switch phase {
        case .head: connection.endAfterFlush(linger: false)
        case .body where pending.isEmpty && canParse: connection.close()
        case .answering where pending.isEmpty: connection.close()
        case .body, .answering, .stopped: break
        }
    }

    // MARK: refusing

    /// Answers for the service, because the request can't be handed over or gone on with.
    func refuse(_ refusal: Refusal) {
        connection.server.statistics.refusedRequests += 1
        let gone = exchange
        exchange = nil
        if answer.hasStarted, !answer.isDone {
            connection.close(reset: true)
        } else {
            if !answer.isDone || phase == .head { appendRefusal(refusal) }
            stop(linger: true)
        }
        gone?.clientGone()
    }

    private func checkRawSizes() {
        switch phase {
        case .head where head.rawSize > limits.targetBytes + 2 * limits.headerBytes:
            refuse(
                Refusal(status: 431, text: "The request head is too large: the limit is \(limits.headerBytes) bytes."))
        // Chunk headers and extensions may cost more than the bytes they carry, but not without end.
        case .body where rawBodySize > 16 * bodySize + UInt64(limits.headerBytes):
            refuse(Refusal(status: 400, text: "The chunks are mostly framing: send larger ones, without extensions."))
        default: break
        }
    }

    func check(_ now: MonotonicTime) {
        switch phase {
        case .head: checkHead(now)
        case .body where !canParse || message?.hasBody == false: clock.restart(now)
        case .body:
            if clock.isTooSlow(now) {
                let rate = limits.bodyMinimumRate
                refuse(Refusal(status: 408, text: "The body came too slowly: send at least \(rate) bytes a second."))
            }
        case .answering, .stopped: break
        }
    }

    private func checkHead(_ now: MonotonicTime) {
        if let headBegan {
            guard now.since(headBegan) / 1_000_000 >= limits.headTimeout, pending.isEmpty else { return }
            guard head.targetSize > 0 else { return connection.close() }
            refuse(Refusal(status: 408, text: "The request head came too slowly: it has \(limits.headTimeout) ms."))
        } else if now.since(idleSince) / 1_000_000 >= limits.idleTimeout, connection.output.isEmpty {
            connection.close()
        }
    }

    func drain(graceIsOver: Bool) {
        if graceIsOver, phase == .head, headBegan == nil { connection.endAfterFlush(linger: false) }
    }

    func connectionClosed() {
        phase = .stopped
        let gone = exchange
        exchange = nil
        gone?.clientGone()
    }

    // MARK: called by the parser

    private static func makeParser() -> OpaquePointer {
        guard let parser = unsafe cllhttp_create(calls) else { fatalError("HTTP/1: out of memory for a parser") }
        return unsafe parser
    }

    // SAFETY: written once, before the first parser is made, and only read from then on.
    private nonisolated(unsafe) static let calls: UnsafePointer<cllhttp_calls> = {
        let calls = UnsafeMutablePointer<cllhttp_calls>.allocate(capacity: 1)
        unsafe calls.initialize(
            to: cllhttp_calls(
                target: { unsafe HTTP1Session.of($0).onTarget(UnsafeRawBufferPointer(start: $1, count: $2)) },
                name: { unsafe HTTP1Session.of($0).onName(UnsafeRawBufferPointer(start: $1, count: $2)) },
                value: { unsafe HTTP1Session.of($0).onValue(UnsafeRawBufferPointer(start: $1, count: $2)) },
                field_end: { unsafe HTTP1Session.of($0).onFieldEnd() },
                body: { unsafe HTTP1Session.of($0).onBody(UnsafeRawBufferPointer(start: $1, count: $2)) }))
        return unsafe UnsafePointer(calls)
    }()

    private static func of(_ owner: UnsafeMutableRawPointer) -> HTTP1Session {
        unsafe Unmanaged<HTTP1Session>.fromOpaque(owner).takeUnretainedValue()
    }

    private func onTarget(_ piece: UnsafeRawBufferPointer) -> Bool {
        unsafe isFine(head.appendTarget(piece, limits))
    }

    private func onName(_ piece: UnsafeRawBufferPointer) -> Bool {
        unsafe isFine(head.appendName(piece, limits))
    }

    private func onValue(_ piece: UnsafeRawBufferPointer) -> Bool {
        unsafe isFine(head.appendValue(piece, limits))
    }

    private func onFieldEnd() -> Bool {
        head.endField()
        return true
    }

    private func onBody(_ piece: UnsafeRawBufferPointer) -> Bool {
        bodySize += UInt64(piece.count)
        clock.count(piece.count)
        guard bodySize <= limits.bodyBytes else {
            return deny(413, "The body is too large: the limit is \(limits.bodyBytes) bytes.")
        }
        if let exchange {
            unsafe exchange.deliver(piece)
        } else {
            discardLeft -= piece.count
            if discardLeft < 0 {
                answer.closes = true
                return deny(413, "The answer is out and the body does not end.")
            }
        }
        return phase != .stopped
    }

    private func deny(_ status: Int, _ text: String) -> Bool { isFine(Refusal(status: status, text: text)) }

    private func isFine(_ problem: Refusal?) -> Bool {
        guard let problem else { return true }
        refusal = problem
        return false
    }
}
