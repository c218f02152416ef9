// swiftlet.json5: every key, every bound, and an error that names what is wrong.
import Core
import TestSupport
import Testing

private func manifest(_ text: String) throws(RuntimeError) -> Manifest {
    try Manifest.decode(json5: Array(text.utf8), file: "swiftlet.json5")
}

private func handler(_ more: String = "") -> String {
    "{name: 'f', kind: 'handler', version: '1', library: 'a.so', \(more)}"
}
private func backend(_ more: String = "") -> String {
    "{name: 'm', kind: 'backend', version: '1', library: 'a.so', \(more)}"
}

private func refusal(_ text: String) -> RuntimeError? {
    refusal { () throws(RuntimeError) in _ = try manifest(text) }
}

@Suite struct ManifestTests {
    @Test func whatIsNotSaidHasADefault() throws {
        let plain = try manifest(handler())
        var expected = Manifest(name: "f", kind: .handler, version: "1")
        expected.library = "a.so"
        #expect(plain == expected && plain.libraryFile == "a.so" && plain.config == "{}")
        #expect(plain.limits == Limits(defaultsFor: .handler))
        let model = try manifest(backend())
        #expect(model.limits.memoryBytes == 1 << 30 && model.contextTokens == 4096 && model.maxSequences == 8)
        let swift = try manifest("{name: 'f', kind: 'handler', version: '1', language: 'swift', handler: 'A.B_1'}")
        #expect(swift.libraryFile == "plugin.so" && swift.handlerType == "A.B_1")
    }

    @Test func aFunctionMayBoundItsRequests() throws {
        let read = try manifest(handler("limits: {requests_per_second: 2.5, burst: 10}"))
        #expect(read.limits.rate == RequestRate(perSecond: 2.5, burst: 10))
        #expect(try manifest(read.canonicalJSON) == read)
        #expect(try manifest(handler("limits: {requests_per_second: 3}")).limits.rate?.burst == 3)
        #expect(refusal(handler("limits: {burst: 3}"))?.cause.contains("'limits.requests_per_second'") == true)
        #expect(refusal(backend("limits: {requests_per_second: 3}"))?.cause.contains("is for handlers") == true)
    }

    @Test func modelsOnTensorsSayHowTheyAreServed() throws {
        let read = try manifest(backend("jit: true, batch: {max_size: 8, max_delay_us: 2000},"))
        let bounded = try manifest(backend("max_prompt_bytes: 2048,"))
        #expect(bounded.maxPromptBytes == 2048 && bounded != read)
        #expect(read.makesCode && read.batchRows == 8 && read.batchDelayMicroseconds == 2000)
        #expect(try manifest(read.canonicalJSON) == read)
        let plain = try manifest(backend())
        #expect(!plain.makesCode && plain.batchRows == 1 && plain.batchDelayMicroseconds == 0)
        #expect(try manifest(backend("batch: {}")) == plain)
        let published = try manifest(backend("published_prefixes: ['You are kind.', 'Sei nett.']"))
        #expect(published.publishedPrefixes == ["You are kind.", "Sei nett."])
        #expect(try manifest(published.canonicalJSON) == published)
        for (more, words) in [
            ("jit: 1", "'jit' must be true or false"), ("batch: 8", "'batch' must be an object"),
            ("batch: {max_size: 0}", "'batch.max_size'"), ("batch: {max_delay_us: -1}", "'batch.max_delay_us'"),
            ("batch: {size: 1}", "unknown key"),
            ("published_prefixes: ['']", "'published_prefixes[0]'"),
            ("published_prefixes: 'x'", "'published_prefixes'"),
            ("published_prefixes: ['x', 'y'], max_sequences: 2", "'max_sequences' is 2"),
            ("max_prompt_bytes: 10", "'max_prompt_bytes'"),
            ("jit: true, device: 'gpu:0', limits: {device_memory_mb: 1}", "'jit' is true and 'device' is given"),
        ] {
            #expect(refusal(backend(more))?.cause.contains(words) == true, "\(more)")
        }
        #expect(refusal(handler("jit: true"))?.cause.contains("belongs to a backend") == true)
    }

