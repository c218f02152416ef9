// What is refused, and that the refused client gets to read why.
import Glibc
import HTTP
import Platform
import Testing

@Suite struct RefusalTests {
    /// Each could make two servers on one path disagree about where a request ends, or for whom it is.
    static let ambiguous: [String] = [
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n: empty\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nSpace : x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nNul: a\u{0}b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET noslash HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\u{7f} HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\r\n\r\n",
        "BREW / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc",
    ]

    @Test func ambiguousRequestsGet400() throws {
        let server = try TestServer(describe)
        defer { server.stop() }
        for probe in Self.ambiguous {
            let client = try RawClient(port: server.port)
            client.send(probe)
            let answer = client.answer()
            #expect(answer?.status == 400, "\(probe.debugDescription)")
            #expect(answer?.fields["connection"] == "close")
            #expect(client.readToEnd().isEmpty, "nothing may follow the refusal of \(probe.debugDescription)")
        }
    }

    @Test func otherVersionsAndMethods() throws {
        let server = try TestServer(describe)
        defer { server.stop() }
        for (probe, status) in [
            ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505), ("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", 405),
        ] {
            let client = try RawClient(port: server.port)
            client.send(probe)
            #expect(client.answer()?.status == status)
        }
    }

    /// The client sends far more than is read, and must still see the answer instead of a reset.
    @Test func refusalsSurviveUnreadInput() throws {
        var limits = HTTPLimits()
        limits.bodyBytes = 1_000_000
        let server = try TestServer(limits: limits, describe)
        defer { server.stop() }
        let body = [UInt8](repeating: 0x78, count: 900_000)
        let heads: [(String, Int)] = [
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n", 413),
            ("GET / HTTP/1.1\r\nHost: h\r\nX: \(String(repeating: "y", count: 20_000))", 431),
            ("GET / HTTP/1.1\r\n" + String(repeating: "X: y\r\n", count: 120), 431),
            ("GET /\(String(repeating: "z", count: 9_000))", 414),
        ]
        for (head, status) in heads {
            let client = try RawClient(port: server.port)
            client.send(head)
            client.send(body)
            let answer = client.answer()
            #expect(answer?.status == status)
            #expect(client.readToEnd().isEmpty && client.lastError == 0)
        }
    }

    @Test func aChunkedBodyBeyondTheLimitGets413() throws {
        var limits = HTTPLimits()
        limits.bodyBytes = 100_000
        let server = try TestServer(limits: limits, describe)
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in 0..<30 { client.send("1000\r\n\(String(repeating: "x", count: 4096))\r\n") }
        #expect(client.answer()?.status == 413)
    }

    @Test func endlessFramingIsRefused() throws {
        let server = try TestServer(describe)
        defer { server.stop() }
        let spaces = try RawClient(port: server.port)
        spaces.send("GET / HTTP/1.1\r\nHost: h\r\nX:\(String(repeating: " ", count: 100_000))")
        #expect(spaces.answer()?.status == 431)
        let extensions = try RawClient(port: server.port)
        extensions.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;")
        extensions.send(String(repeating: "e", count: 100_000))
        #expect(extensions.answer()?.status == 400)
    }

    /// Requests with bytes flipped, dropped and doubled, cut anywhere: whatever they are, the server answers the next client.
    @Test func mutilatedRequestsHarmNobody() throws {
        let server = try TestServer(echo)
        defer { server.stop() }
        let seeds =
            Self.ambiguous.map { Array($0.utf8) } + [
                FloodTests.preface + FloodTests.frame(type: 1, flags: 4, stream: 1, FloodTests.get)
                    + FloodTests.frame(type: 0, flags: 1, stream: 1, [1, 2, 3])
            ]
        var random = SplitMix(state: 42)
        for _ in 0..<1_500 {
            var bytes = seeds[Int(random.next() % UInt64(seeds.count))]
            for _ in 0...(random.next() % 4) {
                let at = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 4 {
                case 0: bytes[at] ^= 1 << UInt8(random.next() % 8)
                case 1: bytes.remove(at: at)
                case 2: bytes.insert(contentsOf: bytes[at...].prefix(8), at: at)
                default: bytes.removeLast(min(bytes.count - 1, Int(random.next() % 8)))
                }
                if bytes.isEmpty { bytes = [0] }
            }
            let client = try RawClient(port: server.port)
            client.send(bytes)
            client.finishSending()
            _ = client.readToEnd()
        }
        let client = try RawClient(port: server.port)
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok")
        #expect(client.answer()?.text == "ok")
        #expect(server.onLoop { $0.statistics.connections } == 1)
    }

    @Test func fullServersSaySo() throws {
        var limits = HTTPLimits()
        limits.connections = 2
        let server = try TestServer(limits: limits, describe)
        defer { server.stop() }
        let first = try RawClient(port: server.port)
        let second = try RawClient(port: server.port)
        for client in [first, second] {
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(client.answer()?.status == 200)
        }
        let third = try RawClient(port: server.port)
        third.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(third.answer()?.status == 503)
        first.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(first.answer()?.status == 200)
    }
}

/// A small generator with a fixed seed, so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
