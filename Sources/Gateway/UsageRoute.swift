// GET /admin/v1/usage: a page of the ledger, read off the loop.
internal import Core
internal import HTTP
internal import Ledger
internal import Platform

extension Gateway {
    func usage(_ exchange: HTTPExchange, _ match: RouteMatch, requestID: String) {
        let principal = exchange.caller.principal
        var query: UsageQuery
        do throws(RuntimeError) {
            query = try UsageQuery(exchange.request.query, now: WallClock.milliseconds)
        } catch {
            return answer(exchange, error, requestID: requestID)
        }
        // A tenant sees its own only, and whoever may not touch all of that sees what it called itself.
        if let tenant = principal.tenant {
            let isNarrow = principal.functions != nil || principal.models != nil
            guard (query.tenant ?? tenant) == tenant, !isNarrow || (query.principal ?? principal.id) == principal.id
            else {
                let refusal = Authorization.forbidden(match.route, principal, query.tenant)
                return refuse(exchange, match, refusal, requestID: requestID)
            }
            query.tenant = tenant
            if isNarrow { query.principal = principal.id }
        }
        let own = LoopBound((self, exchange), on: loop)
        let remote = loop.remote
        shared.background.run { [shared, query] in
            let result = Result { () throws(RuntimeError) in
                UsageJSON.text(try shared.usage.reader.read(query), lost: shared.usage.lost)
            }
            remote.submit { _ in
                let (gateway, exchange) = own.value
                switch result {
                case .success(let text): gateway.json(exchange, text, requestID)
                case .failure(let error): gateway.answer(exchange, error, requestID: requestID)
                }
            }
        }
    }
}

/// The page as JSON; docs/usage.md has every field.
private enum UsageJSON {
    static func text(_ page: UsagePage, lost: UInt64) -> String {
        let lines = page.query.rows ? page.rows.map(row) : page.groups.map(group)
        var fields: [(String, JSONField)] = [
            ("since_ms", .number(page.query.since)), ("until_ms", .number(page.query.until)),
            ("by", .text(page.query.rows ? "row" : page.query.by.rawValue)), ("lost", number(lost)),
            (page.query.rows ? "rows" : "groups", .literal("[" + lines.joined(separator: ",") + "]")),
        ]
        if let next = page.next { fields.append(("next", .number(next))) }
        return jsonObject(fields)
    }

    private static func row(_ row: UsageRow) -> String {
        var fields: [(String, JSONField)] = [
            ("time_ms", .number(row.time)), ("request_id", .text(row.requestID)), ("tenant", .text(row.tenant)),
            ("key", .text(row.principal)), ("kind", .text(row.kind.rawValue)), ("name", .text(row.name)),
            ("version", .text(row.version)), ("route", .text(row.route)), ("outcome", .text(row.outcome)),
            ("status", .number(Int64(row.status))), ("cold", .literal("\(row.isCold)")),
            ("queued_ns", number(row.queuedNanoseconds)), ("run_ns", number(row.runNanoseconds)),
            ("device_ns", number(row.deviceNanoseconds)), ("tokens_in", number(row.tokensIn)),
            ("tokens_cached", number(row.tokensCached)), ("tokens_out", number(row.tokensOut)),
            ("bytes_in", number(row.bytesIn)), ("bytes_out", number(row.bytesOut)),
        ]
        if let cpu = row.cpuNanoseconds { fields.append(("cpu_ns", number(cpu))) }
        if let memory = row.memoryPeakBytes { fields.append(("memory_peak_bytes", number(memory))) }
        return jsonObject(fields)
    }

    private static func group(_ group: UsageGroup) -> String {
        var fields: [(String, JSONField)] = []
        if let start = group.start { fields.append(("start_ms", .number(start))) }
        if let tenant = group.tenant { fields.append(("tenant", .text(tenant))) }
        if let principal = group.principal { fields.append(("key", .text(principal))) }
        if let kind = group.kind { fields.append(("kind", .text(kind.rawValue))) }
        if let name = group.name { fields.append(("name", .text(name))) }
        let sums = group.sums
        fields.append(("calls", number(sums.calls)))
        for outcome in UsageRow.Class.allCases {
            fields.append((outcome.rawValue, number(group.classes[outcome] ?? 0)))
        }
        fields += [
            ("cold", number(sums.cold)), ("queued_ns", number(sums.queuedNanoseconds)),
            ("run_ns", number(sums.runNanoseconds)), ("device_ns", number(sums.deviceNanoseconds)),
            ("cpu_ns", number(sums.cpuNanoseconds)), ("memory_peak_bytes", number(sums.memoryPeakBytes)),
            ("tokens_in", number(sums.tokensIn)), ("tokens_cached", number(sums.tokensCached)),
            ("tokens_out", number(sums.tokensOut)), ("bytes_in", number(sums.bytesIn)),
            ("bytes_out", number(sums.bytesOut)),
        ]
        return jsonObject(fields)
    }

    private static func number(_ count: UInt64) -> JSONField { .number(Int64(clamping: count)) }
}
