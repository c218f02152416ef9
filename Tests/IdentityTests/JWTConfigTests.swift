// The file of `serve --jwt`: what it may say, and the words for what it may not.
import Core
import Testing

@testable import Identity

@Suite struct JWTConfigTests {
    private func read(_ issuer: String) throws -> IssuerPolicy {
        let config = try JWTConfig(json5: Array("{ issuers: [ \(issuer) ] }".utf8), file: "/etc/swiftlet/jwt.json5")
        return try #require(config.issuers.first)
    }

    private func fault(_ issuer: String) -> String {
        do {
            _ = try read(issuer)
            return "none"
        } catch {
            return "\(error)"
        }
    }

    private let rest = #"tenant: { fixed: "acme" }, role: { default: "viewer" }"#

    @Test func whatIsLeftOutHasItsUsualValue() throws {
        let policy = try read(#"{ issuer: "i", audience: "a", jwks_file: "keys.json", \#(rest) }"#)
        #expect(
            policy.audiences == ["a"] && policy.algorithms.count == 3 && policy.skew == 60_000
                && policy.longestLife == nil)
        #expect(
            policy.source == .file("/etc/swiftlet/keys.json") && policy.keepsKeys == 3_600_000 && !policy.isPlatform)
    }

    @Test func addressesAreSafe() {
        for url in [
            "https://a.test/keys", "https://a.test:8443/k?x=1", "http://127.0.0.1:80/", "http://localhost/k",
            "http://[::1]:9/k", "http://127.9.9.9",
        ] {
            #expect(KeyAddress.isAllowed(url), "\(url)")
        }
        for url in [
            "http://a.test/keys", "http://127.0.0.1.evil.test/", "http://localhost.evil.test", "http://[::2]/",
            "http://[::1].evil/",
            "http://127.0.0.1@evil.test/", "https://user:pass@a.test/", "file:///etc/passwd", "ftp://a.test/",
            "HTTP://a.test/", "//a.test",
            "a.test", "", "https://", "https:///keys", "https://a.test/\n", "https://a test/", "https://a.test/#x",
            "http://127.0.1/",
            "http://127.0.0.256/", "https://a.test\\@b", "http://0/", "http://2130706433/", "gopher://127.0.0.1/",
        ] {
            #expect(!KeyAddress.isAllowed(url), "\(url)")
        }
    }

    @Test func errorsNameTheKey() {
        let cases: [(String, String)] = [
            (#"{ audience: "a", jwks_file: "k", \#(rest) }"#, "issuers[0].issuer' is missing"),
            (#"{ issuer: "i", jwks_file: "k", \#(rest) }"#, "issuers[0].audience' is missing"),
            (#"{ issuer: "i", audience: [], jwks_file: "k", \#(rest) }"#, "issuers[0].audience' must be"),
            (#"{ issuer: "i", audience: "a", \#(rest) }"#, "jwks_file' or 'issuers[0].jwks_url"),
            (
                #"{ issuer: "i", audience: "a", jwks_file: "k", jwks_url: "https://a.test/", \#(rest) }"#,
                "one of the two"
            ),
            (
                #"{ issuer: "i", audience: "a", jwks_url: "http://a.test/", \#(rest) }"#,
                "issuers[0].jwks_url' must be an address"
            ),
            (#"{ issuer: "i", audience: "a", jwks_file: "k", algorithms: ["HS256"], \#(rest) }"#, "algorithms[0]"),
            (#"{ issuer: "i", audience: "a", jwks_file: "k", algorithms: ["none"], \#(rest) }"#, "algorithms[0]"),
            (#"{ issuer: "i", audience: "a", jwks_file: "k", algorithms: [], \#(rest) }"#, "algorithms"),
            (#"{ issuer: "i", audience: "a", jwks_file: "k", clock_skew_s: 601, \#(rest) }"#, "clock_skew_s"),
            (
                #"{ issuer: "i", audience: "a", jwks_file: "k", role: { default: "viewer" } }"#,
                "issuers[0].tenant' is missing"
            ),
            (
                #"{ issuer: "i", audience: "a", jwks_file: "k", tenant: { fixed: "acme" } }"#,
                "issuers[0].role' is missing"
            ),
            (
                #"{ issuer: "i", audience: "a", jwks_file: "k", tenant: {}, role: { default: "viewer" } }"#,
                "issuers[0].tenant' must have"
            ),
            (
                #"{ issuer: "i", audience: "a", jwks_file: "k", tenant: { fixed: "A b" }, role: {} }"#,
                "issuers[0].tenant.fixed"
            ),
            (
                #"{ issuer: "i", audience: "a", jwks_file: "k", tenant: { fixed: "acme" }, role: {} }"#,
                "issuers[0].role' must have"
            ),
            (
                #"{ issuer: "i", audience: "a", jwks_file: "k", tenant: { fixed: "acme" }, role: { default: "platform_admin" } }"#,
                "issuers[0].role.default"
            ),
            (
                #"{ issuer: "i", audience: "a", jwks_file: "k", tenant: { fixed: "acme" }, role: { claim: "r", map: { x: "king" } } }"#,
                "role.map"
            ),
            (#"{ issuer: "i", audience: "a", jwks_file: "k", functions: ["a b"], \#(rest) }"#, "functions[0]"),
            (
                #"{ issuer: "i", audience: "a", jwks_file: "k", audiance: "a", \#(rest) }"#,
                "did you mean 'issuers[0].audience'"
            ),
            (
                #"{ issuer: "i", audience: "a", jwks_file: "k", \#(rest) }, { issuer: "i", audience: "a", jwks_file: "k", \#(rest) }"#,
                "given twice"
            ),
            ("", "a list of 1 to 32 issuers"), ("1", "must be an object"),
        ]
        for (text, words) in cases { #expect(fault(text).contains(words), "\(text): \(fault(text))") }
    }
}
