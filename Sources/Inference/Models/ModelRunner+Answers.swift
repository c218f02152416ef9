// What becomes of an answer: its prompt in tokens, its start, what each step's result is to it, its end.
internal import Core
internal import Ledger
internal import Platform
internal import SwiftletABI

extension ModelRunner {
    /// Bytes of states that wait outside the engine; beyond that a sequence is read again.
    private static var savedBytes: Int { 512 << 20 }

    func prompted(_ id: GenerationID, _ status: Int32, _ payload: [UInt8]) {
        guard let answer = answers[id] else { return }
        guard status == 0 else { return fail(id, promptError(status, payload)) }
        guard let tokens = PromptTokens.parse(payload, isChat: answer.request.isChat) else {
            return model.giveUp("prompt: its answer holds no tokens")
        }
        if let wrong = tokens.first(where: { !isToken($0) }) { return model.giveUp("prompt: \(notOne(wrong))") }
        let room = planner.roomForOne - tokens.count
        let maxTokens = answer.request.options.maxTokens ?? min(spec.defaultMaxTokens, max(1, room))
        guard !tokens.isEmpty else { return fail(id, .invalid("messages", "messages: the prompt has no tokens")) }
        guard planner.fits(promptTokens: tokens.count, maxTokens: maxTokens) else {
            return fail(id, .contextLength(prompt: tokens.count, answer: maxTokens, limit: planner.roomForOne))
        }
        let tenant = answer.request.tenant
        if !tiers.isPublished(id) {
            do throws(OpenAIError) {
                answers[id]?.grant = try quotas.begin(answer.request.payer, promptTokens: tokens.count)
            } catch {
                return fail(id, error)
            }
        }
        answers[id]?.tokens = tokens
        answers[id]?.usage.promptTokens = tokens.count
        var sequence = SequenceRequest(id: id, tenant: tenant, prompt: tokens, maxTokens: maxTokens)
        sequence.weight = quotas.weight(of: tenant)
        sequence.priority = answer.request.options.priority
        add(sequence)
    }

    private func promptError(_ status: Int32, _ payload: [UInt8]) -> OpenAIError {
        let text = String(decoding: payload, as: UTF8.self)
        switch status {
        case Int32(SWIFTLET_INVALID), Int32(SWIFTLET_LIMIT): return .invalid("messages", "messages: \(text)")
        case Int32(SWIFTLET_UNSUPPORTED): return .modelCannot(spec.name, "read such a prompt")
        default: return .modelFailed(spec.name, "prompt: \(text)")
        }
    }

    func confirmed(_ start: SequenceStart, _ status: Int32, _ payload: [UInt8]) {
        let id = start.id
        guard let answer = answers[id] else { return }
        guard status == 0 else {
            return fail(id, .modelFailed(spec.name, "start a sequence: \(String(decoding: payload, as: UTF8.self))"))
        }
        if case .nothing = start.source { planner.started(id) }
        // It may have been here before, and made way.
        guard answer.startedAt == nil, !tiers.isPublished(id) else { return }
        let now = MonotonicTime.now
        answers[id]?.startedAt = now
        answers[id]?.timings.queue = now.since(answer.arrived)
        started(id)
        answer.sink(
            .started(promptTokens: answer.usage.promptTokens, standing: quotas.standing(of: answer.request.payer)))
    }

    func filled(_ start: SequenceStart, _ status: Int32) {
        guard answers[start.id] != nil else { return }
        noteFilled(start, status)
        if status == 0 { return planner.started(start.id) }
        // Whatever it holds now is not what was asked for: it begins again, from its first token.
        answers[start.id]?.usage.cachedTokens = 0
        if let slot = planner.startOver(start.id) { drop(slot) }
        mayReadAgain(start.id)
    }

    func saved(_ id: GenerationID, _ status: Int32, _ payload: [UInt8]) {
        guard answers[id] != nil else { return }
        let fits = answers.values.reduce(payload.count) { $0 + $1.state.count } <= Self.savedBytes
        if status == 0, fits { answers[id]?.state = payload }
        planner.saved(id, status == 0 && fits)
        if status != 0 || !fits { mayReadAgain(id) }
    }

