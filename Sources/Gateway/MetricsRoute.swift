// Renders the counters under our names; MetricsCompat.swift under those of others.
internal import Audit
internal import Core
internal import HTTP
internal import Inference
internal import Ledger
internal import Scheduler
internal import Workers

extension Gateway {
    func metrics(_ exchange: HTTPExchange, requestID: String) {
        guard let views = MetricsView.wanted(exchange.request.query) else {
            let names = MetricsView.allCases.map(\.rawValue).joined(separator: ", ")
            return text(exchange, 400, "compat: takes none, or some of \(names), separated by commas\n", requestID)
        }
        text(exchange, 200, metricsText(views), requestID, type: "text/plain; version=0.0.4")
    }

    private func metricsText(_ views: Set<MetricsView>) -> String {
        let counted = shared.counted
        let load = shared.dispatcher.load
        var text = MetricsText()
        text.add("swiftlet_http_requests_total", .counter, "Requests that arrived.", counted.requests)
        let usage = shared.usage.totals
        let invoked = usage.invocations
        text.add(
            "swiftlet_refusals_total", .counter, "Invocations that were refused.",
            invoked.byOutcome[UsageRow.refused] ?? 0)
        text.add("swiftlet_denied_total", .counter, "Accesses that were denied.", shared.audit.deniedCount)
        text.add("swiftlet_audit_entries", .gauge, "Entries that the audit log ever had.", shared.audit.head.count)
        text.add(
            "swiftlet_audit_blocked", .gauge, "1 while no act is allowed because it can't be written down.",
            shared.audit.refusal == nil ? 0 : 1)
        text.add("swiftlet_cold_starts_total", .counter, "Invocations that started a worker.", invoked.sums.cold)
        text.add(
            "swiftlet_refused_starts_total", .counter, "Workers that were not started because their function's die.",
            shared.dispatcher.refusedStarts)
        text.add(
            "swiftlet_invocation_run_seconds_total", .counter, "Time inside handlers.",
            seconds: invoked.sums.runNanoseconds)
        text.add("swiftlet_workers", .gauge, "Live handler workers.", UInt64(load.live))
        text.add("swiftlet_waiting_invocations", .gauge, "Invocations in queues.", UInt64(load.waiting))
        text.add(
            "swiftlet_adopted_zygotes", .gauge, "Zygotes that belong to a tenant.", UInt64(shared.host.adoptedZygotes))
        text.begin("swiftlet_invocations_total", .counter, "Invocations that ended, by outcome.")
        for (outcome, count) in invoked.byOutcome.sorted(by: { $0.key < $1.key }) where outcome != UsageRow.refused {
            text.sample(label: "outcome", outcome, "\(count)")
        }
        text.begin("swiftlet_limit_refusals_total", .counter, "Requests that a limit refused, by level and limit.")
        for row in shared.limits.refused {
            text.sample([("level", row.level.rawValue), ("limit", row.kind.rawValue)], "\(row.count)")
        }
        add(usage, to: &text)
        let models = shared.inference.metrics
        if !models.isEmpty { addModels(models, to: &text) }
        for view in views { view.add(models, specs: shared.inference.models, to: &text) }
        return text.text
    }

    private func addModels(_ models: [(name: String, values: ModelMetrics)], to text: inout MetricsText) {
        for (name, help, value) in Self.modelCounters {
            text.begin("swiftlet_model_" + name, .counter, help)
            for model in models { text.sample(label: "model", model.name, "\(model.values[keyPath: value])") }
        }
        for (name, help, value) in Self.modelTimes {
            text.begin("swiftlet_model_" + name, .counter, help)
            for model in models {
                text.sample(label: "model", model.name, MetricsText.seconds(model.values[keyPath: value]))
            }
        }
        for (name, help, value) in Self.modelHistograms {
            text.histogram(
                "swiftlet_model_" + name, help, models.map { ("model", $0.name, $0.values.histograms[keyPath: value]) })
        }
        text.begin(
            "swiftlet_model_finished_requests_total", .counter, "Requests that were answered, by how they ended.")
        for model in models {
            for reason in [FinishReason.stop, .length] {
                text.sample(
                    [("model", model.name), ("reason", reason.rawValue)], "\(model.values.finished[reason, default: 0])"
                )
            }
        }
        addTenants(models, to: &text)
        text.begin("swiftlet_prefix_hits_total", .counter, "Answers that began with a kept prefix, by where it was.")
        for model in models {
            let hits = model.values.prefixTiers
            for (tier, count) in [
                ("device", hits.device), ("memory", hits.memory), ("disk", hits.disk), ("published", hits.published),
            ] {
                text.sample([("model", model.name), ("tier", tier)], "\(count)")
            }
        }
        addGauges(models, to: &text)
    }

