// What somebody did, or was not allowed to do: the part of an entry that the caller knows. AuditEntry.swift comes next.

/// One act for the log. Every text is cut to its bound and holds no control characters, so that a terminal can show it.
/// Never put a secret into one: a key's id names a key.
package struct AuditEvent: Sendable, Equatable {
    /// The longest of most fields, in bytes of UTF-8.
    package static let longest = 256
    package static let longestDetail = 1024

    /// Id of the principal; "-" when nobody proved to be one.
    package let actor: String
    /// The tenant that the actor belongs to; empty for the platform's people and for strangers.
    package let actorTenant: String
    package let role: String
    /// The tenant that the act concerns; whoever may read that tenant's log sees the entry.
    package let tenant: String
    /// Address and port of the other end.
    package let peer: String
    package let requestID: String
    /// A stable word: `deploy`, `key.create`, `tenant.suspend`, `denied`.
    package let act: String
    package let target: String
    /// The HTTP status of the answer; 0 for what the host did by itself.
    package let status: UInt16
    package let detail: String
    /// How many acts like this the entry stands for.
    package let count: UInt32

    package init(
        actor: String, actorTenant: String = "", role: String = "", tenant: String = "", peer: String = "",
        requestID: String = "", act: String, target: String = "", status: UInt16 = 0, detail: String = "",
        count: UInt32 = 1
    ) {
        self.actor = Self.plain(actor)
        self.actorTenant = Self.plain(actorTenant)
        self.role = Self.plain(role)
        self.tenant = Self.plain(tenant)
        self.peer = Self.plain(peer)
        self.requestID = Self.plain(requestID)
        self.act = Self.plain(act)
        self.target = Self.plain(target)
        self.status = status
        self.detail = Self.plain(detail, longest: Self.longestDetail)
        self.count = count
    }

    /// The same, once it is known what came of it.
    package func answered(_ status: Int, tenant: String?, detail: String) -> AuditEvent {
        AuditEvent(
            actor: actor, actorTenant: actorTenant, role: role, tenant: tenant ?? self.tenant, peer: peer,
            requestID: requestID, act: act, target: target, status: UInt16(clamping: status), detail: detail)
    }

    /// The same for another number of acts, and without what told them apart.
    func standing(for count: UInt32, target: String, peer: String, detail: String) -> AuditEvent {
        AuditEvent(
            actor: actor, actorTenant: actorTenant, role: role, tenant: tenant, peer: peer, requestID: "", act: act,
            target: target, status: status, detail: detail, count: count)
    }

    static func plain(_ text: String, longest: Int = longest) -> String {
        // The usual case allocates nothing.
        if text.utf8.count <= longest, text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }) { return text }
        var out = ""
        var size = 0
        for scalar in text.unicodeScalars {
            let category = scalar.properties.generalCategory
            let shown = category == .control || category == .format ? "\u{FFFD}" : scalar
            size += UTF8.width(shown)
            guard size <= longest else { break }
            out.unicodeScalars.append(shown)
        }
        return out
    }
}
