// What the response cache keeps, for whom and for how long; and which requests are the same.
@testable import Inference
import Platform
import Testing

private func at(_ seconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: (1000 + seconds) * 1_000_000_000) }

private func limits(bytes: Int = 64 << 10, seconds: UInt64 = 300) -> ResponseCacheLimits {
    var limits = ResponseCacheLimits()
    limits.bytes = bytes
    limits.milliseconds = seconds * 1000
    return limits
}

/// A cache that can be asked inside of an expectation.
private final class Cache {
    private var cache: ResponseCache<String>

    init(_ limits: ResponseCacheLimits) { cache = ResponseCache(limits) }

    var count: Int { cache.count }
    var bytes: Int { cache.bytes }
    var tenantCount: Int { cache.tenantCount }
    var orderLength: Int { cache.orderLength }

    func bytes(of tenant: String) -> Int { cache.bytes(of: tenant) }

    func put(
        _ key: String, _ tenant: String = "acme", model: String = "m1", bytes: Int = 100, maxAge: UInt64 = .max,
        now: MonotonicTime = at(0)
    ) {
        cache.store(
            key, tenant: tenant, model: model, answer: "answer of \(key)", bytes: bytes, maxAge: maxAge, now: now)
    }

    func find(_ key: String, maxAge: UInt64 = .max, now: MonotonicTime) -> (answer: String, age: UInt64)? {
        cache.find(key, maxAge: maxAge, now: now)
    }

    func has(_ key: String, _ now: MonotonicTime = at(0)) -> Bool { find(key, now: now) != nil }

    func keep(where isKept: (_ tenant: String, _ model: String) -> Bool) { cache.keep(where: isKept) }
}

@Suite struct ResponseCacheTests {
    @Test func anAnswerIsFoundWithItsAgeUntilItIsTooOld() throws {
        let cache = Cache(limits())
        cache.put("a")
        let found = try #require(cache.find("a", now: at(7)))
        #expect(found.answer == "answer of a" && found.age == 7000)
        #expect(!cache.has("b"))
        #expect(cache.find("a", maxAge: 6000, now: at(7)) == nil)
        #expect(cache.has("a", at(299)))
        #expect(!cache.has("a", at(300)))
        #expect(cache.count == 0 && cache.bytes == 0 && cache.tenantCount == 0)
    }

    @Test func aShorterLifeIsKept() {
        let cache = Cache(limits())
        cache.put("a", maxAge: 5000)
        cache.put("never", maxAge: 0)
        #expect(cache.has("a", at(4)) && !cache.has("a", at(5)) && !cache.has("never"))
    }

    @Test func whatIsTooOldGoesThoughNobodyAsksForIt() {
        let cache = Cache(limits())
        cache.put("a")
        cache.put("b", now: at(400))
        #expect(cache.count == 1)
    }

    @Test func theLeastUsedGoesFirst() {
        // Of 64 KiB a tenant has 16.
        let cache = Cache(limits())
        for number in 0..<4 { cache.put("\(number)", bytes: 3500) }
        #expect(cache.has("0"))
        cache.put("4", bytes: 3500)
        #expect(cache.has("0") && !cache.has("1") && cache.has("2"))
        #expect(cache.bytes <= 16 << 10)
    }

    @Test func aTenantPushesOutItsOwnOnly() {
        let cache = Cache(limits())
        cache.put("mine", "quiet")
        for number in 0..<10_000 { cache.put("\(number)", "loud") }
        #expect(cache.has("mine"))
        #expect(cache.bytes(of: "loud") <= 16 << 10)
    }

    @Test func allTogetherAreBounded() {
        let cache = Cache(limits())
        for tenant in 0..<1000 {
            for number in 0..<20 { cache.put("\(tenant)/\(number)", "tenant\(tenant)", bytes: number) }
        }
        #expect(cache.bytes <= 64 << 10)
        #expect(cache.count <= (64 << 10) / ResponseCache<String>.overhead)
        #expect(cache.tenantCount <= cache.count)
        #expect(cache.has("999/19"))
    }

    @Test func anAnswerThatAloneIsTooLargeIsNotKept() {
        let cache = Cache(limits())
        cache.put("a", bytes: (4 << 10) + 1)
        #expect(cache.count == 0)
        let none = Cache(limits(bytes: 0))
        none.put("a", bytes: 1)
        #expect(none.count == 0)
    }

    @Test func theSameKeyAgainReplaces() {
        let cache = Cache(limits())
        for _ in 0..<100 { cache.put("a", bytes: 3000) }
        #expect(cache.count == 1 && cache.bytes == 3000 + ResponseCache<String>.overhead)
    }

