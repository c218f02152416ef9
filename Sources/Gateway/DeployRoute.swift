// POST /admin/v1/deployments/{tenant}[/{name}]: takes an archive to disk, checks it off the loop, and publishes it.
internal import Audit
internal import Core
internal import Glibc
internal import HTTP
internal import Inference
internal import Platform
internal import PluginHost
internal import Registry
internal import Scheduler
internal import Signing
internal import Workers

extension Gateway {
    func deploy(_ exchange: HTTPExchange, tenant: String, name: String?, requestID: String) {
        if let refusal = mayDeploy(exchange, tenant: tenant, name: name) ?? shared.audit.refusal {
            let match = RouteMatch(route: exchange.caller.route, names: ["tenant": tenant])
            return refusal.httpStatus == 403
                ? refuse(exchange, match, refusal, requestID: requestID)
                : answer(exchange, refusal, requestID: requestID)
        }
        let limit = PluginAdmission.largestArchive(of: tenant)
        if let length = exchange.request.contentLength, length > limit {
            return answer(exchange, Self.tooLarge(limit), requestID: requestID)
        }
        let path = shared.store.uploadPath(named: "upload-\(shared.requestIDs.number()).tar", tenant: tenant)
        do {
            let upload = Upload(try FileDescriptor.open(path, flags: O_WRONLY | O_CREAT | O_EXCL), path: path)
            exchange.onClose = { upload.discard() }
            let own = LoopBound((self, exchange), on: loop)
            var received: UInt64 = 0
            exchange.onBody = { bytes, isEnd in
                let (gateway, exchange) = own.value
                received += UInt64(bytes.byteCount)
                guard received <= limit else {
                    upload.discard()
                    return gateway.answer(exchange, Self.tooLarge(limit), requestID: requestID)
                }
                upload.write(bytes)
                guard isEnd else { return }
                exchange.onClose = nil
                gateway.admit(exchange, upload: upload, tenant: tenant, name: name, requestID: requestID)
            }
        } catch {
            answer(exchange, Self.storageError("open(\(path))", "\(error)"), requestID: requestID)
        }
    }

    /// Said before the upload; what the archive's manifest says is checked after it.
    private func mayDeploy(_ exchange: HTTPExchange, tenant: String, name: String?) -> RuntimeError? {
        do throws(RuntimeError) {
            if tenant != Deployment.platform { try Tenant.validate(tenant) }
            guard shared.registry.snapshot.isServed(tenant) else { throw Self.isSuspended(tenant) }
            let principal = exchange.caller.principal
            try checkUpload(exchange, tenant, name)
            // A key for some functions says which one it brings.
            guard name.map(principal.mayTouch) ?? (principal.functions == nil) else {
                throw Authorization.forbidden(.deploy, principal, tenant)
            }
            return nil
        } catch {
            return error
        }
    }

    private func admit(_ exchange: HTTPExchange, upload: Upload, tenant: String, name: String?, requestID: String) {
        if let failure = upload.failure {
            upload.discard()
            return answer(exchange, Self.storageError("write the upload", failure), requestID: requestID)
        }
        let path = upload.path
        change(exchange, requestID, status: 201) { shared throws(RuntimeError) in
            defer { _ = unsafe unlink(path) }
            return try Self.publish(path, tenant: tenant, name: name, shared).described
        }
    }

