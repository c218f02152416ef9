// The same counters under the names that dashboards for vLLM and Triton read; docs/metrics.md has the table.
internal import Inference

/// Names of other servers under which models are shown, too.
enum MetricsView: String, CaseIterable {
    case vllm, triton

    /// What `?compat=` asks for: all when it is absent, none of them for `none`; nil when it names what there isn't.
    static func wanted(_ query: String) -> Set<MetricsView>? {
        guard let field = query.split(separator: "&").first(where: { $0.hasPrefix("compat=") }) else {
            return Set(allCases)
        }
        let names = field.dropFirst("compat=".count).replacing("%2C", with: ",").replacing("%2c", with: ",")
        if names == "none" { return [] }
        var wanted: Set<MetricsView> = []
        for name in names.split(separator: ",", omittingEmptySubsequences: false) {
            guard let view = MetricsView(rawValue: String(name)) else { return nil }
            wanted.insert(view)
        }
        return wanted
    }

    func add(_ models: [(name: String, values: ModelMetrics)], specs: [ModelSpec], to text: inout MetricsText) {
        switch self {
        // Models on tensors have no tokens, and the others no tensors.
        case .vllm: Self.addVLLM(models.filter { !$0.values.isOfTensors }, to: &text)
        case .triton:
            let versions = Dictionary(specs.map { ($0.name, $0.version) }) { first, _ in first }
            Self.addTriton(
                models.filter(\.values.isOfTensors).map { ($0.name, versions[$0.name] ?? "", $0.values) }, to: &text)
        }
    }

    // MARK: vLLM

    private static func addVLLM(_ models: [(name: String, values: ModelMetrics)], to text: inout MetricsText) {
        guard !models.isEmpty else { return }
        for (name, help, value) in vllmGauges {
            text.begin("vllm:" + name, .gauge, help)
            for model in models { text.sample(label: "model_name", model.name, value(model.values)) }
        }
        for (name, help, value) in vllmCounters {
            text.begin("vllm:\(name)_total", .counter, help)
            for model in models { text.sample(label: "model_name", model.name, "\(value(model.values))") }
        }
        text.begin("vllm:request_success_total", .counter, "Requests that ended, by how.")
        for model in models {
            let values = model.values
            for (reason, count) in [
                ("stop", values.finished[.stop, default: 0]), ("length", values.finished[.length, default: 0]),
                ("abort", values.cancelled), ("error", values.failed),
            ] {
                text.sample([("model_name", model.name), ("finished_reason", reason)], "\(count)")
            }
        }
        for (name, help, value) in vllmHistograms {
            text.histogram("vllm:" + name, help, models.map { ("model_name", $0.name, value($0.values.histograms)) })
        }
    }

    private static var vllmGauges: [(String, String, (ModelMetrics) -> String)] {
        [
            ("num_requests_running", "Sequences in the batch.", { "\($0.running)" }),
            ("num_requests_waiting", "Requests that wait for a place in it.", { "\($0.waiting)" }),
            (
                "kv_cache_usage_perc", "Share of the tokens it can hold, 0 to 1, without kept prefixes.",
                { $0.cacheShare }
            ),
            ("gpu_cache_usage_perc", "The older name of kv_cache_usage_perc.", { $0.cacheShare }),
        ]
    }

    private static var vllmCounters: [(String, String, (ModelMetrics) -> UInt64)] {
        [
            ("prompt_tokens", "Tokens of prompts.", { $0.promptTokens }),
            ("generation_tokens", "Tokens of answers.", { $0.completionTokens }),
            ("prefix_cache_queries", "Prompt tokens that were looked for in kept prefixes.", { $0.prefixQueries }),
            ("prefix_cache_hits", "Prompt tokens that were found there.", { $0.prefixHits }),
            ("num_preemptions", "Sequences that made way for others.", { $0.preemptions }),
        ]
    }

    private static var vllmHistograms: [(String, String, (ModelHistograms) -> Histogram)] {
        [
            ("time_to_first_token_seconds", "From arrival to the first token.", { $0.timeToFirstToken }),
            ("inter_token_latency_seconds", "Between two tokens of one answer.", { $0.interToken }),
            ("time_per_output_token_seconds", "The older name of inter_token_latency_seconds.", { $0.interToken }),
            ("e2e_request_latency_seconds", "From arrival to the end of the answer.", { $0.endToEnd }),
            ("request_queue_time_seconds", "Waiting for a place in the engine.", { $0.queue }),
            ("request_prefill_time_seconds", "From its place to the first token.", { $0.prefill }),
            ("request_decode_time_seconds", "From the first token to the last.", { $0.decode }),
            ("request_prompt_tokens", "Tokens of a prompt.", { $0.promptTokens }),
            ("request_generation_tokens", "Tokens of an answer.", { $0.generationTokens }),
            ("iteration_tokens_total", "Tokens of one step.", { $0.stepTokens }),
        ]
    }

    // MARK: Triton

    private typealias TensorModel = (name: String, version: String, values: ModelMetrics)

    private static func addTriton(_ models: [TensorModel], to text: inout MetricsText) {
        guard !models.isEmpty else { return }
        for (name, help, value) in tritonCounters {
            text.begin("nv_inference_" + name, .counter, help)
            for model in models {
                text.sample([("model", model.name), ("version", model.version)], "\(value(model.values))")
            }
        }
        text.begin("nv_inference_request_failure", .counter, "Requests that did not end well, by why.")
        for model in models {
            for (reason, count) in [("CANCELED", model.values.cancelled), ("OTHER", model.values.tensors.failed.count)]
            {
                text.sample([("model", model.name), ("version", model.version), ("reason", reason)], "\(count)")
            }
        }
        text.begin("nv_inference_pending_request_count", .gauge, "Requests that wait for the engine.")
        for model in models {
            text.sample([("model", model.name), ("version", model.version)], "\(model.values.waiting)")
        }
    }

    private static var tritonCounters: [(String, String, (ModelMetrics) -> UInt64)] {
        [
            ("request_success", "Requests that ended well.", { $0.tensors.succeeded.count }),
            ("count", "Rows over all requests.", { $0.tensors.rows }),
            ("exec_count", "Runs of the engine.", { $0.tensors.executions }),
            (
                "request_duration_us", "From arrival at the loaded model to the answer.",
                { $0.tensors.succeeded.nanoseconds / 1000 }
            ),
            (
                "queue_duration_us", "Waiting for others to join, and for the engine.",
                { $0.tensors.queued.nanoseconds / 1000 }
            ),
            (
                "compute_input_duration_us", "Joining inputs and handing them over.",
                { $0.tensors.input.nanoseconds / 1000 }
            ),
            ("compute_infer_duration_us", "Inside the engine.", { $0.tensors.infer.nanoseconds / 1000 }),
            ("compute_output_duration_us", "Taking outputs apart.", { $0.tensors.output.nanoseconds / 1000 }),
        ]
    }
}

extension ModelMetrics {
    /// It was asked with tensors.
    fileprivate var isOfTensors: Bool { tensors.succeeded.count + tensors.failed.count > 0 }

    fileprivate var cacheShare: String {
        cacheUse.capacity > 0 ? "\(Double(cacheUse.running) / Double(cacheUse.capacity))" : "0"
    }
}
