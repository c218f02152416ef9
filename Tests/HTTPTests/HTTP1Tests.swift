// HTTP/1 as a client sees it: framing, order, connections kept and closed.
import Glibc
import HTTP
import Platform
import Testing

/// Answers with what it was asked.
@Sendable func describe(_ exchange: HTTPExchange) {
    let request = exchange.request
    exchange.collectBody(limit: 1 << 20) { result in
        switch result {
        case .success(let body):
            let content = String(decoding: body, as: UTF8.self)
            let text = "\(request.method) \(request.path)|\(request.query)|\(request.host)|\(content)"
            exchange.respond(status: 200, headers: ["content-type": "text/plain"], body: Array(text.utf8))
        case .failure(.tooLarge): exchange.respond(status: 413)
        case .failure(.interrupted): break
        }
    }
}

@Suite struct HTTP1Tests {
    @Test func answersAndKeepsTheConnection() throws {
        let server = try TestServer(describe)
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        for turn in 0..<3 {
            client.send("GET /a%20b?x=\(turn) HTTP/1.1\r\nHost: here\r\n\r\n")
            let answer = try #require(client.answer())
            #expect(answer.status == 200)
            #expect(answer.text == "GET /a%20b|x=\(turn)|here|")
            #expect(answer.fields["date"]?.hasSuffix(" GMT") == true)
            #expect(answer.fields["connection"] == nil)
        }
        #expect(server.onLoop { $0.statistics.requests } == 3)
    }

    @Test func readsBodiesByLengthAndInChunks() throws {
        let server = try TestServer(describe)
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("POST /l HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel")
        client.send("lo")
        #expect(client.answer()?.text == "POST /l||h|hello")
        client.send("POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: no\r\n\r\n")
        #expect(client.answer()?.text == "POST /c||h|abcde")
        client.send("GET /after HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(client.answer()?.text == "GET /after||h|")
    }

    @Test func answersPipelinedRequestsInOrder() throws {
        let server = try TestServer { exchange in
            // The first takes longest: an answer that overtakes would show.
            let wait: UInt64 = exchange.request.path == "/0" ? 100 : 0
            exchange.loop.schedule(at: .now.adding(milliseconds: wait)) {
                exchange.respond(status: 200, body: Array(exchange.request.path.utf8))
            }
        }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send((0..<50).map { "GET /\($0) HTTP/1.1\r\nHost: h\r\n\r\n" }.joined())
        for turn in 0..<50 { #expect(client.answer()?.text == "/\(turn)") }
    }

    @Test func pipelinedAnswersOfSizeDoNotPileUp() throws {
        let body = [UInt8](repeating: 7, count: 100_000)
        let server = try TestServer { $0.respond(status: 200, body: body) }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send(String(repeating: "GET / HTTP/1.1\r\nHost: h\r\n\r\n", count: 500))
        usleep(200_000)
        #expect(server.onLoop { $0.statistics.requests } < 250)
        for _ in 0..<500 { #expect(client.answer()?.body.count == body.count) }
    }

    @Test func headHasTheLengthAndNoBody() throws {
        let server = try TestServer(describe)
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(client.answer(head: true)?.fields["content-length"] == "11")
        client.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(client.answer()?.text == "GET /x||h|")
    }

    @Test func http10ClosesUnlessAskedToKeep() throws {
        let server = try TestServer(describe)
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("GET /k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        #expect(client.answer()?.fields["connection"] == "keep-alive")
        client.send("GET /e HTTP/1.0\r\n\r\n")
        let last = try #require(client.answer())
        #expect(last.fields["connection"] == "close")
        #expect(last.text == "GET /e|||")
        #expect(client.readToEnd().isEmpty)
    }

    @Test func http10StreamsUntilTheEnd() throws {
        let server = try TestServer { exchange in
            exchange.start(status: 200)
            exchange.write(Array("one ".utf8))
            exchange.write(Array("two".utf8))
            exchange.finish()
        }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("GET / HTTP/1.0\r\n\r\n")
        let answer = try #require(client.answer())
        #expect(answer.fields["transfer-encoding"] == nil)
        #expect(answer.text == "one two")
        let modern = try RawClient(port: server.port)
        modern.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(modern.answer()?.fields["transfer-encoding"] == "chunked")
    }

    @Test func sends100OnlyWhenTheBodyIsRead() throws {
        let server = try TestServer { exchange in
            if exchange.request.path == "/no" { exchange.respond(status: 403) } else { describe(exchange) }
        }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        let head = "HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        client.send("POST /yes \(head)")
        #expect(client.answer()?.status == 100)
        client.send("ok")
        #expect(client.answer()?.text == "POST /yes||h|ok")
        client.send("POST /no \(head)")
        let refused = try #require(client.answer())
        #expect(refused.status == 403)
        #expect(refused.fields["connection"] == "close")
        let other = try RawClient(port: server.port)
        other.send("GET / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n")
        #expect(other.answer()?.status == 417)
    }

    @Test func acceptsTheAbsoluteForm() throws {
        let server = try TestServer(describe)
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("GET http://here:80/p?q HTTP/1.1\r\nHost: here:80\r\n\r\n")
        #expect(client.answer()?.text == "GET /p|q|here:80|")
        client.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(client.answer()?.text == "OPTIONS *||h|")
    }

    @Test func answersAHalfClosedClient() throws {
        let server = try TestServer(describe)
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
        client.finishSending()
        #expect(client.answer()?.text == "GET /1||h|")
        #expect(client.answer()?.text == "GET /2||h|")
        #expect(client.readToEnd().isEmpty)
    }

    @Test func upgradeOffersAreIgnored() throws {
        let server = try TestServer(describe)
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send(
            "POST /u HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi")
        #expect(client.answer()?.text == "POST /u||h|hi")
    }

    @Test func headerValuesCanNotSplitTheAnswer() throws {
        let server = try TestServer { exchange in
            var headers = HTTPHeaders()
            headers.append("x-good", "yes")
            headers.append("x-bad", "a\r\nset-cookie: stolen")
            headers.append("bad name", "v")
            headers.append("content-length", "999")
            headers.append("transfer-encoding", "chunked")
            exchange.respond(status: 200, headers: headers, body: Array("\(headers.refused)".utf8))
        }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        let answer = try #require(client.answer())
        #expect(answer.fields["x-good"] == "yes")
        #expect(answer.fields["x-bad"] == nil && answer.fields["set-cookie"] == nil)
        #expect(answer.fields["content-length"] == "1" && answer.fields["transfer-encoding"] == nil)
        #expect(answer.text == "2")
    }
}