    @Test func replicasAndTheTimeOfALoad() throws {
        let plain = try manifest(backend())
        #expect(plain.minReplicas == 0 && plain.maxReplicas == 1 && plain.loadTimeoutMilliseconds == 120_000)
        let read = try manifest(backend("replicas: {min: 1, max: 16}, load_timeout_s: 1.5"))
        #expect(read.minReplicas == 1 && read.maxReplicas == 16 && read.loadTimeoutMilliseconds == 1500)
        #expect(try Manifest.decode(json5: Array(read.canonicalJSON.utf8), file: "f") == read)
        #expect(try manifest(backend("replicas: {min: 3}")).maxReplicas == 3, "as many as stay loaded")
        for (more, words) in [
            ("replicas: {min: 2, max: 1}", "'replicas.min' is 2"), ("replicas: {max: 0}", "'replicas.max'"),
            ("replicas: {max: 17}", "'replicas.max'"), ("replicas: {mix: 1}", "'replicas.mix'"),
            ("replicas: 2", "'replicas'"), ("load_timeout_s: 0.5", "'load_timeout_s'"),
        ] {
            #expect(refusal(backend(more))?.cause.contains(words) == true, "\(more)")
        }
        #expect(refusal(handler("replicas: {max: 2}"))?.cause.contains("belongs to a backend") == true)
    }

    @Test func everyKeyIsTaken() throws {
        let text = handler(
            """
            language: 'swift', handler: 'Hello', sources: ['a.swift', 'b/c.swift'], reuse: 'function',
            idle_timeout_s: 1.5, models: ['echo', 'llama-3'], config: {b: [1, 2.5, null], a: {}},
            limits: {memory_mb: 64, timeout_ms: 5, concurrency: 2, queue: 0, queue_timeout_ms: 0, cpu_percent: 50,
                cpu_weight: 300, threads: 1, files: 8, body_mb: 1, response_mb: 2},
            """)
        let read = try manifest(text)
        #expect(read.sources == ["a.swift", "b/c.swift"] && read.models == ["echo", "llama-3"])
        #expect(read.idleTimeoutMilliseconds == 1500 && read.config == #"{"a":{},"b":[1,2.5,null]}"#)
        let limits = read.limits
        #expect(limits.memoryBytes == 64 << 20 && limits.timeoutMilliseconds == 5 && limits.concurrency == 2)
        #expect(limits.queue == 0 && limits.queueTimeoutMilliseconds == 0 && limits.cpuPercent == 50)
        #expect(limits.cpuWeight == 300)
        #expect(limits.files == 8 && limits.bodyBytes == 1 << 20 && limits.responseBytes == 2 << 20)
        let model = try manifest(
            backend("model: 'm.gguf', context_tokens: 16, max_sequences: 1, max_step_tokens: 1, keep_alive_s: 0"))
        #expect(model.model == "m.gguf" && model.contextTokens == 16 && model.keepAliveMilliseconds == 0)
    }

    @Test(arguments: [
        ("memory_mb", 4, 1_048_576), ("timeout_ms", 1, 3_600_000), ("concurrency", 1, 1024), ("queue", 0, 65_536),
        ("queue_timeout_ms", 0, 600_000), ("cpu_percent", 1, 25_600), ("cpu_weight", 1, 10_000), ("threads", 1, 256),
        ("files", 8, 4096), ("body_mb", 1, 4096), ("response_mb", 1, 65_536),
    ])
    func everyLimitHasItsBounds(_ key: String, _ low: Int64, _ high: Int64) throws {
        for good in [low, high] { #expect(refusal(backend("limits: {\(key): \(good)}")) == nil, "\(key) \(good)") }
        for bad in [
            "\(low - 1)", "\(high + 1)", "-1", "\(Int64.max)", "\(Int64.min)", "1.5", "'8'", "null", "true", "[8]",
            "1e30",
        ] {
            let error = refusal(backend("limits: {\(key): \(bad)}"))
            #expect(error?.code == .manifestInvalid && error?.step == "manifest swiftlet.json5", "\(key): \(bad)")
            #expect(
                error?.cause.hasPrefix("'limits.\(key)' must be a whole number from \(low) to \(high), found ") == true)
        }
    }