    /// What a grammar has let through so far is in the engine's state only: an answer that is held to one can't be read again.
    private func mayReadAgain(_ id: GenerationID) {
        guard let answer = answers[id], answer.request.options.grammar != nil, answer.usage.completionTokens > 0 else {
            return
        }
        fail(
            id, .modelFailed(spec.name, "it had to make way for others and its state could not be kept; send it again"))
    }
}

// MARK: steps

extension ModelRunner {
    /// - Parameter took: since the worker could begin it; the worker's own measure is believed up to that.
    func stepped(_ plan: StepPlan, took: UInt64, _ status: Int32, _ payload: [UInt8]) {
        guard status == 0 else {
            let error = OpenAIError.modelFailed(spec.name, "step: \(String(decoding: payload, as: UTF8.self))")
            for item in plan.items { fail(item.id, error) }
            return
        }
        guard let result = StepResult(payload, atMost: took), result.outputs.map(\.slot) == plan.items.map(\.slot)
        else {
            return model.giveUp("step: its result is not one for each sequence that it was given")
        }
        let picked = zip(plan.items, result.outputs).filter { $0.samples && $1.status == 0 && !$1.ended }
        if let wrong = picked.map(\.1.token).first(where: { !isToken($0) }) {
            return model.giveUp("step: \(notOne(wrong))")
        }
        counters.update {
            $0.steps += 1
            $0.stepNanoseconds += result.nanoseconds
            $0.stepSequences += UInt64(plan.items.count)
            $0.stepTokens += UInt64(plan.tokens)
            $0.histograms.stepped(plan, nanoseconds: result.nanoseconds)
        }
        if result.nanoseconds > 0 { planner.learn(plan, nanoseconds: result.nanoseconds) }
        let isSpent = bill(plan, nanoseconds: result.nanoseconds)
        for (item, output) in zip(plan.items, result.outputs) { advance(item, output) }
        guard isSpent else { return }
        for (id, answer) in answers where answer.startedAt != nil {
            guard let quota = quotas.spentDevice(of: answer.request.payer) else { continue }
            answers[id]?.usage.cutBy = quota
            finish(id, .length)
        }
    }

    /// Divides the time of a step among those in it. Returns true when somebody's device time is used up.
    private func bill(_ plan: StepPlan, nanoseconds: UInt64) -> Bool {
        var shares: [QuotaPayer: UInt64] = [:]
        for (item, share) in zip(plan.items, planner.shares(of: nanoseconds, plan)) {
            // Who left while the step ran is served all the same; that it is cannot be helped, nor charged to others.
            let owner =
                answers[item.id].map { (payer: $0.request.payer, meter: $0.request.meter) } ?? departed[item.id]
            let payer = owner?.payer ?? QuotaPayer(tenant: "")
            shares[payer, default: 0] += share
            book(TenantTotals.Totals(device: share), payer.tenant, owner?.meter)
        }
        // All of them, also after one that has nothing left.
        return shares.reduce(false) { quotas.useDevice($1.value, $1.key) || $0 }
    }

    func isToken(_ token: Int32) -> Bool { token >= 0 && token < info.vocabulary }
    func notOne(_ token: Int32) -> String { "the token \(token) is none of the model's \(info.vocabulary)" }

    private func advance(_ item: StepPlan.Item, _ output: StepOutput) {
        // It may have been cancelled while the step ran.
        guard answers[item.id] != nil else { return }
        guard output.status == 0 else {
            let cause =
                output.status == Int32(SWIFTLET_LIMIT) ? "no room for more tokens" : "the engine dropped the sequence"
            return fail(item.id, .modelFailed(spec.name, "step: \(cause)"))
        }
        let reason = planner.advance(item, ended: output.ended)
        if item.samples, !output.ended { picked(item.id, output) }
        // A stop string may just have ended it.
        if let reason, answers[item.id] != nil { finish(item.id, reason) }
    }

