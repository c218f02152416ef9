// What a client is told when a quota refuses it: which one, whose it is, and when to come back.
internal import Core

extension OpenAIError {
    static func tooManyAtOnce(_ owner: QuotaOwner, _ most: Int) -> OpenAIError {
        var error = OpenAIError(
            status: 429, type: "rate_limit_error", code: "rate_limit_exceeded",
            message: "quota requests_at_once of the \(owner.level.rawValue): \(most) requests run or wait already; "
                + "send again when one ends",
            retryAfterMilliseconds: 1000)
        error.quota = .requestsAtOnce(owner.level)
        return error
    }

    static func quota(_ refusal: QuotaRefusal, _ standing: QuotaStanding?) -> OpenAIError {
        let limit =
            refusal.meter.countsTokens
            ? "\(refusal.limit) tokens" : "\(Double(refusal.limit) / 1e9) seconds of the device"
        let words =
            "quota \(refusal.meter.rawValue) of the \(refusal.level.rawValue): \(limit) are used up, "
            + "or too few are left for this prompt; "
        var error =
            if let wait = refusal.waitMilliseconds {
                OpenAIError(
                    status: 429, type: "rate_limit_error", code: "rate_limit_exceeded",
                    message: words + "the next window begins in \((wait + 999) / 1000) s",
                    retryAfterMilliseconds: UInt64(wait))
            } else {
                OpenAIError(
                    status: 429, type: "insufficient_quota", code: "insufficient_quota",
                    message: words + "ask the platform for more")
            }
        error.standing = standing
        error.quota = QuotaName(refusal.meter, refusal.level)
        return error
    }

    static func quotaNotStored(_ cause: RuntimeError) -> OpenAIError {
        OpenAIError(
            status: 503, type: "server_error", code: "quota_unavailable",
            message: "quota ledger: \(cause.step): \(cause.cause); no quota is given that can't be written down",
            retryAfterMilliseconds: 1000)
    }
}
