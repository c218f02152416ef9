// swiftlet-export.json: what is written is read back equal, and what no host wrote is refused with words.
import Core
import Signing
import Testing

@testable import Transfer

private let digest = String(repeating: "0a", count: 32)

/// A tenant with one of everything.
private func sample(_ name: String = "acme") throws -> TenantExport {
    let settings = try TenantSettings(
        try JSON5.decode(
            Array("{models: ['m*'], policy: {weight: 2.5, tokens_per_day: 7}, limits: {requests_per_second: 3}}".utf8),
            step: "test"), name: "settings", step: "test")
    let hash = try #require(KeyHash(hex: String(repeating: "b7", count: 32)))
    let public_ = try PublicKey(Array("RWS5qAP/ooxWF1GBYmftVRvLEfdsGtAq8lzkjxGcAOeHCPBGrlGRfwIn".utf8))
    return TenantExport(
        exportedAt: 1_800_000_000_000,
        tenant: Tenant(name: name, state: .suspended, createdAt: 1_700_000_000_000, settings: settings),
        unsigned: .warn, trustedKeys: [try TrustedKey(public_, comment: "CI", addedAt: 5)],
        functions: [
            .init(name: "a", version: "1.0", digest: digest, bytes: 4096, signer: "\(public_.id)", hasBill: true),
            .init(name: "b", version: "2", digest: digest, bytes: 2048),
        ],
        keys: [
            KeyRecord(
                hash: hash, tenant: name, role: .developer, scopes: [.invoke],
                functions: [try #require(NamePattern("a*"))],
                quotas: ModelQuotas([.tokensPerMinute: 500]), comment: "mine", createdAt: 1_700_000_000_001,
                expiresAt: 1_900_000_000_000)
        ],
        secrets: [.init(function: nil, name: "TOKEN"), .init(function: "a", name: "TOKEN")])
}

private func text(_ export: TenantExport) -> String { export.value.text }

private func refusal(_ text: String, as name: String? = nil) -> RuntimeError? {
    do throws(RuntimeError) {
        _ = try TenantExport(Array(text.utf8), as: name)
        return nil
    } catch {
        return error
    }
}

@Suite struct ExportTests {
    @Test func whatIsWrittenIsReadBackEqual() throws {
        let export = try sample()
        #expect(try TenantExport(Array(text(export).utf8)) == export)
        let empty = TenantExport(exportedAt: 0, tenant: Tenant(name: "t", createdAt: 0))
        #expect(try TenantExport(Array(text(empty).utf8)) == empty)
    }

    @Test func anotherNameIsTheKeysToo() throws {
        let read = try TenantExport(Array(text(try sample()).utf8), as: "other")
        #expect(try read == sample("other"))
        #expect(read.keys[0].tenant == "other")
    }

    @Test(arguments: [
        // What is replaced, by what, and a word of the refusal.
        ("\"format\":1", "\"format\":2", "this host reads 1"),
        ("\"format\":1", "\"format\":\"1\"", "this host reads 1"),
        ("\"format\":1,", "", "no \"format\""), ("\"format\":1", "\"format\":1,\"more\":1", "more"),
        ("\"name\":\"acme\"", "\"name\":\"../acme\"", "tenant.name"),
        ("\"name\":\"acme\"", "\"name\":\"platform\"", "platform"),
        ("\"state\":\"suspended\"", "\"state\":\"importing\"", "suspended"),
        ("\"state\":\"suspended\"", "\"state\":\"deleting\"", "suspended"),
        ("\"weight\":2.5", "\"weight\":0", "weight"), ("\"unsigned\":\"warn\"", "\"unsigned\":\"never\"", "unsigned"),
        ("\"name\":\"b\"", "\"name\":\"a\"", "twice"), ("\"name\":\"b\"", "\"name\":\"a/b\"", "functions.name"),
        ("\"bytes\":2048", "\"bytes\":-1", "bytes"), ("\"bytes\":2048", "\"bytes\":99999999999", "bytes"),
        ("\"bytes\":2048", "\"bytes\":1e300", "bytes"), ("\"digest\":\"0a", "\"digest\":\"0A", "64 hex digits"),
        ("\"digest\":\"0a", "\"digest\":\"0a0a", "64 hex digits"),
        ("\"sha256\":\"b7", "\"sha256\":\"B7", "64 hex digits"),
        ("\"role\":\"developer\"", "\"role\":\"platform_admin\"", "role"),
        ("\"role\":\"developer\"", "\"role\":1", "role"),
        ("\"tokens_per_minute\":500", "\"tokens_per_minute\":-5", "tokens_per_minute"),
        ("\"created_at_ms\":1700000000001", "\"created_at_ms\":-5", "created_at_ms"),
        ("\"expires_at_ms\":1900000000000", "\"expires_at_ms\":9223372036854775807", "expires_at_ms"),
        ("\"expires_at_ms\":1900000000000", "\"expires_at_ms\":0", "expires_at_ms"),
        ("\"public_key\":\"RW", "\"public_key\":\"XX", "trusted key"),
        ("\"comment\":\"CI\"", "\"comment\":\"a\\nb\"", "trusted key"),
        ("\"name\":\"TOKEN\"}]", "\"name\":\"TO KEN\"}]", "secrets.name"),
        ("\"function\":\"a\",", "", "twice"), ("\"keys\":[", "\"keys\":[null,", "keys"),
        ("\"functions\":[", "\"functions\":{", "line 1"),
    ]) func aLieIsNamed(_ old: String, _ new: String, _ word: String) throws {
        let good = text(try sample())
        let bad = good.replacing(old, with: new)
        #expect(bad != good)
        let error = try #require(refusal(bad), "\(new)")
        #expect(error.httpStatus == 422 || error.httpStatus == 400)
        #expect("\(error)".contains(word), "\(error)")
    }

    @Test func boundsHold() throws {
        #expect(refusal("") != nil)
        #expect(refusal("null")?.httpStatus == 422)
        #expect(refusal(String(repeating: "[", count: 100_000))?.httpStatus == 422)
        #expect(
            refusal("/*" + String(repeating: " ", count: TenantExport.largest) + "*/{}")?.cause.contains("limit")
                == true)
        let many = (0...TenantExport.mostFunctions).map {
            "{\"name\":\"f\($0)\",\"version\":\"1\",\"digest\":\"\(digest)\",\"bytes\":1}"
        }
        let empty = text(TenantExport(exportedAt: 0, tenant: Tenant(name: "t", createdAt: 0)))
        func with(_ rows: [String]) -> String {
            empty.replacing("\"functions\":[]", with: "\"functions\":[\(rows.joined(separator: ","))]")
        }
        #expect(refusal(with(many))?.cause.contains("at most 1000") == true)
        #expect(refusal(with(many.dropLast())) == nil)
        let large = many.prefix(200).map { $0.replacing("\"bytes\":1", with: "\"bytes\":67000000") }
        #expect(refusal(with(Array(large)))?.httpStatus == 413)
        #expect(refusal(empty, as: "No Name")?.httpStatus == 400)
        #expect(refusal(empty, as: Deployment.platform)?.httpStatus == 400)
    }
}
