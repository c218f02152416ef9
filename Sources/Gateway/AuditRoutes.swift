// GET /admin/v1/audit, …/audit/head, …/audit/verify and /admin/v1/tenants/{tenant}/audit: what the audit log holds.
internal import Audit
internal import Core
internal import HTTP
internal import Platform

extension Gateway {
    /// - Parameter tenant: whose entries; nil: all.
    func listAudit(_ exchange: HTTPExchange, of tenant: String?, requestID: String) {
        let query: AuditQuery
        do throws(RuntimeError) {
            query = try AuditQuery(exchange.request.query, tenant: tenant)
        } catch {
            return answer(exchange, error, requestID: requestID)
        }
        let own = LoopBound((self, exchange), on: loop)
        let remote = loop.remote
        shared.audit.page(query) { result in
            let body = result.map { page in
                "{\"entries\":[" + page.entries.map(\.json).joined(separator: ",") + "],\"next\":"
                    + (page.next.map { "\($0)" } ?? "null") + "}"
            }
            remote.submit { _ in
                let (gateway, exchange) = own.value
                switch body {
                case .success(let body): gateway.json(exchange, body, requestID)
                case .failure(let error): gateway.answer(exchange, error, requestID: requestID)
                }
            }
        }
    }

    func showAuditHead(_ exchange: HTTPExchange, requestID: String) {
        json(exchange, jsonObject([("head", .text("\(shared.audit.head)"))]), requestID)
    }

    /// Reads the whole log. Damage is an answer, not an error.
    func verifyAudit(_ exchange: HTTPExchange, requestID: String) {
        let text = AuditQuery.fields(exchange.request.query)["expect"]
        let expected = text.flatMap { AuditPoint($0) }
        guard text == nil || expected != nil else {
            return answer(
                exchange, AuditQuery.failure("expect", "COUNT:HASH, as `swiftlet audit head` prints it"),
                requestID: requestID)
        }
        let own = LoopBound((self, exchange), on: loop)
        let remote = loop.remote
        shared.audit.verify(expected: expected) { result in
            remote.submit { _ in
                let (gateway, exchange) = own.value
                gateway.answer(exchange, result, requestID)
            }
        }
    }

    private func answer(_ exchange: HTTPExchange, _ result: Result<AuditReport, any Error>, _ requestID: String) {
        switch result {
        case .success(let report): json(exchange, report.json, requestID)
        case .failure(let damage as AuditDamage): json(exchange, damage.json, requestID)
        case .failure(let error):
            let words = error as? RuntimeError
            answer(
                exchange,
                words
                    ?? RuntimeError(
                        .internalError, step: "verify the audit log", cause: "\(error)", next: "see the host's log"),
                requestID: requestID)
        }
    }
}

extension AuditQuery {
    /// From the query of a request; an unknown field is an error.
    init(_ query: String, tenant: String?) throws(RuntimeError) {
        self.init()
        self.tenant = tenant
        for (name, value) in Self.fields(query) {
            switch name {
            case "before": before = try Self.number(name, value, in: 1...UInt64.max)
            case "limit": limit = Int(try Self.number(name, value, in: 1...UInt64(Self.largestPage)))
            case "since": since = Int64(try Self.number(name, value, in: 0...UInt64(Int64.max)))
            case "act":
                guard !value.isEmpty, value.utf8.allSatisfy({ $0 >= 0x2d && $0 < 0x7f }) else {
                    throw Self.failure(name, "a word such as `key.create` or `key`")
                }
                act = value
            case "tenant" where tenant == nil:
                guard Names.isValid(value) else { throw Self.failure(name, "a tenant's name") }
                self.tenant = value
            default: throw Self.failure(Names.quoted(name), "before, limit, since, act or tenant")
            }
        }
    }

    static func fields(_ query: String) -> [String: String] {
        var fields: [String: String] = [:]
        for part in query.split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            fields[String(pair[0])] = pair.count == 2 ? String(pair[1]) : ""
        }
        return fields
    }

    private static func number(_ name: String, _ value: String, in range: ClosedRange<UInt64>) throws(RuntimeError)
        -> UInt64
    {
        guard let number = UInt64(value), range.contains(number) else {
            throw failure(name, "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    static func failure(_ name: String, _ expected: String) -> RuntimeError {
        RuntimeError(
            .badRequest, step: "read the audit log", cause: "the query's \(name) is not \(expected)",
            next: "see docs/audit.md")
    }
}

extension AuditEntry {
    var json: String {
        jsonObject([
            ("number", .literal("\(number)")), ("time_ms", .number(milliseconds)), ("act", .text(event.act)),
            ("target", .text(event.target)), ("status", .number(Int64(event.status))),
            ("count", .number(Int64(event.count))),
            ("actor", .text(event.actor)), ("actor_tenant", .text(event.actorTenant)), ("role", .text(event.role)),
            ("tenant", .text(event.tenant)), ("peer", .text(event.peer)), ("request_id", .text(event.requestID)),
            ("detail", .text(event.detail)), ("previous", .text("\(previous)")), ("hash", .text("\(hash)")),
        ])
    }
}

extension AuditReport {
    var json: String {
        jsonObject([
            ("verified", .literal("true")), ("start", .text("\(start)")), ("head", .text("\(end)")),
            ("unfinished_bytes", .number(Int64(unfinishedBytes))),
        ])
    }
}

extension AuditDamage {
    var json: String {
        jsonObject([
            ("verified", .literal("false")), ("damage", .text(kind.rawValue)),
            ("entry", .literal(number.map { "\($0)" } ?? "null")), ("detail", .text(detail)),
        ])
    }
}
