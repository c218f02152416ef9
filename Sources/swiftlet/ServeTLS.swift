// What `swiftlet serve` was asked about TLS, and the context that comes of it.
internal import Core
internal import FoundationEssentials
internal import Glibc
internal import HTTP
internal import Platform

struct TLSOptions {
    enum Source {
        /// Plain HTTP.
        case none
        /// Made by the host itself.
        case selfSigned
        /// PEM files.
        case files(certificate: String, key: String)
    }

    static let names = [
        "--tls", "--tls-cert", "--tls-key", "--tls-hosts", "--tls-client-ca", "--tls-client-crl", "--tls-operators",
        "--tls-hsts",
    ]

    let source: Source
    /// `--tls off` where everybody on the way can read along.
    let isExposed: Bool
    private let hosts: String?
    private let clientAuthorities: String?
    private let clientRevocations: String?
    private let operators: String?
    /// Seconds.
    private let strictTransport: Int?

    /// - Parameter listen: the numeric address that is listened on.
    init(_ arguments: Arguments, listen: String) throws {
        hosts = arguments.value("--tls-hosts")
        clientAuthorities = arguments.value("--tls-client-ca")
        clientRevocations = arguments.value("--tls-client-crl")
        operators = arguments.value("--tls-operators")
        strictTransport = try arguments.number("--tls-hsts", in: 0...63_072_000)
        let isLoopback = Self.isLoopback(listen)
        let files: Source? =
            switch (arguments.value("--tls-cert"), arguments.value("--tls-key")) {
            case (let certificate?, let key?): .files(certificate: certificate, key: key)
            case (nil, nil): nil
            default: throw UsageError(text: "--tls-cert and --tls-key go together")
            }
        switch (arguments.value("--tls") ?? "auto", files) {
        case ("auto", let files?): source = files
        case ("auto", nil): source = isLoopback ? .none : .selfSigned
        case ("self", nil): source = .selfSigned
        case ("off", nil): source = .none
        case ("self", _?), ("off", _?):
            throw UsageError(text: "--tls-cert brings a certificate of your own: leave --tls out, or say --tls auto")
        case (let word, _): throw UsageError(text: "--tls takes auto, self or off, not \(word)")
        }
        isExposed = arguments.value("--tls") == "off" && !isLoopback
        try checkCombination()
    }

    private func checkCombination() throws {
        let given = [
            ("--tls-hosts", hosts), ("--tls-client-ca", clientAuthorities), ("--tls-client-crl", clientRevocations),
            ("--tls-operators", operators), ("--tls-hsts", strictTransport.map { "\($0)" }),
        ].filter { $0.1 != nil }.map(\.0)
        if case .none = source, let first = given.first {
            throw UsageError(
                text: "\(first) is for TLS, which is off here: add --tls self, or --tls-cert and --tls-key")
        }
        guard clientAuthorities == nil,
            let orphan = given.first(where: { $0 == "--tls-client-crl" || $0 == "--tls-operators" })
        else { return }
        throw UsageError(text: "\(orphan) needs --tls-client-ca: without it nobody is asked for a certificate")
    }

    private static func isLoopback(_ address: String) -> Bool {
        address.hasPrefix("127.") || address == "::1" || address.hasPrefix("::ffff:127.")
    }

    /// Nil serves plain HTTP. Before root is dropped: keys are root's to read.
    func makeContext(state: String, listen: String) throws -> ServedTLS? {
        if isExposed {
            Log.error(
                "--tls off: requests, keys and answers cross the network in the clear, for everybody on the way to read and change",
                [("listen", listen)])
        }
        let own: SelfSigned?
        switch source {
        case .none: return nil
        case .selfSigned: own = SelfSigned(directory: "\(state)/tls", names: Self.ownNames(listen))
        case .files: own = nil
        }
        let served: ServedTLS
        do {
            if let own { try ServedTLS.ensure(own) }
            served = ServedTLS(context: try TLSContext { [self] in try settings(own) }, own: own)
        } catch let error as RuntimeError {
            throw error
        } catch {
            throw RuntimeError(
                .unavailable, step: "load the certificate", cause: "\(error)",
                next: "give PEM files: --tls-cert takes the chain with the server's certificate first")
        }
        return served
    }

