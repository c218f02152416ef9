// Denied accesses come in floods: the first of a kind is an entry at once, the rest of its window one entry with their count.

/// Pure: `now` comes from outside. What goes in comes out, and counts add up.
struct AuditFlood {
    static let windowMilliseconds: Int64 = 30_000
    /// Kinds that a window tells apart; what comes beyond is counted by actor, then by act alone.
    static let kinds = 64

    private struct Kind: Hashable {
        let actor, tenant, act, target, network: String
        let status: UInt16
    }

    private struct Held {
        let event: AuditEvent
        var count: UInt32 = 0
    }

    private var held: [Kind: Held] = [:]
    private var windowEnd: Int64 = 0

    /// Returns what to write now: at most what the window before held, and the event when it is the first of its kind.
    mutating func add(_ event: AuditEvent, now: Int64) -> [AuditEvent] {
        let before = expire(now: now)
        if held.isEmpty { windowEnd = now + Self.windowMilliseconds }
        let network = Self.network(of: event.peer)
        let kind = Kind(
            actor: event.actor, tenant: event.tenant, act: event.act, target: event.target, network: network,
            status: event.status)
        if held[kind] == nil, held.count < Self.kinds {
            held[kind] = Held(event: event.standing(for: 1, target: event.target, peer: network, detail: event.detail))
            return before + [event]
        }
        if held[kind] != nil {
            held[kind]?.count += event.count
            return before
        }
        count(
            event,
            in: Kind(
                actor: event.actor, tenant: event.tenant, act: event.act, target: "*", network: "*",
                status: event.status))
        return before
    }

    /// Beyond the kinds that are told apart; strangers to even these share one row an act.
    private mutating func count(_ event: AuditEvent, in wide: Kind) {
        var kind = wide
        if held[kind] == nil, held.count >= 2 * Self.kinds {
            kind = Kind(actor: "*", tenant: "", act: event.act, target: "*", network: "*", status: 0)
        }
        if held[kind] == nil {
            let general = AuditEvent(
                actor: kind.actor, actorTenant: kind.actor == "*" ? "" : event.actorTenant,
                role: kind.actor == "*" ? "" : event.role, tenant: kind.tenant, peer: "*", act: event.act, target: "*",
                status: kind.status)
            held[kind] = Held(event: general)
        }
        held[kind]?.count += event.count
    }

    /// What the window held, once it is over.
    mutating func expire(now: Int64) -> [AuditEvent] {
        // A clock that was set back ends the window too.
        guard now >= windowEnd || now < windowEnd - Self.windowMilliseconds else { return [] }
        return flush()
    }

    /// What the window holds, now.
    mutating func flush() -> [AuditEvent] {
        defer { held = [:] }
        return held.values.filter { $0.count > 0 }.map {
            $0.event.standing(
                for: $0.count, target: $0.event.target, peer: $0.event.peer,
                detail: "as often again within \(Self.windowMilliseconds / 1000) s")
        }.sorted { ($0.act, $0.actor, $0.target, $0.peer) < ($1.act, $1.actor, $1.target, $1.peer) }
    }

    /// Addresses that one machine can have: a /24 of IPv4, a /48 of IPv6.
    static func network(of peer: String) -> String {
        if peer.hasPrefix("[") {
            let address = peer.dropFirst().prefix { $0 != "]" }
            let groups = address.split(separator: ":", omittingEmptySubsequences: false).prefix { !$0.isEmpty }.prefix(
                3)
            return "[" + groups.joined(separator: ":") + "::/48]"
        }
        let parts = peer.prefix { $0 != ":" }.split(separator: ".")
        return parts.count == 4 ? parts[..<3].joined(separator: ".") + ".0/24" : peer
    }
}
