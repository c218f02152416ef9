// What TLS adds: names, tenants, refusals that end, and answers that are taken too slowly.
import Glibc
import Platform
import Testing

@testable import HTTP

@Suite struct TLSTests {
    @Test func namesOfTenants() {
        func host(_ name: String, _ tenant: String?) -> TLSHost {
            TLSHost(name: name, certificate: "", key: "", tenant: tenant)
        }
        let hosts = TenantHosts([host("a.test", "a"), host("*.b.test", "b"), host("x.b.test", nil)])
        #expect(hosts["a.test"] == "a" && hosts["y.b.test"] == "b")
        for name in ["b.test", "x.y.b.test", ".b.test", "", "test", "other"] { #expect(hosts[name] == nil, "\(name)") }
        for name in ["a", "a-b.c9", "*.a.b"] { #expect(TLSHost.isName(name), "\(name)") }
        for name in ["", "*", "A.b", "a..b", "-a", "a-", "a.*", "*.*.a", "a b", "a:1", "a.", ".a"] {
            #expect(!TLSHost.isName(name), "\(name)")
        }
        #expect(hostName("A.Test:80") == "a.test" && hostName("[::1]:80") == "[::1]:80" && hostName("b") == "b")
    }

    @Test func namesOfCertificates() {
        let ada = ClientCertificate(sha256: "00ff", commonName: "ada", uris: ["spiffe://x/a", "urn:b"])
        #expect(ada.names == ["sha256:00ff", "san:spiffe://x/a", "san:urn:b", "CN=ada"])
    }

    @Test func passedOverStreams() {
        var identifiers = StreamIdentifiers()
        for id: Int32 in [1, 3, 9, 11] { identifiers.open(id) }
        #expect(identifiers.isSkipped(5) && identifiers.isSkipped(7))
        for id: Int32 in [1, 3, 9, 11, 13] { #expect(!identifiers.isSkipped(id)) }
    }

    @Test func windowUpdatesAreEarned() {
        let now = MonotonicTime(nanoseconds: 1_000_000_000)
        var calm = HTTP2Calm(now: now)
        /// How many are allowed until one isn't.
        func allowed() -> Int {
            var count = 0
            while calm.allowsOpening(now) { count += 1 }
            return count
        }
        #expect(allowed() == 4_000)
        calm.earnOpenings()
        #expect(allowed() == 8)
    }

    @Test func aPaceIsMeasuredOverItsWindow() {
        let start = MonotonicTime(nanoseconds: 0)
        var pace = Pace(window: 1_000, minimum: 100, now: start)
        pace.count(99)
        let early = pace.isTooSlow(start.adding(milliseconds: 999))
        let slow = pace.isTooSlow(start.adding(milliseconds: 1_000))
        pace.count(100)
        let fast = pace.isTooSlow(start.adding(milliseconds: 2_000))
        #expect(!early && slow && !fast)
    }

    /// A client that is refused while it still sends must not keep the loop from everybody else.
    @Test func refusalsOverTLSEnd() throws {
        let scratch = try Scratch()
        try scratch.makeCertificate("refused")
        let tls = try TLSContext(certificate: "\(scratch.path)/cert.pem", key: "\(scratch.path)/key.pem")
        let server = try TestServer(tls: tls, describe)
        defer { server.stop() }
        let url = "https://127.0.0.1:\(server.port)/"
        let long = String(repeating: "y", count: 20_000)
        for version in ["--http1.1", "--http2"] {
            let refused = try run(
                "curl", ["-sk", version, "-o", "/dev/null", "-w", "%{http_code}", "-H", "x: \(long)", url])
            #expect(refused.output == "431")
            let next = try run("curl", ["-sk", version, "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", url])
            #expect(next.output == "200")
        }
    }
}