    @Test func modelsAndTenantsThatAreGoneLeaveNothing() {
        let cache = Cache(limits())
        cache.put("a", "acme", model: "old")
        cache.put("b", "acme", model: "new")
        cache.put("c", "gone", model: "new")
        cache.keep { tenant, model in model == "new" && tenant != "gone" }
        #expect(!cache.has("a") && cache.has("b") && !cache.has("c"))
        #expect(cache.tenantCount == 1)
    }

    @Test func useOverAndOverTakesNoMoreRoom() {
        let cache = Cache(limits())
        for number in 0..<10 { cache.put("\(number)") }
        for turn in 0..<100_000 { #expect(cache.has("\(turn % 10)")) }
        #expect(cache.orderLength <= 2 * (64 + 2 * 10) + 2)
    }
}

@Suite struct RequestKeyTests {
    private func key(_ body: String, tenant: String = "acme", model: String = "m") throws -> String? {
        let request = try chatRequest(
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" + (body.isEmpty ? "" : ",") + body
                + "}")
        return ModelRequest.generation(
            GenerationRequest(tenant: tenant, prompt: .chat(request.messages), options: request.options)
        ).responseKey(model: model)
    }

    @Test func onlyWhatComesOutTheSameAgain() throws {
        #expect(try key("") == nil && key("\"temperature\":0.5") == nil)
        #expect(try key("\"temperature\":0,\"n\":2") == nil)
        #expect(try key("\"temperature\":0") != nil && key("\"seed\":7") != nil)
        let tokens = ModelRequest.tokens(TokenizeRequest(tenant: "acme", text: "hi", addSpecial: true))
        #expect(tokens.responseKey(model: "m") == nil)
    }

    @Test func howItIsSentIsNoDifference() throws {
        let plain = try key("\"temperature\":0")
        for same in ["\"stream\":true", "\"user\":\"me\"", "\"service_tier\":\"flex\"", "\"n\":1", "\"top_p\":1"] {
            #expect(try key("\"temperature\":0," + same) == plain, "\(same)")
        }
    }

    @Test func everythingElseIs() throws {
        var seen: Set<String> = []
        for body in [
            "", "\"seed\":1", "\"seed\":2", "\"max_tokens\":5", "\"stop\":\"a\"", "\"stop\":[\"a\",\"b\"]",
            "\"stop\":\"ab\"", "\"top_p\":0.5", "\"min_p\":0.5", "\"top_k\":5", "\"frequency_penalty\":1",
            "\"presence_penalty\":1", "\"repeat_penalty\":2", "\"logprobs\":true",
            "\"logprobs\":true,\"top_logprobs\":2",
            "\"response_format\":{\"type\":\"json_object\"}",
            "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]",
        ] {
            let found = try #require(try key("\"temperature\":0" + (body.isEmpty ? "" : ",") + body))
            #expect(seen.insert(found).inserted, "\(body)")
        }
        for (tenant, model) in [("other", "m"), ("acme", "n"), ("acmem", "")] {
            let found = try #require(try key("\"temperature\":0", tenant: tenant, model: model))
            #expect(seen.insert(found).inserted)
        }
    }

    @Test func messagesDoNotRunIntoEachOther() throws {
        func key(_ messages: [(String, String)]) -> String? {
            var options = GenerationOptions()
            options.sampling.temperature = 0
            return ModelRequest.generation(
                GenerationRequest(
                    tenant: "t", prompt: .chat(messages.map { ChatMessage(role: $0.0, content: $0.1) }),
                    options: options)
            ).responseKey(model: "m")
        }
        #expect(key([("user", "ab"), ("user", "c")]) != key([("user", "a"), ("user", "bc")]))
        #expect(key([("user", "ab")]) != key([("usera", "b")]))
    }

    @Test func inputsDoNotRunIntoEachOther() {
        func key(_ inputs: [EmbeddingInput]) -> String? {
            ModelRequest.embedding(EmbeddingRequest(tenant: "t", inputs: inputs)).responseKey(model: "m")
        }
        let keys = [
            key([.text("ab")]), key([.text("a"), .text("b")]), key([.tokens([1, 2])]),
            key([.tokens([1]), .tokens([2])]),
        ]
        #expect(Set(keys).count == 4 && !keys.contains(nil))
    }

    /// A field that is new here must be put into the key, or be one that changes nothing of the answer.
    @Test func noFieldIsForgotten() {
        #expect(Mirror(reflecting: GenerationOptions()).children.count == 11)
        #expect(Mirror(reflecting: Sampling()).children.count == 9)
        #expect(Mirror(reflecting: ChatMessage(role: "", content: "")).children.count == 2)
        #expect(Mirror(reflecting: EmbeddingRequest(tenant: "", inputs: [])).children.count == 5)
    }
}