    @Test(arguments: [
        ("context_tokens", 16, 1_048_576), ("max_sequences", 1, 1024), ("max_step_tokens", 1, 65_536),
    ])
    func everyModelNumberHasItsBounds(_ key: String, _ low: Int64, _ high: Int64) throws {
        for good in [low, high] { #expect(refusal(backend("\(key): \(good)")) == nil) }
        for bad in [low - 1, high + 1, .max, .min] {
            #expect(refusal(backend("\(key): \(bad)"))?.cause.contains("'\(key)'") == true)
        }
    }

    @Test func timesAreBounded() throws {
        for text in ["0", "0.0004", "604800", "604800.0"] {
            #expect(refusal(handler("idle_timeout_s: \(text)")) == nil)
        }
        for text in ["-1", "-0.1", "604800.1", "1e300", "'5'", "null"] {
            #expect(
                refusal(handler("idle_timeout_s: \(text)"))?.cause.contains("seconds from 0 to 604800") == true,
                "\(text)")
        }
    }

    @Test func aHandlerHasOneThread() {
        #expect(refusal(handler("limits: {threads: 2}"))?.cause.contains("must be 1 for a handler") == true)
    }

    @Test(arguments: ["name", "kind", "version"]) func aRequiredKeyThatIsMissingIsNamed(_ key: String) {
        let all = ["name": "'f'", "kind": "'handler'", "version": "'1'"]
        let text = all.filter { $0.key != key }.map { "\($0.key): \($0.value)" }.sorted().joined(separator: ", ")
        let error = refusal("{\(text), library: 'a.so'}")
        #expect(error?.cause == "the key '\(key)' is missing" && error?.next.hasPrefix("add it: ") == true)
    }

    @Test func unknownKeysAreRefusedWithTheNearest() {
        let misspelt = refusal(handler("limitz: {}"))
        #expect(misspelt?.cause == "unknown key 'limitz'" && misspelt?.next.contains("did you mean 'limits'?") == true)
        #expect(refusal(handler("limits: {memory: 5}"))?.cause == "unknown key 'limits.memory'")
        #expect(refusal(handler("Config: {}"))?.next.contains("did you mean 'config'?") == true)
        let far = refusal(handler("something_else_entirely: 1"))
        #expect(far?.next.contains("the known keys are access, batch, config, context_tokens") == true)
        // A key from outside is shown safely.
        let long = refusal(handler("'\(String(repeating: "k", count: 5000))\\n': 1"))
        #expect((long?.cause.utf8.count ?? 0) < 200)
        #expect(refusal(handler("'a\\u001b[31m': 1"))?.cause.contains("\u{1b}") == false)
    }

