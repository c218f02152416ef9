// What is known of a connection and the same for all of its requests.

/// A certificate that a client showed and that was verified.
package struct ClientCertificate: Sendable, Equatable {
    /// Of the certificate in DER, 64 hex digits.
    package let sha256: String
    /// The subject's CN; nil when there is none, or several.
    package let commonName: String?
    /// The URIs among its subjectAltNames.
    package let uris: [String]

    /// What an operators file may call it, the most certain first.
    package var names: [String] {
        ["sha256:\(sha256)"] + uris.map { "san:\($0)" } + (commonName.map { ["CN=\($0)"] } ?? [])
    }
}

/// Made once a connection and shared by its requests.
package final class ConnectionFacts: Sendable {
    let peer: HTTPPeer
    let isTLS: Bool
    /// The name that the client asked a certificate for, in lower case.
    let serverName: String?
    let clientCertificate: ClientCertificate?
    /// The name is a tenant's: requests for other hosts came to the wrong place.
    private let isBound: Bool

    init(
        peer: HTTPPeer, isTLS: Bool = false, serverName: String? = nil, clientCertificate: ClientCertificate? = nil,
        isBound: Bool = false
    ) {
        self.peer = peer
        self.isTLS = isTLS
        self.serverName = serverName
        self.clientCertificate = clientCertificate
        self.isBound = isBound
    }

    /// Refuses a request that names another host than the connection was made to.
    func check(host: String) throws(Refusal) {
        guard isBound, let serverName, hostName(host) != serverName else { return }
        throw Refusal(
            status: 421, text: "The Host field names another host than TLS did: connect to that one by itself.")
    }
}

/// The name of a Host field, in lower case and without its port.
func hostName(_ host: String) -> String {
    guard !host.hasPrefix("["), let colon = host.lastIndex(of: ":") else { return host.lowercased() }
    return host[..<colon].lowercased()
}
