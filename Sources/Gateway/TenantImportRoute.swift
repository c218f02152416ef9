// POST /admin/v1/tenants/import[?as=NAME]: takes an export apart while it comes, one function at a time.
internal import Audit
internal import Core
internal import Glibc
internal import HTTP
internal import Platform
internal import PluginHost
internal import Transfer

extension Gateway {
    func importTenant(_ exchange: HTTPExchange, _ match: RouteMatch, requestID: String) {
        let principal = exchange.caller.principal
        // Keys come with it that may do more than one for some functions or models.
        guard principal.functions == nil, principal.models == nil else {
            return refuse(exchange, match, Authorization.forbidden(match.route, principal, nil), requestID: requestID)
        }
        do throws(RuntimeError) {
            if let refusal = shared.audit.refusal { throw refusal }
            let name = try Self.wantedName(exchange.request.query)
            if let name { try shared.requireFreeName(name) }
            if let length = exchange.request.contentLength, length > TenantExport.largestArchive {
                throw RuntimeError(
                    .payloadTooLarge, step: "read the export",
                    cause: "it is larger than \(TenantExport.largestArchive) bytes",
                    next: "remove functions before the export, and deploy them anew")
            }
            ImportReceiver(self, exchange, as: name, requestID).start()
        } catch {
            change(exchange, requestID) { _ throws(RuntimeError) in throw error }
        }
    }

    private static func wantedName(_ query: String) throws(RuntimeError) -> String? {
        guard !query.isEmpty else { return nil }
        guard query.hasPrefix("as="), !query.contains("&") else {
            throw RuntimeError(
                .badRequest, step: "import a tenant", cause: "\(Names.quoted(query)) is no parameter of this route",
                next: "use ?as=NAME, or none to keep the name")
        }
        let name = String(query.dropFirst(3))
        try Tenant.validate(name)
        return name
    }
}

/// Reads the body on its loop and has each file of it judged in the background, while the client waits. Lives until its
/// exchange is over.
private final class ImportReceiver {
    private let gateway: Gateway
    private let exchange: HTTPExchange
    private let requestID: String
    private let name: String?
    private let act: AuditEvent
    private let staged: StagedTenant
    private var feed = ArchiveFeed()
    /// The first file, while it comes.
    private var head: [UInt8] = []
    /// Nil until the first file was read.
    private var export: TenantExport?
    private var upload: Upload?
    private var arrived = 0
    private var isBusy = false
    private var isOver = false
    private var hasEnded = false

    init(_ gateway: Gateway, _ exchange: HTTPExchange, as name: String?, _ requestID: String) {
        self.gateway = gateway
        self.exchange = exchange
        self.requestID = requestID
        self.name = name
        act = gateway.act(exchange)
        staged = StagedTenant(gateway.shared)
    }

    func start() {
        exchange.onClose = { self.clientLeft() }
        exchange.onBody = { bytes, isEnd in
            guard !self.isOver else { return }
            self.feed.append(bytes)
            self.hasEnded = isEnd
            self.pump()
        }
    }

    private func pump() {
        do throws(RuntimeError) {
            while !isBusy, !isOver {
                switch try feed.next() {
                case .file(let name, let size): try open(name, size)
                case .bytes(let bytes): try take(bytes)
                case .fileEnd: close()
                case .wanting:
                    guard hasEnded else { return exchange.resumeBody() }
                    return try conclude()
                }
            }
        } catch {
            fail(error)
        }
    }

    private func open(_ file: String, _ size: UInt64) throws(RuntimeError) {
        guard let export else {
            guard file == TenantExport.file, size <= UInt64(TenantExport.largest) else {
                throw ArchiveFeed.refusal(
                    "it begins with \(file) of \(size) bytes, not with \(TenantExport.file) of at most \(TenantExport.largest)"
                )
            }
            return
        }
        guard arrived < export.functions.count else {
            throw ArchiveFeed.refusal("it holds \(file), which it doesn't list")
        }
        let expected = export.functions[arrived]
        guard file == expected.archive, size == expected.bytes else {
            throw ArchiveFeed.refusal(
                "it holds \(file) of \(size) bytes where \(expected.archive) of \(expected.bytes) bytes should be")
        }
        let path = gateway.shared.store.uploadPath(
            named: "import-\(gateway.shared.requestIDs.number()).tar", tenant: export.tenant.name)
        do {
            upload = Upload(try FileDescriptor.open(path, flags: O_WRONLY | O_CREAT | O_EXCL), path: path)
        } catch {
            throw Gateway.storageError("open(\(path))", "\(error)")
        }
    }

    private func take(_ bytes: [UInt8]) throws(RuntimeError) {
        guard let upload else { return head += bytes }
        unsafe upload.write(bytes.span.bytes)
        if let failure = upload.failure { throw Gateway.storageError("write the upload", failure) }
    }

    /// A file is complete: nothing more is read until it was judged.
    private func close() {
        if let upload {
            self.upload = nil
            arrived += 1
            let path = upload.path
            run { staged throws(RuntimeError) in
                defer { _ = unsafe unlink(path) }
                try staged.admit(path)
                return nil
            }
        } else {
            let (bytes, name) = (head, name)
            head = []
            run { staged throws(RuntimeError) in try staged.begin(bytes, as: name) }
        }
    }

    private func run(_ work: @escaping @Sendable (StagedTenant) throws(RuntimeError) -> TenantExport?) {
        isBusy = true
        exchange.pauseBody()
        let own = LoopBound(self, on: exchange.loop)
        let remote = exchange.loop.remote
        gateway.shared.background.run { [staged] in
            let result = Result { () throws(RuntimeError) in try work(staged) }
            remote.submit { _ in own.value.judged(result) }
        }
    }

    private func judged(_ result: Result<TenantExport?, RuntimeError>) {
        isBusy = false
        guard !isOver else { return }
        switch result {
        case .success(let read):
            if let read { export = read }
            pump()
        case .failure(let error): fail(error)
        }
    }

    // MARK: the end

    private func conclude() throws(RuntimeError) {
        guard feed.isComplete else { throw ArchiveFeed.refusal("it is cut: the end is missing") }
        guard let export, arrived == export.functions.count else {
            throw ArchiveFeed.refusal("functions that it lists are missing")
        }
        isOver = true
        exchange.onClose = nil
        gateway.change(exchange, requestID, status: 201) { [staged] _ throws(RuntimeError) in
            do throws(RuntimeError) {
                return try staged.finish()
            } catch {
                staged.abandon("\(error)")
                throw error
            }
        }
        // Does nothing, unless the audit log let nothing be done.
        abandon("it could not be finished")
    }

    private func fail(_ error: RuntimeError) {
        isOver = true
        exchange.onClose = nil
        upload?.discard()
        abandon("\(error)")
        gateway.change(exchange, requestID) { _ throws(RuntimeError) in throw error }
    }

    private func clientLeft() {
        isOver = true
        upload?.discard()
        abandon("the client left")
        let gone = RuntimeError(.badRequest, step: "import a tenant", cause: "the client left", next: "")
        gateway.shared.audit.record(act.answered(.failure(gone), status: 400)) { _ in }
    }

    /// Behind everything that was asked of the background before.
    private func abandon(_ cause: String) {
        gateway.shared.background.run { [staged] in staged.abandon(cause) }
    }
}