    /// Blocks: files are written and a worker is asked.
    private static func publish(_ path: String, tenant: String, name: String?, _ shared: GatewayShared)
        throws(RuntimeError) -> Admission
    {
        // It may have changed while the archive came, or waited behind others.
        guard shared.registry.snapshot.isServed(tenant) else { throw isSuspended(tenant) }
        let probe = PluginProbe(host: shared.host)
        let inUse = shared.registry.snapshot.digests[tenant] ?? []
        let admission = try PluginAdmission(store: shared.store).admit(
            archive: path, tenant: tenant, name: name, trust: shared.trust.trust(of: tenant), inUse: inUse.contains
        ) { (deployment, root) throws(RuntimeError) in
            // Said now, not to whoever calls the model first. The probe itself gets no device.
            _ = try deployment.manifest.device?.nodes(for: deployment.key)
            try checkBudget(deployment, shared)
            try probe.check(deployment, root: root)
        }
        let deployment = admission.deployment
        do throws(RuntimeError) {
            try checkStorage(deployment, shared)
        } catch {
            if !inUse.contains(deployment.digest) { shared.store.remove(tenant: tenant, digest: deployment.digest) }
            throw error
        }
        if let warning = admission.warning {
            Log.error(
                "an artefact without a trusted signature was deployed",
                [("function", "\(deployment.key)"), ("digest", deployment.digest), ("cause", warning)])
        }
        try shared.registry.publish(deployment)
        shared.refreshModels()
        shared.dispatcher.outdate { $0.key == deployment.key && $0.directory != deployment.directoryName }
        return admission
    }

    private static func checkStorage(_ deployment: Deployment, _ shared: GatewayShared) throws(RuntimeError) {
        guard let room = shared.limits.storageLeft(of: deployment.tenant, without: deployment.key),
            deployment.storedBytes > room.left
        else { return }
        throw noRoom(deployment.storedBytes, deployment.tenant, room, shared)
    }

    /// What can't fit, whatever it replaces, is not taken in.
    private func checkUpload(_ exchange: HTTPExchange, _ tenant: String, _ name: String?) throws(RuntimeError) {
        guard let length = exchange.request.contentLength,
            let room = shared.limits.storageLeft(
                of: tenant, without: name.map { FunctionKey(tenant: tenant, name: $0) })
        else { return }
        // Heads and padding of an archive are not stored.
        let padding: UInt64 = 1 << 20
        guard length > (name == nil ? room.most : room.left) + padding else { return }
        throw Self.noRoom(length, tenant, room, shared)
    }

    static func noRoom(
        _ bytes: UInt64, _ tenant: String, _ room: (level: LimitLevel, most: UInt64, left: UInt64),
        _ shared: GatewayShared
    ) -> RuntimeError {
        let hit = LimitHit(room.level, .storage)
        shared.limits.count(hit)
        return RuntimeError(
            .insufficientStorage, step: "limit storage_mb",
            cause:
                "it takes \(mebibytes(bytes)) MiB, and \(mebibytes(room.left)) of the \(mebibytes(room.most)) MiB that the "
                + (room.level == .tenant ? "tenant \(tenant)" : "platform") + " may store are left",
            next: "remove functions with `swiftlet rm`, or ask \(owner(room.level)) for more", limit: hit)
    }

    private static func checkBudget(_ deployment: Deployment, _ shared: GatewayShared) throws(RuntimeError) {
        guard deployment.kind == .backend else { return }
        let budget = ModelBudget(limits: shared.inference.memory.limits)
        guard let cause = budget.impossible(ModelSpec(deployment, root: "").memoryNeed) else { return }
        throw RuntimeError(
            .conflict, step: "deploy \(deployment.key)", cause: cause, next: "or lower the limit in its manifest")
    }

    private static func tooLarge(_ limit: UInt64) -> RuntimeError {
        RuntimeError(
            .payloadTooLarge, step: "read the artefact", cause: "it is larger than \(limit) bytes",
            next: "deploy less: data may come with a request, or lie in a model")
    }

    static func storageError(_ step: String, _ cause: String) -> RuntimeError {
        RuntimeError(
            .insufficientStorage, step: step, cause: cause,
            next: "free space in the state directory, or choose another with --state")
    }
}

/// A file that an upload goes to.
final class Upload {
    let path: String
    private(set) var failure: String?
    private let file: FileDescriptor

    init(_ file: consuming FileDescriptor, path: String) {
        self.file = file
        self.path = path
    }

    func write(_ bytes: RawSpan) {
        guard failure == nil else { return }
        do throws(SystemError) { try file.write(bytes, path) } catch { failure = SystemError.text(of: error.code) }
    }

    func discard() { _ = unsafe unlink(path) }
}
