// The registered claims at their borders, and what the others are mapped to.
import Core
import Testing

@testable import Identity

@Suite struct JWTClaimTests {
    private let signer: TokenSigner

    init() throws { signer = try TokenSigner(.ed25519) }

    private func world(
        _ rest: String = "", tenant: String = #"{ claim: "org" }"#, role: String = #"{ default: "invoker" }"#
    ) throws -> JWTWorld {
        try JWTWorld([try signer.jwk(kid: "one")], rest, tenant: tenant, role: role)
    }

    private func check(_ world: JWTWorld, _ changes: [String: String?], now: Int64 = testNow) throws -> JWTRefusal
        .Check?
    {
        world.refusal(try signer.token(kid: "one", testClaims(changes)), now: now)?.check
    }

    @Test func theIssuerIsExact() throws {
        let world = try world()
        for issuer in [
            #""https://issuer.test/""#, #""https://ISSUER.test""#, #""issuer.test""#, #""""#, "null", "1",
            #"["https://issuer.test"]"#, #""https://issuer.te\u0073t ""#, #""https://iss\u00fcer.test""#, nil,
        ] {
            #expect(try check(world, ["iss": issuer]) == .issuer, "\(issuer ?? "-")")
        }
        // The same text, written otherwise.
        #expect(try check(world, ["iss": #""https:\/\/issuer.te\u0073t""#]) == nil)
    }

    @Test func theAudienceIsOneOfOurs() throws {
        let world = try world()
        for audience in [#""swiftlet""#, #""other""#, #"["a","swiftlet"]"#, #"[1,"other"]"#] {
            #expect(try check(world, ["aud": audience]) == nil, "\(audience)")
        }
        for audience in [
            #""Swiftlet""#, #""swiftlet ""#, #""swiftlet,other""#, #""""#, "[]", #"["a"]"#, "null", "1",
            #"{"a":"swiftlet"}"#,
            #"[["swiftlet"]]"#, nil,
        ] {
            #expect(try check(world, ["aud": audience]) == .audience, "\(audience ?? "-")")
        }
    }

    @Test func timesHoldToTheSecond() throws {
        let world = try world()
        let end = ["exp": "\(testSecond + 10)"]
        #expect(try check(world, end, now: testNow + 69_999) == nil)
        #expect(try check(world, end, now: testNow + 70_000) == .expired)
        #expect(try check(world, end, now: testNow + 71_000) == .expired)
        #expect(try check(world, ["nbf": "\(testSecond + 60)"]) == nil)
        #expect(try check(world, ["nbf": "\(testSecond + 61)"]) == .notYet)
        #expect(try check(world, ["iat": "\(testSecond + 60)"]) == nil)
        #expect(try check(world, ["iat": "\(testSecond + 61)"]) == .notYet)
        #expect(try check(world, ["exp": "\(testSecond).5"]) == nil)
        #expect(try check(world, ["exp": "1767225600.5e0", "iat": nil]) == nil)
        #expect(try check(world, ["exp": nil]) == .expired)
    }

    @Test func theClockMayBeHeldTighter() throws {
        let world = try world("clock_skew_s: 0, max_lifetime_s: 3600")
        #expect(try check(world, ["exp": "\(testSecond + 1)"]) == nil)
        #expect(try check(world, ["exp": "\(testSecond)"]) == .expired)
        #expect(try check(world, ["nbf": "\(testSecond + 1)"]) == .notYet)
        #expect(try check(world, ["exp": "\(testSecond + 3600)"]) == nil)
        #expect(try check(world, ["exp": "\(testSecond + 3601)"]) == .lifetime)
        #expect(try check(world, ["exp": "\(testSecond + 3601)", "iat": nil]) == .lifetime)
    }

    @Test func datesAreDates() throws {
        let world = try world()
        for date in [
            "-1", "-0.5", "1e300", "253402300801", "9223372036854775807", "9223372036854775808", "1e11111", "-1e400",
        ] {
            for name in ["exp", "nbf", "iat"] {
                let found = try check(world, [name: date])
                #expect(found == .claim || found == .malformed, "\(name) \(date): \(String(describing: found))")
            }
        }
        for date in [#""1767226200""#, "true", "null", "[1767226200]", "{}"] {
            #expect(try check(world, ["exp": date]) == .claim, "\(date)")
        }
        for date in ["01767226200", "0x6955B900", "+1767226200", "1767226200.", ".5", "NaN", "Infinity", "1e", "--1"] {
            #expect(try check(world, ["exp": date]) == .malformed, "\(date)")
        }
    }