    /// Asked at the start and at each SIGHUP.
    private func settings(_ own: SelfSigned?) throws -> TLSSettings {
        var settings: TLSSettings
        switch source {
        case .files(let certificate, let key): settings = TLSSettings(certificate: certificate, key: key)
        case .selfSigned, .none: settings = TLSSettings(certificate: own?.pair ?? "", key: own?.pair ?? "")
        }
        settings.clientAuthorities = clientAuthorities
        settings.clientRevocations = clientRevocations
        if let hosts { settings.hosts = try TLSFiles.hosts(hosts) }
        if let operators { settings.operators = try TLSFiles.operators(operators) }
        return settings
    }

    /// How clients may call this machine.
    private static func ownNames(_ listen: String) -> [String] {
        var text = [CChar](repeating: 0, count: 256)
        _ = unsafe gethostname(&text, text.count - 1)
        let host = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self).lowercased()
        var names = TLSHost.isName(host) && !host.hasPrefix("*") ? [host] : []
        for name in ["localhost", listen, "127.0.0.1", "::1"]
        where !names.contains(name) && !["0.0.0.0", "::"].contains(name) {
            names.append(name)
        }
        return names
    }

    /// How long browsers shall come by TLS only.
    func strictTransport(_ certificate: TLSCertificate) -> Int {
        // A browser that was told so lets nobody past its warning of a certificate that no authority signed.
        guard !certificate.isSelfSigned else {
            if strictTransport != nil {
                Log.error(
                    "--tls-hsts: not sent, because the certificate is self-signed and browsers could not get past it")
            }
            return 0
        }
        return strictTransport ?? 86_400
    }
}

/// TLS as it is served; the certificate of the host's own making is kept fresh.
struct ServedTLS: Sendable {
    let context: TLSContext
    fileprivate let own: SelfSigned?

    fileprivate static func ensure(_ own: SelfSigned) throws {
        guard let reason = try own.ensure() else { return }
        Log.info("TLS: a self-signed certificate was made", [("because", reason), ("file", own.certificate)])
    }

    /// SIGHUP: what the files hold now is served from now on; when one of them can't be used nothing changes.
    func reload() {
        do {
            if let own { try Self.ensure(own) }
            try context.reload()
            Log.info("SIGHUP: the certificate was read again", [("fingerprint", context.certificate.fingerprint)])
        } catch {
            Log.error("SIGHUP: the old certificate stays in use", [("cause", "\(error)")])
        }
    }

    /// Looks twice a day whether the host's own certificate is near its end.
    func keepFresh(_ loop: EventLoop) {
        guard let own else { return }
        loop.schedule(at: loop.now.adding(milliseconds: 12 * 3_600_000)) { [unowned loop] in
            do {
                if let reason = try own.ensure() {
                    try context.reload()
                    Log.info("TLS: the certificate was renewed", [("because", reason)])
                }
            } catch {
                Log.error("TLS: the certificate can't be renewed; the old one stays in use", [("cause", "\(error)")])
            }
            keepFresh(loop)
        }
    }
}

extension TLSCertificate {
    /// `2028-03-01`
    private var lastDay: String {
        let date = Date(timeIntervalSince1970: TimeInterval(expires))
        return String(date.ISO8601Format().prefix(10))
    }

    /// For the line of JSON that says that the host is ready.
    var json: String {
        "{\"fingerprint\":\"\(fingerprint)\",\"pin\":\"\(pin)\",\"self_signed\":\(isSelfSigned),\"expires\":\"\(lastDay)\"}"
    }

    /// For people.
    var lines: String {
        let kind = isSelfSigned ? "self-signed certificate" : "certificate"
        return "  \(kind) until \(lastDay), SHA-256 \(fingerprint)\n"
            + "  clients of it: SWIFTLET_FINGERPRINT=\(pin)"
    }
}