    private func picked(_ id: GenerationID, _ output: StepOutput) {
        guard let answer = answers[id] else { return }
        guard mayHaveToken(id, answer) else { return finish(id, .length) }
        noteToken(id, answer)
        answers[id]?.tokens.append(output.token)
        answers[id]?.usage.completionTokens += 1
        let logprob = answer.request.options.wantLogprobs ? output.picked : nil
        let assembled = answers[id]?.assembler.push(output.picked.piece, logprob: logprob) ?? AssembledText()
        if !assembled.text.isEmpty { tell(answer, .text(assembled.text, logprobs: assembled.logprobs)) }
        if assembled.stopped { finish(id, .stop, flush: false) }
    }

    /// False: the token is one too many for its tenant, and nobody gets it.
    private func mayHaveToken(_ id: GenerationID, _ answer: Answer) -> Bool {
        guard var grant = answer.grant else { return true }
        do throws(OpenAIError) {
            try quotas.take(&grant)
        } catch {
            answers[id]?.usage.cutBy = error.quota
            return false
        }
        answers[id]?.grant = grant
        return true
    }

    private func noteToken(_ id: GenerationID, _ answer: Answer) {
        let now = MonotonicTime.now
        answers[id]?.lastTokenAt = now
        if let last = answer.lastTokenAt {
            return counters.update { $0.histograms.interToken.observe(now.since(last)) }
        }
        answers[id]?.firstTokenAt = now
        answers[id]?.timings.prefill = answer.startedAt.map(now.since) ?? 0
        counters.update { $0.histograms.timeToFirstToken.observe(answer.timings.load + now.since(answer.arrived)) }
    }
}

// MARK: ends

extension ModelRunner {
    func finish(_ id: GenerationID, _ reason: FinishReason, flush: Bool = true) {
        guard var answer = answers.removeValue(forKey: id) else { return }
        if tiers.isPublished(id) {
            answer.request.meter?.end("success", status: 0)
            return leave(id, keeping: answer.tokens, published: true)
        }
        leave(id, keeping: answer.tokens)
        var reason = reason
        if flush, reason != .cancelled {
            let rest = answer.assembler.finish()
            if !rest.text.isEmpty || !rest.logprobs.isEmpty { tell(answer, .text(rest.text, logprobs: rest.logprobs)) }
            if rest.stopped { reason = .stop }
        }
        answer.timings.decode = answer.firstTokenAt.map { MonotonicTime.now.since($0) } ?? 0
        settle(answer)
        book(TenantTotals.Totals(answer.usage), answer.request.tenant, answer.request.meter)
        answer.request.meter?.add { $0.add(answer.timings) }
        counters.update {
            $0.prefixQueries += UInt64(answer.usage.promptTokens)
            $0.prefixHits += UInt64(answer.usage.cachedTokens)
            $0.promptTokens += UInt64(answer.usage.promptTokens)
            $0.completionTokens += UInt64(answer.usage.completionTokens)
            $0.finished(reason, answer.usage, answer.timings, took: MonotonicTime.now.since(answer.arrived))
        }
        answer.usage.stop = answer.assembler.stop
        tell(answer, .finished(reason, answer.usage, answer.timings))
        ended(id)
    }

    func fail(_ id: GenerationID, _ error: OpenAIError) {
        guard let answer = answers.removeValue(forKey: id) else { return }
        if tiers.isPublished(id) {
            answer.request.meter?.end("failed", status: 0)
            return unpublished(id, "\(error.message)")
        }
        leave(id)
        settle(answer)
        counters.update { if error.status < 500 { $0.refused += 1 } else { $0.failed += 1 } }
        tell(answer, .failed(error))
        ended(id)
    }

    func tell(_ answer: Answer, _ event: GenerationEvent) {
        guard resultAt != nil else { return answer.sink(event) }
        untold.append((answer.sink, event))
    }

    func settle(_ answer: Answer) {
        if stepsOut > 0 { departed[answer.id] = (answer.request.payer, answer.request.meter) }
        guard let grant = answer.grant else { return }
        quotas.settle(grant, promptTokens: answer.usage.promptTokens, wasRead: answer.startedAt != nil)
    }

    /// Takes a request out of every queue. The drop may overtake nothing: the worker reads operations in order.
    func leave(_ id: GenerationID, keeping tokens: [Int32]? = nil, published: Bool = false) {
        prompts.removeAll { $0 == id }
        tiers.leave(id)
        for slot in planner.remove(id, keeping: tokens, published: published) { drop(slot) }
    }
}
