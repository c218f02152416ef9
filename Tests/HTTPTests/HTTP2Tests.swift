// HTTP/2 and TLS, spoken by curl and h2load.
import Glibc
import HTTP
import Platform
import Testing

@Suite struct HTTP2Tests {
    @Test func curlSpeaksItInTheClear() throws {
        let server = try TestServer(describe)
        defer { server.stop() }
        let url = "http://127.0.0.1:\(server.port)/p%20q?a=b"
        let got = try run(
            "curl", ["-s", "--http2-prior-knowledge", "-d", "hello", "-w", " %{http_version} %{http_code}", url])
        #expect(got.output == "POST /p%20q|a=b|127.0.0.1:\(server.port)|hello 2 200")
        let head = try run("curl", ["-sI", "--http2-prior-knowledge", url])
        #expect(head.output.contains("content-length: \("HEAD /p%20q|a=b|127.0.0.1:\(server.port)|".utf8.count)"))
    }

    @Test func tlsAgreesOnEither() throws {
        let scratch = try Scratch()
        try scratch.makeCertificate("first")
        let tls = try TLSContext(certificate: "\(scratch.path)/cert.pem", key: "\(scratch.path)/key.pem")
        let server = try TestServer(tls: tls) { exchange in
            #expect(exchange.request.isTLS && exchange.request.peerIsLoopback)
            describe(exchange)
        }
        defer { server.stop() }
        let url = "https://127.0.0.1:\(server.port)/x"
        for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
            for limit in ["--tlsv1.3", "--tls-max=1.2"] {
                let limits = limit == "--tlsv1.3" ? ["--tlsv1.3"] : ["--tls-max", "1.2"]
                let got = try run(
                    "curl",
                    ["-s", option, "--cacert", "\(scratch.path)/cert.pem", "-d", "b", "-w", " %{http_version}"] + limits
                        + [url])
                #expect(got.output == "POST /x||127.0.0.1:\(server.port)|b \(version)")
            }
        }
    }

    @Test func reloadServesTheNewCertificate() throws {
        let scratch = try Scratch()
        try scratch.makeCertificate("first")
        let tls = try TLSContext(certificate: "\(scratch.path)/cert.pem", key: "\(scratch.path)/key.pem")
        let server = try TestServer(tls: tls, describe)
        defer { server.stop() }
        func served() throws -> String {
            try run("curl", ["-skv", "https://127.0.0.1:\(server.port)/"]).output
        }
        #expect(try served().contains("subject: CN=first"))
        try scratch.makeCertificate("second")
        #expect(try served().contains("subject: CN=first"))
        try tls.reload()
        #expect(try served().contains("subject: CN=second"))
        _ = unsafe truncate("\(scratch.path)/cert.pem", 0)
        #expect(throws: TLSError.self) { try tls.reload() }
        #expect(try served().contains("subject: CN=second"))
    }

    @Test func largeBodiesGoBothWays() throws {
        let scratch = try Scratch()
        _ = try run("dd", ["if=/dev/urandom", "of=\(scratch.path)/body", "bs=1M", "count=20"])
        let server = try TestServer(echo)
        defer { server.stop() }
        try scratch.makeCertificate("echo")
        let tls = try TLSContext(certificate: "\(scratch.path)/cert.pem", key: "\(scratch.path)/key.pem")
        let secure = try TestServer(tls: tls, echo)
        defer { secure.stop() }
        let ways = [
            "--http2-prior-knowledge http://127.0.0.1:\(server.port)/", "--http1.1 http://127.0.0.1:\(server.port)/",
            "--http2 -k https://127.0.0.1:\(secure.port)/", "--http1.1 -k https://127.0.0.1:\(secure.port)/",
        ]
        for way in ways {
            let body = "\(scratch.path)/body"
            let got = try run("bash", ["-c", "curl -s -H Expect: -T \(body) \(way) | cmp - \(body) && echo same"])
            #expect(got.output == "same\n", "\(way)")
        }
    }

    @Test func manyStreamsAtOnce() throws {
        let server = try TestServer { exchange in
            exchange.loop.schedule(at: .now.adding(milliseconds: 1)) {
                exchange.respond(status: 200, body: Array("ok".utf8))
            }
        }
        defer { server.stop() }
        let got = try run("h2load", ["-n", "5000", "-c", "4", "-m", "50", "http://127.0.0.1:\(server.port)/"])
        #expect(got.output.contains("5000 succeeded, 0 failed, 0 errored"))
    }

    @Test func limitsAreAnsweredOnTheStream() throws {
        var limits = HTTPLimits()
        limits.bodyBytes = 1000
        let server = try TestServer(limits: limits, describe)
        defer { server.stop() }
        func status(_ arguments: [String]) throws -> String {
            let url = "http://127.0.0.1:\(server.port)/"
            let options = ["-s", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code}"]
            return try run("curl", options + arguments + [url]).output
        }
        // Often, because the answer races the upload.
        for _ in 0..<20 { #expect(try status(["-d", String(repeating: "x", count: 1001)]) == "413") }
        #expect(try status(["-H", "x: \(String(repeating: "y", count: 17_000))"]) == "431")
        #expect(try status((0...100).flatMap { ["-H", "x\($0): y"] }) == "431")
        #expect(try status([]) == "200")
    }
}

/// Sends the body back as it comes, never holding more than the high-water mark.
@Sendable func echo(_ exchange: HTTPExchange) {
    exchange.start(status: 200)
    exchange.onDrain = { [unowned exchange] in exchange.resumeBody() }
    exchange.onBody = { [unowned exchange] bytes, isEnd in
        if !exchange.write(bytes) { exchange.pauseBody() }
        if isEnd { exchange.finish() }
    }
}
