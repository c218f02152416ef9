// Host names with certificates of their own, and whose they are.

package struct TLSHost: Sendable {
    /// In lower case; `*.rest` stands for one label.
    package let name: String
    /// Paths of PEM files.
    package let certificate: String
    package let key: String
    /// Requests to this name belong to this tenant's namespace.
    package let tenant: String?

    package init(name: String, certificate: String, key: String, tenant: String?) {
        self.name = name
        self.certificate = certificate
        self.key = key
        self.tenant = tenant
    }

    /// True for a DNS name in lower case, or one that begins with `*.`
    package static func isName(_ name: String) -> Bool {
        var labels = name.split(separator: ".", omittingEmptySubsequences: false)[...]
        if labels.first == "*" { labels = labels.dropFirst() }
        guard !labels.isEmpty, name.utf8.count <= 253 else { return false }
        return labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
                && label.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x2d }
        }
    }
}

/// Whose a host name is.
package struct TenantHosts: Sendable {
    private var tenants: [String: String] = [:]

    package init(_ hosts: [TLSHost]) {
        for host in hosts { tenants[host.name] = host.tenant }
    }

    /// - Parameter name: in lower case. An exact entry goes before one with a star.
    package subscript(name: String) -> String? {
        guard !tenants.isEmpty else { return nil }
        if let exact = tenants[name] { return exact }
        guard let dot = name.firstIndex(of: "."), dot > name.startIndex else { return nil }
        return tenants["*\(name[dot...])"]
    }
}