    @Test(arguments: [
        ("name: 5", "'name'"), ("name: 'A'", "'name'"), ("name: '../x'", "'name'"), ("kind: 'plugin'", "'kind'"),
        ("kind: null", "'kind'"), ("version: ''", "'version'"), ("version: 'a/b'", "'version'"),
        ("version: 1", "'version'"),
        ("library: 'a'", "'library'"), ("library: '../a.so'", "'library'"), ("library: '.so'", "'library'"),
        ("library: 7", "'library'"), ("language: 'rust'", "'language'"), ("sources: 'a.c'", "'sources'"),
        ("sources: ['../a.c']", "'sources[0]'"), ("sources: ['a.c', '/a.c']", "'sources[1]'"),
        ("sources: ['a//b']", "'sources[0]'"), ("sources: ['a', 'a']", "'sources[1]'"),
        ("sources: [1]", "'sources[0]'"),
        ("limits: []", "'limits'"), ("limits: null", "'limits'"), ("config: []", "'config'"),
        ("config: 'x'", "'config'"),
        ("models: ['a', 'A']", "'models[1]'"), ("models: {}", "'models'"), ("reuse: 'never'", "'reuse'"),
        ("handler: 'A'", "'handler'"),
        ("language: 'swift', handler: '1A'", "'handler'"), ("language: 'swift', handler: 'A..B'", "'handler'"),
        ("language: 'swift', handler: 'Ä'", "'handler'"), ("model: 'x'", "'model'"),
        ("keep_alive_s: 1", "'keep_alive_s'"),
    ])
    func aWrongValueIsNamed(_ member: String, _ named: String) {
        // The first of equal keys counts, so the wrong one comes first.
        let text = "{\(member), name: 'f', kind: 'handler', version: '1', library: 'a.so'}"
        let error = refusal(text)
        #expect(
            error?.code == .manifestInvalid && error?.cause.contains(named) == true, "\(error?.cause ?? "accepted")")
        #expect(error?.next.isEmpty == false)
    }

    @Test func keysOfTheOtherKindAreRefused() {
        for key in ["handler: 'A'", "models: []", "reuse: 'function'", "idle_timeout_s: 1"] {
            #expect(refusal(backend(key))?.cause.contains("belongs to a handler") == true)
        }
        #expect(refusal(backend("model: '../x'"))?.cause.contains("'model'") == true)
    }

    @Test func aManifestMustSayWhatToLoad() {
        #expect(
            refusal("{name: 'f', kind: 'handler', version: '1'}")?.cause.contains("neither 'library' nor 'language'")
                == true)
        for text in ["[]", "5", "'x'", "null"] {
            #expect(refusal(text)?.cause.hasPrefix("the manifest must be an object, found ") == true)
        }
    }

    @Test func listsAreBounded() {
        let many = (0..<257).map { "'s\($0)'" }.joined(separator: ",")
        #expect(refusal(handler("sources: [\(many)]"))?.cause.contains("at most 256") == true)
        let models = (0..<65).map { "'m\($0)'" }.joined(separator: ",")
        #expect(refusal(handler("models: [\(models)]"))?.cause.contains("at most 64") == true)
    }

    @Test func damageNeverCrashesIt() {
        let good = Array(handler("limits: {memory_mb: 64}, config: {a: [1, 'x']}, idle_timeout_s: 1e3").utf8)
        var random = SeededGenerator(seed: 17)
        for _ in 0..<3000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if let read = try? Manifest.decode(json5: bytes, file: "x") {
                #expect((try? manifest(read.canonicalJSON)) == read, "\(String(decoding: bytes, as: UTF8.self))")
            }
        }
    }
}

/// What is stored is what was deployed: the registry reads canonical text at its start.
@Suite struct CanonicalManifestTests {
    @Test(arguments: [
        handler(), backend(), handler("config: {z: 1.5, a: {b: [true, null, 'ä\\n\\u0001']}}, models: ['m']"),
        handler("idle_timeout_s: 0.001"), handler("idle_timeout_s: 604800"),
        backend("model: 'x.gguf', keep_alive_s: 0.1, limits: {memory_mb: 1048576, threads: 256}"),
        "{name: 'f', kind: 'handler', version: '1', language: 'c', sources: ['a.c']}",
        handler("config: {n: [1e18, -1e18, 5e-324, 1.7976931348623157e308, 0.1]}"),
    ])
    func isReadBackEqual(_ text: String) throws {
        let read = try manifest(text)
        #expect(try manifest(read.canonicalJSON) == read)
        #expect(try manifest(read.canonicalJSON).canonicalJSON == read.canonicalJSON)
    }

    @Test func randomManifestsAreReadBackEqual() throws {
        var random = SeededGenerator(seed: 23)
        for _ in 0..<300 {
            var made = Manifest(name: "f", kind: Bool.random(using: &random) ? .handler : .backend, version: "1")
            made.library = "a.so"
            made.limits.memoryBytes = UInt64.random(in: 4...1_048_576, using: &random) << 20
            made.limits.timeoutMilliseconds = Int.random(in: 1...3_600_000, using: &random)
            made.limits.queue = Int.random(in: 0...65_536, using: &random)
            if made.kind == .handler {
                made.idleTimeoutMilliseconds = Int.random(in: 0...604_800_000, using: &random)
            } else {
                made.keepAliveMilliseconds = Int.random(in: 0...604_800_000, using: &random)
                made.contextTokens = UInt32.random(in: 16...1_048_576, using: &random)
            }
            #expect(try manifest(made.canonicalJSON) == made)
        }
    }

