// What a TLS server shows and whom it trusts: all of it is read together, and renewed together or not at all.
internal import CLinux
internal import COpenSSL
internal import Synchronization

/// Why a certificate can't be served.
package struct TLSError: Error, CustomStringConvertible {
    package let description: String
}

/// Paths of PEM files, and what names in certificates mean.
package struct TLSSettings: Sendable {
    /// The chain with the server's certificate first, and its key.
    package var certificate: String
    package var key: String
    /// Other certificates, by the name that a client asks for.
    package var hosts: [TLSHost] = []
    /// Authorities whose certificates operators may show; nil asks nobody for one.
    package var clientAuthorities: String?
    package var clientRevocations: String?
    /// Roles by `ClientCertificate.names`.
    package var operators: [String: String] = [:]

    package init(certificate: String, key: String) {
        self.certificate = certificate
        self.key = key
    }
}

/// A certificate, its key, and whom they serve; shared by all loops.
package final class TLSContext: Sendable {
    private let settings: @Sendable () throws -> TLSSettings
    private let current: Mutex<TLSGeneration>

    /// Reads PEM files: the chain with the server's certificate first, and its key.
    package convenience init(certificate: String, key: String) throws {
        try self.init { TLSSettings(certificate: certificate, key: key) }
    }

    /// - Parameter settings: is asked now, and again at each reload.
    package init(_ settings: @escaping @Sendable () throws -> TLSSettings) throws {
        self.settings = settings
        current = Mutex(try TLSGeneration(settings()))
        // OpenSSL writes without MSG_NOSIGNAL: a client that left would end the process.
        _ = clinux_ignore_sigpipe()
    }

    /// Reads everything again. Connections that are open keep what they began with; when it fails, so do new ones.
    package func reload() throws {
        let fresh = try TLSGeneration(settings())
        current.withLock { $0 = fresh }
    }

    /// What there is to know of the certificate for clients that name no other.
    package var certificate: TLSCertificate { current.withLock { $0 }.certificate }

    /// The tenant whose host name this request was sent to, certificate and Host alike.
    package func tenant(of request: HTTPRequest) -> String? {
        guard let name = request.serverName, name == request.hostName else { return nil }
        return current.withLock { $0 }.tenants[name]
    }

    /// What the operators file says, now, of the certificate that the client showed.
    package func role(of request: HTTPRequest) -> String? {
        guard let certificate = request.clientCertificate else { return nil }
        let operators = current.withLock { $0 }.operators
        return certificate.names.lazy.compactMap { operators[$0] }.first
    }

    func accept(_ socket: CInt) -> TLSSession? { current.withLock { $0 }.accept(socket) }
}

/// One reading of the files. Sessions keep theirs.
// SAFETY: OpenSSL counts references to a context atomically, and neither contexts nor names change after they were made.
@safe final class TLSGeneration: @unchecked Sendable {
    let certificate: TLSCertificate
    let tenants: TenantHosts
    let operators: [String: String]
    private let context: TLSHandle
    private let names: OpaquePointer

    init(_ settings: TLSSettings) throws(TLSError) {
        let clients = (settings.clientAuthorities, settings.clientRevocations)
        context = try TLSHandle(certificate: settings.certificate, key: settings.key, clients: clients)
        certificate = try context.facts(of: settings.certificate)
        tenants = TenantHosts(settings.hosts)
        operators = settings.operators
        guard let names = unsafe copenssl_names_create(settings.hosts.count) else {
            throw TLSError(description: "TLS: out of memory for \(settings.hosts.count) host names")
        }
        unsafe self.names = names
        for host in settings.hosts {
            let own = try TLSHandle(certificate: host.certificate, key: host.key, clients: clients)
            guard unsafe copenssl_names_add(names, host.name, own.raw) else {
                throw TLSError(description: "TLS: out of memory for the host name \(host.name)")
            }
        }
        unsafe copenssl_names_use(names, context.raw)
    }

    deinit { unsafe copenssl_names_free(names) }

    func accept(_ socket: CInt) -> TLSSession? {
        guard let raw = unsafe copenssl_accept(context.raw, socket) else { return nil }
        return unsafe TLSSession(raw, self)
    }
}

/// A context of OpenSSL's.
// SAFETY: as for TLSGeneration.
@safe final class TLSHandle: @unchecked Sendable {
    let raw: OpaquePointer

    init(certificate: String, key: String, clients: (authorities: String?, revocations: String?)) throws(TLSError) {
        var problem = ""
        let made = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 320) { words -> OpaquePointer? in
            guard let start = words.baseAddress else { return nil }
            let context = unsafe copenssl_server_context(
                certificate, key, clients.authorities, clients.revocations, start, words.count)
            if unsafe context == nil { problem = unsafe String(cString: start) }
            return unsafe context
        }
        guard let made = unsafe made else {
            let others = [clients.authorities, clients.revocations].compactMap { $0 }.map { ", clients' \($0)" }
            let files = "certificate \(certificate), key \(key)\(others.joined())"
            throw TLSError(description: "\(problem) (\(files)): check that all are readable PEM files")
        }
        unsafe raw = made
    }

    deinit { unsafe copenssl_context_free(raw) }

    func covers(_ name: String) -> Bool { unsafe copenssl_covers(raw, name) }
}