    private func addGauges(_ models: [(name: String, values: ModelMetrics)], to text: inout MetricsText) {
        text.begin("swiftlet_model_kv_tokens", .gauge, "Tokens held for running sequences, and for prompts to come.")
        for model in models {
            text.sample([("model", model.name), ("of", "running")], "\(model.values.cacheUse.running)")
            text.sample([("model", model.name), ("of", "prefixes")], "\(model.values.cacheUse.prefixes)")
        }
        text.begin("swiftlet_model_kv_capacity_tokens", .gauge, "Tokens that the loaded model can hold.")
        for model in models { text.sample(label: "model", model.name, "\(model.values.cacheUse.capacity)") }
        text.begin("swiftlet_model_running_sequences", .gauge, "Sequences in the batch.")
        for model in models { text.sample(label: "model", model.name, "\(model.values.running)") }
        text.begin("swiftlet_model_waiting_requests", .gauge, "Requests that wait for a place in the batch.")
        for model in models { text.sample(label: "model", model.name, "\(model.values.waiting)") }
        text.begin("swiftlet_model_loaded", .gauge, "Replicas of the model that are in memory.")
        for model in models { text.sample(label: "model", model.name, "\(model.values.loaded)") }
        text.begin("swiftlet_model_incident", .gauge, "Replicas whose worker keeps dying, so that loading is put off.")
        for model in models { text.sample(label: "model", model.name, "\(model.values.inIncident)") }
        addMemory(shared.inference.memory, to: &text)
    }

    private func addMemory(_ memory: MemoryReport, to text: inout MetricsText) {
        text.add(
            "swiftlet_models_memory_reserved_bytes", .gauge, "Memory limits of the models that are loaded.",
            memory.held.memory)
        if let most = memory.limits.memory {
            text.add("swiftlet_models_memory_budget_bytes", .gauge, "What those may add up to.", most)
        }
        text.add(
            "swiftlet_models_waiting_for_memory", .gauge, "Models that wait until others are gone.",
            UInt64(memory.waiting))
        text.add("swiftlet_model_evictions_total", .counter, "Idle models that went for others.", memory.evictions)
    }

    /// What each tenant got of each model. Device time adds up to `step_seconds_total` and `embedding_seconds_total`.
    private func addTenants(_ models: [(name: String, values: ModelMetrics)], to text: inout MetricsText) {
        let rows = models.flatMap { model in
            model.values.tenants.byName.sorted { $0.key < $1.key }.map {
                (labels: [("model", model.name), ("tenant", $0.key)], totals: $0.value)
            }
        }
        guard !rows.isEmpty else { return }
        text.begin(
            "swiftlet_tenant_tokens_total", .counter,
            "Tokens by tenant: of prompts, of those not read again, of answers.")
        for (labels, totals) in rows {
            text.sample(labels + [("kind", "prompt")], "\(totals.promptTokens)")
            text.sample(labels + [("kind", "cached")], "\(totals.cachedTokens)")
            text.sample(labels + [("kind", "generation")], "\(totals.completionTokens)")
        }
        text.begin("swiftlet_tenant_device_seconds_total", .counter, "Time of the model's device by tenant.")
        for (labels, totals) in rows { text.sample(labels, MetricsText.seconds(totals.deviceNanoseconds)) }
    }

