// Slow clients, clients that leave, clients that don't read: nobody holds the server up, and nobody fills its memory.
import Glibc
import HTTP
import Platform
import Testing

@Suite struct TimeAndFlowTests {
    static var quick: HTTPLimits {
        var limits = HTTPLimits()
        limits.headTimeout = 300
        limits.bodyTimeout = 300
        limits.bodyMinimumRate = 1_000
        limits.writeTimeout = 300
        limits.idleTimeout = 300
        limits.lingerTimeout = 300
        return limits
    }

    @Test func trickledHeadsGet408() throws {
        let server = try TestServer(limits: Self.quick, describe)
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("GET / HTTP/1.1\r\nX: ")
        // A byte now and then must not move the deadline.
        for _ in 0..<40 {
            client.send("y")
            usleep(25_000)
        }
        #expect(client.answer()?.status == 408)
    }

    @Test func trickledBodiesGet408() throws {
        let server = try TestServer(limits: Self.quick, describe)
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        for _ in 0..<40 {
            client.send("y")
            usleep(25_000)
        }
        #expect(client.answer()?.status == 408)
    }

    @Test func silentConnectionsAreClosed() throws {
        let server = try TestServer(limits: Self.quick, describe)
        defer { server.stop() }
        let fresh = try RawClient(port: server.port)
        let used = try RawClient(port: server.port)
        used.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(used.answer()?.status == 200)
        #expect(fresh.readToEnd().isEmpty && fresh.lastError == 0)
        #expect(used.readToEnd().isEmpty && used.lastError == 0)
        #expect(server.onLoop { $0.statistics.connections } == 0)
    }

    @Test func aReaderThatStopsIsGivenUpInBoundedMemory() throws {
        let closed = Mailbox<Int>()
        let server = try TestServer(limits: Self.quick) { exchange in
            let piece = [UInt8](repeating: 1, count: 32_768)
            var written = 0
            func fill() {
                repeat { written += piece.count } while exchange.write(piece)
            }
            exchange.start(status: 200)
            exchange.onDrain = fill
            exchange.onClose = { closed.put(written) }
            fill()
        }
        defer { server.stop() }
        let client = try RawClient(port: server.port, receiveBuffer: 4096)
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        let written = try #require(closed.take(seconds: 20))
        // The kernel's send buffer may take a few megabytes of it; an unbounded producer would have gone on.
        #expect(written < 32 << 20)
    }

    @Test func leavingWhileTheServiceWorksIsTold() throws {
        let closed = Mailbox<String>()
        let server = try TestServer { exchange in exchange.onClose = { closed.put(exchange.request.path) } }
        defer { server.stop() }
        do {
            let client = try RawClient(port: server.port)
            client.send("GET /left HTTP/1.1\r\nHost: h\r\n\r\n")
            usleep(50_000)
        }
        #expect(closed.take(seconds: 20) == "/left")
        #expect(server.onLoop { $0.statistics.connections } == 0)
    }

    @Test func leavingInHTTP2IsTold() throws {
        let closed = Mailbox<String>()
        let server = try TestServer { exchange in exchange.onClose = { closed.put(exchange.request.path) } }
        defer { server.stop() }
        _ = try run("curl", ["-s", "--http2-prior-knowledge", "-m", "0.3", "http://127.0.0.1:\(server.port)/left"])
        #expect(closed.take(seconds: 20) == "/left")
    }

    @Test func anUploadNobodyReadsStaysInTheKernel() throws {
        let parked = Mailbox<Void>()
        let server = try TestServer { exchange in
            exchange.onBody = { [unowned exchange] _, _ in
                exchange.pauseBody()
                parked.put(())
            }
        }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 60000000\r\n\r\nfirst")
        _ = try #require(parked.take(seconds: 20))
        #expect(client.sendUntilFull(limit: 60_000_000) < 30_000_000)
    }

    @Test func abortedAnswersLookBroken() throws {
        let server = try TestServer { exchange in
            if exchange.request.path == "/short" {
                exchange.start(status: 200, contentLength: 100)
                exchange.write(Array("only this".utf8))
                exchange.finish()
            } else {
                exchange.start(status: 200)
                exchange.write(Array("some".utf8))
                exchange.loop.schedule(at: .now.adding(milliseconds: 30)) { exchange.abort() }
            }
        }
        defer { server.stop() }
        for path in ["/chunked", "/short"] {
            for version in ["1.1", "1.0"] {
                let client = try RawClient(port: server.port)
                client.send("GET \(path) HTTP/\(version)\r\nHost: h\r\n\r\n")
                #expect(client.answer() == nil)
            }
            let h2 = try run("curl", ["-s", "--http2-prior-knowledge", "http://127.0.0.1:\(server.port)\(path)"])
            #expect(h2.status != 0)
        }
    }

    @Test func echoKeepsLittleInFlight() throws {
        let server = try TestServer(echo)
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 400000000\r\n\r\n")
        // Nothing is read: the echo must stop the upload instead of keeping 400 MB.
        #expect(client.sendUntilFull(limit: 400_000_000) < 60_000_000)
    }

    @Test func bodiesAreConsumedLaterToo() throws {
        let server = try TestServer { exchange in
            exchange.loop.schedule(at: .now.adding(milliseconds: 50)) { describe(exchange) }
        }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        let body = String(repeating: "b", count: 300_000)
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
        #expect(client.answer()?.text == "POST /||h|\(body)")
        let curl = "curl -s --http2-prior-knowledge --data-binary @- http://127.0.0.1:\(server.port)/"
        let h2 = try run("bash", ["-c", "head -c 300000 /dev/zero | \(curl) | wc -c"])
        #expect(Int(h2.output.drop { $0 == " " }.prefix { $0.isNumber }) ?? 0 > 300_000)
    }

    @Test func anEarlyAnswerToASmallUploadKeepsTheConnection() throws {
        let server = try TestServer { exchange in
            if exchange.request.method == "POST" { exchange.respond(status: 404) } else { describe(exchange) }
        }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n01234")
        #expect(client.answer()?.status == 404)
        client.send("56789GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(client.answer()?.text == "GET /next||h|")
    }
}
