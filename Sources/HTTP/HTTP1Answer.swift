// How HTTP/1 sends answers: framing by length, by chunks or by the connection's end.
internal import Platform

/// The state of the answer to the current request.
struct HTTP1Answer {
    enum Body {
        /// Nothing is sent: HEAD, 204, 304.
        case none
        case length(left: Int)
        case chunked
        case untilClose
    }

    var hasStarted = false
    var isDone = false
    var closes = false
    var body = Body.none
    /// The service was told to wait.
    var isWaiting = false

    /// True once after the service was told to wait.
    mutating func takeWaiting() -> Bool {
        defer { isWaiting = false }
        return isWaiting
    }
}

extension HTTP1Session: ExchangeCarrier {
    func sendWhole(_ exchange: HTTPExchange, status: Int, headers: HTTPHeaders, body: UnsafeRawBufferPointer) {
        guard exchange === self.exchange else { return }
        begin(status: status, headers: headers, length: isBodiless(status) ? .unsaid : .known(body.count))
        if sendsBody(status) { unsafe connection.output.append(body) }
        end()
    }

    func sendHead(_ exchange: HTTPExchange, status: Int, headers: HTTPHeaders, contentLength: Int?) {
        guard exchange === self.exchange else { return }
        var length = ResponseFraming.Length.unsaid
        var body = HTTP1Answer.Body.none
        if let contentLength, !isBodiless(status) {
            (length, body) = (.known(contentLength), .length(left: contentLength))
        } else if !isBodiless(status), exchange.request.version == .http11 {
            (length, body) = (.chunked, .chunked)
        } else if !isBodiless(status) {
            body = .untilClose
            answer.closes = true
        }
        begin(status: status, headers: headers, length: length)
        answer.body = sendsBody(status) ? body : .none
        connection.markDirty()
    }

    func sendBody(_ exchange: HTTPExchange, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard exchange === self.exchange else { return true }
        switch answer.body {
        case .none: return true
        case .length(let left):
            // More than was promised would be read as the next answer.
            guard bytes.count <= left else {
                exchange.abort()
                return true
            }
            answer.body = .length(left: left - bytes.count)
            unsafe connection.output.append(bytes)
        case .chunked: unsafe connection.output.appendChunk(bytes)
        case .untilClose: unsafe connection.output.append(bytes)
        }
        connection.markDirty()
        answer.isWaiting = connection.output.count > connection.server.limits.highWater
        return !answer.isWaiting
    }

    func sendEnd(_ exchange: HTTPExchange) {
        guard exchange === self.exchange else { return }
        switch answer.body {
        case .length(let left) where left > 0: return abort(exchange)
        case .chunked: connection.output.append("0\r\n\r\n")
        case .none, .length, .untilClose: break
        }
        end()
    }

    func abort(_ exchange: HTTPExchange) {
        guard exchange === self.exchange else { return }
        exchangeAborted()
        connection.close(reset: true)
    }

    func bodyDemandChanged(_ exchange: HTTPExchange) { connection.markDirty() }

    func bodyConsumed(_ exchange: HTTPExchange, _ size: Int) {}

    /// An answer of the protocol's own.
    func appendRefusal(_ refusal: Refusal) {
        let body = Array("\(refusal.text)\n".utf8)
        answer.closes = true
        begin(
            status: refusal.status, headers: ["content-type": "text/plain; charset=utf-8"], length: .known(body.count))
        if message?.request.method != "HEAD" { connection.output.append(body) }
        answer.isDone = true
    }

    private func begin(status: Int, headers: HTTPHeaders, length: ResponseFraming.Length) {
        let keepsAlive = message?.keepsAlive ?? false
        let rejectsMuch = status >= 400 && restIsExpensive
        if !keepsAlive || connection.server.isDraining || rejectsMuch || mustHangUp { answer.closes = true }
        answer.hasStarted = true
        connection.server.date.refresh()
        let framing = ResponseFraming(
            length: length, closes: answer.closes, saysKeepAlive: message?.request.version == .http10,
            strictTransport: connection.strictTransport)
        connection.output.appendHead(status: status, headers: headers, framing: framing, date: connection.server.date)
    }

    private func sendsBody(_ status: Int) -> Bool { !isBodiless(status) && message?.request.method != "HEAD" }

    private func end() {
        answer.isDone = true
        answerEnded()
    }
}