    private static var modelCounters: [(String, String, KeyPath<ModelMetrics, UInt64>)] {
        [
            ("requests_total", "Requests that arrived.", \.requests),
            ("refused_requests_total", "Requests that were refused.", \.refused),
            ("failed_requests_total", "Requests that failed.", \.failed),
            ("cancelled_requests_total", "Requests whose caller left.", \.cancelled),
            ("prompt_tokens_total", "Tokens of prompts.", \.promptTokens),
            ("generation_tokens_total", "Tokens of answers.", \.completionTokens),
            ("steps_total", "Steps of the engine.", \.steps),
            ("step_sequences_total", "Sequences over all steps; over steps it is the mean batch.", \.stepSequences),
            ("step_tokens_total", "Tokens over all steps.", \.stepTokens),
            ("embeddings_total", "Vectors made.", \.embeddings),
            ("response_cache_hits_total", "Requests that were answered from the response cache.", \.responseHits),
            ("response_cache_misses_total", "Requests that asked the response cache in vain.", \.responseMisses),
            ("preemptions_total", "Sequences that made way for others and came back.", \.preemptions),
            ("prefix_queries_total", "Prompt tokens that were looked for in kept prefixes.", \.prefixQueries),
            ("prefix_hits_total", "Prompt tokens that were found there and not read again.", \.prefixHits),
            ("tensor_rows_total", "Rows of requests on tensors.", \.tensors.rows),
            ("tensor_runs_total", "Runs on tensors; rows over runs is the mean batch.", \.tensors.executions),
            ("loads_total", "Times the model was loaded.", \.loads),
            ("unloads_total", "Times the model was let go.", \.unloads),
            ("crashes_total", "Times its worker ended unasked.", \.crashes),
            ("next_steps_total", "Steps that followed another's result at once.", \.nextSteps),
            ("device_turns_total", "Times the model got its device; wait over turns is the mean wait.", \.deviceTurns),
            ("incidents_total", "Times that its worker died so often that loading was put off.", \.incidents),
            ("over_budget_total", "Times its worker was ended for its device memory.", \.overBudget),
        ]
    }

    private static var modelTimes: [(String, String, KeyPath<ModelMetrics, UInt64>)] {
        [
            ("step_seconds_total", "Time inside the engine's steps.", \.stepNanoseconds),
            ("embedding_seconds_total", "Time until a text's vector is there.", \.embeddingNanoseconds),
            ("tensor_run_seconds_total", "Time inside the engine's runs on tensors.", \.tensors.infer.nanoseconds),
            ("between_steps_seconds_total", "Host time before those steps.", \.betweenStepsNanoseconds),
            ("device_wait_seconds_total", "Time spent waiting for the device.", \.deviceWaitNanoseconds),
            ("device_held_seconds_total", "Time the model had its device.", \.deviceHeldNanoseconds),
            ("load_seconds_total", "Time spent loading.", \.loadNanoseconds),
        ]
    }

    private static var modelHistograms: [(String, String, KeyPath<ModelHistograms, Histogram>)] {
        [
            ("time_to_first_token_seconds", "From a request's arrival to its first token.", \.timeToFirstToken),
            ("inter_token_seconds", "Between two tokens of one answer.", \.interToken),
            ("request_seconds", "From a request's arrival to the end of its answer.", \.endToEnd),
            ("queue_seconds", "From arrival at the loaded model to a place in the engine.", \.queue),
            ("prefill_seconds", "From its place to the first token.", \.prefill),
            ("decode_seconds", "From the first token to the last.", \.decode),
            ("request_prompt_tokens", "Tokens of a prompt.", \.promptTokens),
            ("request_generation_tokens", "Tokens of an answer.", \.generationTokens),
            ("step_duration_seconds", "Time of one step inside the engine.", \.step),
            ("batch_size", "Sequences, or rows of tensors, of one step.", \.stepSequences),
            ("tokens_per_step", "Tokens of one step.", \.stepTokens),
            ("load_duration_seconds", "Time of one load.", \.load),
        ]
    }
}
