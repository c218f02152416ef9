// Key sets of issuers: what is taken, what is left out and why, and when they are got again.
import Core
import Platform
import TestSupport
import Testing

@testable import Identity

@Suite struct JWTKeyTests {
    private func set(_ keys: String...) throws -> KeySet {
        try KeySet(Array(#"{"keys":[\#(keys.joined(separator: ","))]}"#.utf8))
    }

    @Test func onlyFittingKeysAreTaken() throws {
        let ec = try TokenSigner(.p256)
        let good = try ec.members()
        #expect(try set("{\(good)}", #"{\#(good),"use":"sig","alg":"ES256","key_ops":["verify"]}"#).keys.count == 2)
        for more in [
            #""use":"enc""#, #""use":1"#, #""alg":"ES384""#, #""alg":"RS256""#, #""alg":1"#, #""key_ops":["sign"]"#,
            #""key_ops":"verify""#,
            #""d":"AAAA""#, #""kid":"""#, #""kid":1"#, #""kid":"a\n""#,
            #""kid":"\#(String(repeating: "k", count: 257))""#,
        ] {
            let found = try set("{\(good),\(more)}")
            #expect(found.keys.isEmpty && found.ignored.count == 1, "\(more.prefix(30))")
        }
        let point = #""kty":"EC","crv":"P-256""#
        for key in [
            "{}", "1", #"{"kty":"oct","k":"c2VjcmV0"}"#, #"{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#, "{\(point)}",
            #"{\#(point),"x":"AA","y":"AA"}"#,  // Not on the curve, and the point at infinity.
            #"{\#(point),"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}"#,
            #"{\#(point),"x":"\#(base64URL([UInt8](repeating: 0, count: 32)))","y":"\#(base64URL([UInt8](repeating: 0, count: 32)))"}"#,
            #"{\#(point),"x":"\#(base64URL([UInt8](repeating: 255, count: 32)))","y":"\#(base64URL([UInt8](repeating: 255, count: 32)))"}"#,
            #"{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            #"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUR"}"#,
            #"{"kty":"OKP","crv":"Ed25519"}"#,
            #"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, #"{"kty":"RSA","n":"","e":""}"#, #"{"kty":"RSA","e":"AQAB"}"#,
        ] {
            #expect(try set(key).keys.isEmpty, "\(key)")
        }
    }

    @Test func weakRSAKeysAreLeftOut() throws {
        #expect(try set(try TokenSigner(.rsa).jwk()).keys.count == 1)
        let weak = try set(try TokenSigner(.rsa, bits: 1024).jwk())
        #expect(weak.keys.isEmpty && weak.ignored == ["an RSA key has fewer than 2048 bits": 1])
        let modulus = base64URL([UInt8](repeating: 0xff, count: 256))
        for exponent in ["AQ", "AA", "Ag", "AQAA", "AQAAAAAAAAAB"] {
            #expect(try set(#"{"kty":"RSA","n":"\#(modulus)","e":"\#(exponent)"}"#).keys.isEmpty, "\(exponent)")
        }
        #expect(
            try set(#"{"kty":"RSA","n":"\#(base64URL([UInt8](repeating: 0xff, count: 1025)))","e":"AQAB"}"#).keys
                .isEmpty)
    }

    @Test func setsAreBoundedAndJSON() throws {
        let key = #"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#
        #expect(
            try KeySet(Array(#"{"keys":[\#(Array(repeating: key, count: 100).joined(separator: ","))]}"#.utf8)).keys
                .count == 100)
        #expect(try KeySet(Array(#"{"keys":[]}"#.utf8)).keys.isEmpty)
        let bad = [
            #"{"keys":[\#(Array(repeating: key, count: 101).joined(separator: ","))]}"#, "", "{}", "[]",
            #"{"keys":{}}"#, #"{"keys":[}"#,
            #"{"keys":[],"keys":[]}"#, "<html>", String(repeating: " ", count: 1 << 20) + #"{"keys":[]}"#,
        ]
        for text in bad { #expect(throws: KeySet.Fault.self, "\(text.prefix(40))") { try KeySet(Array(text.utf8)) } }
        #expect(throws: KeySet.Fault.self) { try KeySet([0xff, 0xfe]) }
    }

    @Test func theFirstOfTwoKeysWithOneNameIsTaken() throws {
        let (first, second) = (try TokenSigner(.ed25519), try TokenSigner(.ed25519))
        let found = try set(try first.jwk(kid: "a"), try second.jwk(kid: "a"), try TokenSigner(.p256).jwk(kid: "a"))
        #expect(found.keys.count == 2 && found.ignored == ["another has the same kid": 1])
        guard case .key(let key) = found.key("a", .edDSA) else { throw Broken(what: "no key") }
        #expect(key.signed([1, 2, 3], signature: try first.sign([1, 2, 3])))
    }

    // MARK: schedule

    private func at(_ milliseconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: milliseconds * 1_000_000) }

    @Test func keysAreGotAgainBeforeTheyAreOld() {
        var schedule = KeySchedule(.init(unknownKeyPause: 30_000, longestPause: 60_000, keep: 5000), now: at(0))
        #expect(!schedule.isUsable(at(0)) && schedule.isAwaited(at(0)))
        let first = schedule.begin(at(0))
        let twice = schedule.begin(at(0))
        #expect(first && !twice)
        schedule.succeeded(at(10), lifetime: 1000)
        #expect(schedule.isUsable(at(10)) && schedule.due == at(1010) && !schedule.isAwaited(at(1009)))
        let early = schedule.begin(at(1009))
        let due = schedule.begin(at(1010))
        #expect(!early && due)
        // What fails keeps the old keys for a while, and is tried ever more rarely.
        var now: UInt64 = 1010
        for pause in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] as [UInt64] {
            schedule.failed(at(now))
            #expect(schedule.due == at(now + pause) && schedule.isUsable(at(now)) == (now < 6010), "\(now)")
            now += pause
            let begins = schedule.begin(at(now))
            #expect(begins)
        }
        schedule.succeeded(at(now), lifetime: 1000)
        #expect(schedule.isUsable(at(now)) && schedule.failures == 0)
    }

    @Test func unknownKeysAskOnceInAWhile() {
        var schedule = KeySchedule(.init(unknownKeyPause: 30_000, longestPause: 60_000, keep: 5000), now: at(0))
        _ = schedule.begin(at(0))
        schedule.succeeded(at(0), lifetime: 600_000)
        var asked: [UInt64] = []
        for now in stride(from: 100 as UInt64, to: 100_000, by: 100) where schedule.missed(at(now)) {
            asked.append(now)
            #expect(schedule.isAwaited(at(now)))
            _ = schedule.begin(at(now))
            schedule.succeeded(at(now + 50), lifetime: 600_000)
        }
        #expect(asked == [100, 30_100, 60_100, 90_100])
    }

    @Test func cacheControlIsHeardWithinBounds() {
        let cases: [(String, UInt64?)] = [
            ("Cache-Control: max-age=300\r\n", 300_000),
            ("cache-control:public, max-age=7200, must-revalidate", 7_200_000),
            ("cache-control: max-age=1", 60_000), ("cache-control: max-age=99999999", 86_400_000),
            ("cache-control: no-store", 60_000),
            ("cache-control: max-age=-5", 600_000), ("cache-control: max-age=99999999999999999999", 600_000),
            ("cache-control: private", 600_000),
            ("x-cache-control: max-age=5", nil), ("cache-control", nil), ("", nil),
        ]
        for (line, lifetime) in cases { #expect(KeyReader.lifetime(ofHeader: line) == lifetime, "\(line)") }
    }
}
