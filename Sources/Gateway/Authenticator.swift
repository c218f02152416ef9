// From what a request carries to the principal that sent it; a credential that is shown must be good, wherever it comes from.
package import Core
package import HTTP
internal import Identity
internal import Platform
internal import Registry
internal import Synchronization

package final class Authenticator: Sendable {
    /// False: callers on this machine need a credential like everybody else.
    private let trustsLoopback: Bool
    private let tokens: (any TokenAuthority)?
    /// Knows operators by the certificates that they show.
    private let tls: TLSContext?
    private let attempts = Mutex(AttemptLimiter())

    package init(
        trustsLoopback: Bool = true, tokens: (any TokenAuthority)? = nil, tls: TLSContext? = nil
    ) {
        self.trustsLoopback = trustsLoopback
        self.tokens = tokens
        self.tls = tls
    }

    /// Who sends this. Nobody in particular is `anonymous`, which is no fault.
    func principal(of request: HTTPRequest, in current: RegistrySnapshot) -> Result<Principal, AuthenticationFault> {
        let shown: String?
        switch Self.credential(request.headers) {
        case .failure(let fault): return .failure(failed(fault, request))
        case .success(let found): shown = found
        }
        let isLocal = trustsLoopback && Loopback.isOwn(request)
        guard let shown else { return .success(operatorPrincipal(of: request) ?? (isLocal ? .local : .anonymous)) }
        if APIKey.looksLikeOne(shown) { return issued(shown, request, current) }
        if let tokens, !isLocal || JWTAuthority.looksLikeToken(shown) {
            return checked(shown, tokens, request, current)
        }
        // Clients of the OpenAI routes can't be without a key: on this machine they may send any word.
        if isLocal { return .success(.local) }
        return .failure(failed(AuthenticationFault(.invalid, "it is no key of this host", isOurs: false), request))
    }

    /// One hash and one look into an immutable snapshot: a key that was revoked a moment ago is not in it.
    private func issued(_ text: String, _ request: HTTPRequest, _ current: RegistrySnapshot)
        -> Result<Principal, AuthenticationFault>
    {
        guard let hash = APIKey.hash(of: text) else {
            return .failure(
                AuthenticationFault(.unavailable, "the host is out of memory", retryAfterMilliseconds: 1000))
        }
        guard let found = current.keys[hash] else {
            let cause =
                APIKey(text) == nil ? "the key is cut or mistyped" : "the key was revoked, or is of another host"
            return .failure(failed(AuthenticationFault(.invalid, cause), request))
        }
        if found.record.expiresAt != nil, found.record.isExpired(WallClock.milliseconds) {
            return .failure(failed(AuthenticationFault(.invalid, "the key has expired"), request))
        }
        return .success(found.principal)
    }

    /// False when the request came by a host name of another tenant: there only that one's things are.
    func finds(_ tenant: String, by request: HTTPRequest) -> Bool {
        guard let tls, request.serverName != nil, let owner = tls.tenant(of: request) else { return true }
        return owner == tenant
    }

    /// Who is known by a certificate alone. A key that is shown with it says more exactly who asks.
    private func operatorPrincipal(of request: HTTPRequest) -> Principal? {
        guard let certificate = request.clientCertificate, let name = tls?.role(of: request),
            let role = Role(rawValue: name)
        else { return nil }
        return Principal(id: "cert:\(certificate.sha256)", tenant: nil, role: role)
    }

    private func checked(
        _ token: String, _ tokens: any TokenAuthority, _ request: HTTPRequest, _ current: RegistrySnapshot
    ) -> Result<Principal, AuthenticationFault> {
        switch tokens.authenticate(token, now: WallClock.milliseconds) {
        case .failure(let fault): return .failure(failed(fault, request))
        case .success(let principal):
            // An issuer knows names, not who was made here, or deleted.
            if let tenant = principal.tenant, current.tenants[tenant] == nil {
                return .failure(
                    failed(AuthenticationFault(.invalid, "the tenant of the token is not one of this host"), request))
            }
            return .success(principal)
        }
    }

    /// Takes a wrong credential down against its address.
    private func failed(_ fault: AuthenticationFault, _ request: HTTPRequest) -> AuthenticationFault {
        guard fault.kind == .invalid else { return fault }
        let (address, now) = (request.peer.address, MonotonicTime.now.milliseconds)
        let wait = attempts.withLock { $0.fail(address, now: now) ? 0 : max(1, $0.wait(address, now: now)) }
        guard wait == 0 else {
            return AuthenticationFault(
                .tooMany, "too many wrong credentials came from this address", isOurs: fault.isOurs,
                retryAfterMilliseconds: wait)
        }
        Log.info("a credential was refused", [("peer", "\(request.peer)"), ("cause", fault.cause)])
        return fault
    }

    // MARK: what was shown

    /// The one credential of a request; two different ones are none that anybody could mean.
    static func credential(_ headers: HTTPHeaders) -> Result<String?, AuthenticationFault> {
        var shown: String?
        var fault: AuthenticationFault?
        func take(_ token: String?) {
            if token == nil {
                fault = fault ?? noBearer
            } else if shown == nil {
                shown = token
            } else if shown != token {
                fault = fault ?? two
            }
        }
        headers.forEachValue(of: "x-api-key") { take($0.text) }
        headers.forEachValue(of: "authorization") { take(bearer($0)) }
        return fault.map { .failure($0) } ?? .success(shown)
    }

    private static let two = AuthenticationFault(.invalid, "the request shows two credentials")
    private static let noBearer = AuthenticationFault(
        .invalid, "Authorization is not `Bearer` and a credential", isOurs: false)

    /// By bytes, since nearly every request comes by.
    private static func bearer(_ value: RawSpan) -> String? {
        let scheme = "bearer " as StaticString
        guard value.byteCount > scheme.utf8CodeUnitCount else { return nil }
        // Letters differ from each other in one bit by case, and a space has that bit.
        for index in 0..<scheme.utf8CodeUnitCount {
            let byte = unsafe value.unsafeLoad(fromByteOffset: index, as: UInt8.self)
            guard unsafe byte | 0x20 == scheme.utf8Start[index] else { return nil }
        }
        let token = value.extracting(droppingFirst: scheme.utf8CodeUnitCount)
        return token.contains(UInt8(ascii: " ")) ? nil : token.text
    }
}

/// Whether a request comes from somebody at this machine, and not from elsewhere through a program that runs here.
enum Loopback {
    static func isOwn(_ request: HTTPRequest) -> Bool {
        guard request.peerIsLoopback, names(request.host) else { return false }
        let headers = request.headers
        // A proxy on this machine speaks for others.
        guard !headers.contains("forwarded"), !headers.contains("x-forwarded-for"), !headers.contains("via"),
            !headers.contains("x-real-ip")
        else { return false }
        // A page in a browser here was written by others.
        guard let origin = headers.first("origin") else { return headers.first("sec-fetch-site") != "cross-site" }
        let parts = origin.split(separator: "/", omittingEmptySubsequences: false)
        return parts.count == 3 && ["http:", "https:"].contains(parts[0]) && !parts[2].isEmpty
            && names(String(parts[2]))
    }

    /// A name that another's DNS can't point here (rebinding).
    private static func names(_ host: String) -> Bool {
        let name: Substring
        if host.hasPrefix("[") {
            name = host.prefix { $0 != "]" }.dropFirst()
        } else {
            name = host.prefix { $0 != ":" }
        }
        return name.isEmpty || name == "::1" || name.lowercased() == "localhost"
            || name.hasPrefix("127.") && isIPv4(name)
    }

    private static func isIPv4(_ name: Substring) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
    }
}