    /// A raw control character becomes six bytes: short to write, long to store, and still to be read at the next start.
    @Test func whatIsAcceptedCanBeReadAgainHoweverItGrows() throws {
        var accepted = 0
        for count in [10, 1000, 4000, 5500, 8000, 10_000, 11_000, 20_000, 60_000] {
            let text = handler("config: {n: '\(String(repeating: "\u{1}", count: count))'}")
            guard let read = try? manifest(text) else { continue }
            accepted += 1
            #expect(try manifest(read.canonicalJSON) == read, "\(count)")
        }
        #expect(accepted == 3)
    }

    /// The defaults that are stored with it make it longer than its own text, which is just not too long.
    @Test func aManifestThatOnlyFitsAsItWasWrittenIsRefused() {
        let part = String(repeating: "s", count: 120)
        let paths = (100..<300).map { "'\($0)\(part)/\(part)'" }.joined(separator: ",")
        let bare = handler("sources: [\(paths)], config: {a: '', }")
        let filler = String(repeating: "x", count: JSON5.largest - bare.utf8.count)
        let text = handler("sources: [\(paths)], config: {a: '\(filler)', }")
        #expect(text.utf8.count == JSON5.largest && filler.utf8.count < 32_000)
        #expect(refusal(text)?.cause.contains("bytes as canonical JSON, the limit is 65536") == true)
        let shorter = handler("sources: [\(paths)], config: {a: '\(filler.dropLast(400))', }")
        #expect(refusal(shorter) == nil)
    }

    @Test func aConfigurationIsBoundedByItsCanonicalText() throws {
        func config(_ bytes: Int) -> String { handler("config: {a: '\(String(repeating: "x", count: bytes - 8))'}") }
        #expect(try manifest(config(32_768)).config.utf8.count == 32_768)
        let error = refusal(config(32_769))
        #expect(error?.cause == "'config' has 32769 bytes as canonical JSON, the limit is 32768")
        #expect(error?.next.contains("file") == true)
    }
}

@Suite struct ManifestDeviceTests {
    @Test func aBackendMayNameADeviceAndItsShareOfIt() throws {
        let read = try manifest(backend("device: 'gpu:1', limits: {device_memory_mb: 8192}"))
        #expect(read.device == .gpu(1) && read.limits.deviceMemoryBytes == 8 << 30 && read.limits.files == 256)
        #expect(try manifest(read.canonicalJSON) == read)
        #expect(try manifest(backend("device: 'render:128', limits: {device_memory_mb: 1}")).device == .render(128))
        let plain = try manifest(backend())
        #expect(plain.device == nil && plain.limits.deviceMemoryBytes == 0)
    }

    @Test(arguments: [
        "gpu", "gpu:", "gpu:-1", "gpu:255", "gpu:01", "gpu:0 ", "gpu:0:1", "GPU:0", "render:0", "cpu:0", "cuda:0", ":0",
        "gpu:0,gpu:1",
    ])
    func whatIsNoDeviceIsRefusedWithTheRule(_ name: String) throws {
        let error = try #require(refusal(backend("device: '\(name)', limits: {device_memory_mb: 1}")))
        #expect(error.code == .manifestInvalid && error.cause.contains("'device'") && error.cause.contains("\"gpu:N\""))
    }

    @Test func deviceAndBudgetNeedEachOther() throws {
        let noBudget = try #require(refusal(backend("device: 'gpu:0'")))
        #expect(noBudget.cause.contains("device_memory_mb' is missing") && noBudget.next.contains("MiB"))
        let noDevice = try #require(refusal(backend("limits: {device_memory_mb: 64}")))
        #expect(noDevice.cause.contains("'device' is not") && noDevice.next.contains("gpu:0"))
        let zero = try #require(refusal(backend("device: 'gpu:0', limits: {device_memory_mb: 0}")))
        #expect(zero.cause.contains("limits.device_memory_mb") && zero.cause.contains("from 1 to"))
        let twice = try #require(refusal(backend("device: 'gpu:0', device: 'gpu:1', limits: {device_memory_mb: 1}")))
        #expect(twice.description.contains("device"))
    }

    @Test func aHandlerHasNoDevice() throws {
        #expect(refusal(handler("device: 'gpu:0'"))?.cause.contains("belongs to a backend") == true)
        #expect(refusal(handler("limits: {device_memory_mb: 64}"))?.next.contains("a handler has no device") == true)
    }
}