    @Test func thereIsASubject() throws {
        let world = try world()
        for subject in [#""""#, "1", "null", #"["a"]"#, #""a\nb""#, "\"\(String(repeating: "s", count: 256))\"", nil] {
            #expect(try check(world, ["sub": subject]) == .claim, "\(subject?.prefix(20) ?? "-")")
        }
        #expect(try check(world, ["sub": #""用户 é 🙂""#]) == nil)
    }

    @Test func claimsMapToTenants() throws {
        let open = try world()
        for tenant in [
            #""Acme""#, #""../acme""#, #""acme/x""#, #""ac me""#, #""""#, #""acmé""#, #"["acme","globex"]"#, "[]", nil,
        ] {
            #expect(try check(open, ["org": tenant]) == .mapping, "\(tenant ?? "-")")
        }
        #expect(try check(open, ["org": "\"\(Deployment.platform)\""]) == .mapping)
        for tenant in [#"["acme"]"#, #"["acme","acme",1]"#] { #expect(try check(open, ["org": tenant]) == nil) }
        for tenant in ["1", "true", #"{"a":1}"#] { #expect(try check(open, ["org": tenant]) == .claim, "\(tenant)") }
        let mapped = try world(tenant: #"{ claim: ["ctx", "https://x.test/org"], map: { "7": "acme", K: "globex" } }"#)
        #expect(try check(mapped, ["ctx": #"{"https://x.test/org":"7"}"#]) == nil)
        #expect(try check(mapped, ["ctx": #"{"https://x.test/org":"acme"}"#]) == .mapping)
        // U+212A is canonically a K, and another text all the same.
        #expect(try check(mapped, ["ctx": "{\"https://x.test/org\":\"\u{212a}\"}"]) == .mapping)
        #expect(try check(mapped, ["ctx": #""7""#]) == .mapping)
        let fixed = try world(tenant: #"{ fixed: "only" }"#)
        #expect(try fixed.principal(try signer.token(kid: "one", testClaims())).tenant == "only")
    }

    @Test func claimsMapToRoles() throws {
        let world = try world(
            "functions: [\"chat-*\"], models: { claim: \"models\" }",
            role: #"{ claim: "scope", map: { "fn:call": "invoker", "fn:admin": "tenant_admin" } }"#)
        let claims = testClaims(["scope": #""openid fn:call fn:admin""#, "models": #"["echo","llama-*"]"#])
        let principal = try world.principal(try signer.token(kid: "one", claims))
        #expect(principal.role == .tenantAdmin && principal.functions?.map(\.description) == ["chat-*"])
        #expect(principal.models?.map(\.description) == ["echo", "llama-*"])
        #expect(try world.principal(try signer.token(kid: "one", testClaims(["scope": #""fn:call""#]))).models == [])
        #expect(try check(world, ["scope": #""fn:call""#, "models": #"["a b"]"#]) == .mapping)
        for scope in [#""""#, #""fn:cal""#, #""tenant_admin""#, "null", nil] {
            #expect(try check(world, ["scope": scope]) == .mapping, "\(scope ?? "-")")
        }
        // What is not there allows nothing.
        #expect(
            try !world.principal(try signer.token(kid: "one", testClaims(["scope": #""fn:call""#]))).mayCall(
                model: "echo"))
    }

    @Test func onlyAPlatformsIssuerGivesPlatformRoles() throws {
        let role = #"{ claim: "role" }"#
        let open = try world(role: role)
        #expect(try check(open, ["role": #""platform_admin""#]) == .mapping)
        #expect(
            try open.principal(try signer.token(kid: "one", testClaims(["role": #"["platform_admin","viewer"]"#]))).role
                == .viewer)
        let platform = try world("platform: true", role: role)
        let principal = try platform.principal(try signer.token(kid: "one", testClaims(["role": #""platform_admin""#])))
        #expect(principal.role == .platformAdmin && principal.tenant == nil)
        let member = try platform.principal(try signer.token(kid: "one", testClaims(["role": #""developer""#])))
        #expect(member.role == .developer && member.tenant == "acme")
    }
}
