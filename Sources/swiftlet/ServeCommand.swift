// swiftlet serve: the composition root; reads top to bottom as the start of a host.
internal import CLinux
internal import Core
internal import Gateway
internal import Glibc
internal import HTTP
internal import Inference
internal import Ledger
internal import Limits
internal import Platform
internal import PluginHost
internal import Registry
internal import Scheduler
internal import Vault
internal import Signing
internal import Workers

enum ServeCommand {
    static func run(_ arguments: Arguments) throws -> Int32 {
        let options = try ServeOptions(arguments)
        _ = clinux_ignore_sigpipe()
        raiseDescriptorLimit()
        try MasterKeys.hideMemory()
        let signals = FileDescriptor(
            owning: try unsafe check(clinux_signalfd([SIGTERM, SIGINT, SIGHUP], 3), "signalfd"))
        var listeners = try Listeners(options)
        let registry = try Registry(stateDirectory: options.state)
        // Before anything is written that another master key could not read.
        let vault = try MasterKeys.openVault(options)
        // Before root is dropped, because keys are root's to read; after the registry locked the directory.
        let tls = try options.tls.makeContext(state: options.state, listen: options.host)
        let firstKey = try FirstKey.make(registry)
        let auditing = try Auditing(options, firstLoop: options.loops + 3)
        let bounds = LimitControl(registry: registry, try LimitsFile.read(options.limits))
        let quotas = try Quotas(options, registry, bounds)
        let usage = try UsageLedger(stateDirectory: options.state, options: options.usage)
        let room = try PlainRoom.make(options)
        defer { PlainRoom.remove(room) }
        let store = try ArtefactStore(
            stateDirectory: options.state,
            sealed: SealedArtefacts(vault: vault, stateDirectory: options.state, room: room))
        store.sweep(keeping: registry.snapshot.digests)
        let trust = try TrustStore(stateDirectory: options.state, unsigned: options.unsigned)
        store.sealed?.sealEverything()
        try restamp(registry, store)
        let prefixFiles = try PrefixFiles(stateDirectory: options.state)
        try requireLayers(options)
        // Before the first thread, because it forks; before root is dropped, because it keeps it.
        let host = try WorkerHost(workerConfiguration(options))
        try dropPrivileges(options)
        // The change of user decides anew who may look.
        try MasterKeys.hideMemory()
        let tokens = try Tokens(options)

        let loops = try (0..<options.loops).map { index in try EventLoop(index: index) }
        let background = try EventLoop(index: options.loops)
        // Not the background's: a deployment that is checked there must not keep the watch waiting.
        let watching = try EventLoop(index: options.loops + 1)
        let (models, packets) = (loops[0], PacketBuffer())
        let devices = DeviceWatcher(loop: watching)
        // Of its own, because whoever waits for a prefix must not wait for a deployment.
        let disk = try EventLoop(index: options.loops + 2)
        let prefixes = PrefixStore(options.prefixes, loop: models, disk: disk.remote, files: prefixFiles)
        let inference = InferenceService(
            loop: models, quotas: try quotas.makeKeeper(), budget: options.modelBudget, prefixes: prefixes,
            responses: options.responses, usage: usage, logsAnswers: options.logsAnswers
        ) { [unowned models] spec, sink in
            if let cause = fault(of: spec, registry) {
                models.afterBatch {
                    sink(.failed(cause))
                    sink(.exited(cause))
                }
                return nil
            }
            return BackendWorker.start(
                spec.worker, host: host, loop: models, buffer: packets, watcher: devices, sink: sink)
        }
        let shared = GatewayShared(
            registry: registry, host: host,
            dispatcher: Dispatcher(
                host: host, control: loops[0].remote, restartRate: Double(options.restartRate),
                memoryBounds: { bounds.memoryBounds(of: $0) }),
            store: store, trust: trust, inference: inference, usage: usage,
            background: BackgroundQueue(background.remote), files: BackgroundQueue(disk.remote), vault: vault,
            authenticator: Authenticator(
                trustsLoopback: options.trustsLoopback, tokens: tokens?.authority, tls: tls?.context),
            audit: auditing.log, limits: bounds,
            tenantData: [SealedData(vault, inference), trust, UsageData(usage)],
            refreshPolicies: { quotas.apply(to: inference) })
        // Of its own, because a slow disk must hold nobody up but the ledger.
        let writing = try EventLoop(index: options.loops + 6)
        usage.start(on: writing)
        host.whenZygoteAges { [dispatcher = shared.dispatcher] workers in dispatcher.outdate(workers) }
        let drain = Drain(waiting: options.loops)
        var servers: [HTTPServer] = []
        var limits = HTTPLimits()
        // Each route has a bound of its own; a backend's artefact is the largest body there is.
        limits.bodyBytes = 9 << 30
        if let tls { limits.strictTransport = options.tls.strictTransport(tls.context.certificate) }
        for (loop, descriptor) in zip(loops, listeners.take()) {
            let server = HTTPServer(
                loop: loop, listenDescriptor: FileDescriptor(owning: descriptor), limits: limits, tls: tls?.context,
                service: Gateway(shared, loop: loop))
            try server.startAccepting()
            servers.append(server)
        }
        try host.attach(to: loops[0])
        let bound = zip(loops, servers).map { LoopBound($1, on: $0) }
        let watcher = SignalWatcher(signals.raw) { signal in
            if signal == SIGHUP {
                tls?.reload()
                LimitsFile.reload(options.limits, bounds)
                tokens?.reload()
                return quotas.reload(inference)
            }
            beginDrain(shared, bound, loops.map(\.remote), drain)
        }
        _ = try loops[0].add(signals.raw, events: EPOLLIN.rawValue, handler: watcher)
        try auditing.start(madeFirstKey: firstKey != nil)
        tls?.keepFresh(loops[0])
        shared.background.run { shared.finishDeletions() }
        announce(options, port: listeners.port, tls?.context.certificate, firstKey)

        var threads = try loops.dropFirst().map(Runner.init)
        threads.append(try Runner(background))
        threads.append(try Runner(watching))
        threads.append(try Runner(disk))
        if let tokens { threads.append(try Runner(tokens.loop)) }
        let ending = tokens?.ending
        threads.append(try Runner(writing))
        let remotes = loops.map(\.remote) + [background.remote, watching.remote, disk.remote, writing.remote]
        drain.onDone = {
            inference.close()
            ending?()
            for remote in remotes { remote.submit { $0.stop() } }
        }
        loops[0].run()
        for thread in threads { thread.join() }
        usage.close()
        auditing.finish()
        host.close()
        try vault.settle()
        return 0
    }

    /// Models whose files look changed are read whole once, so that a restored backup loads and what is not ours does not.
    private static func restamp(_ registry: Registry, _ store: ArtefactStore) throws {
        for (deployment, _) in registry.snapshot.modelVersions {
            let directory = "\(store.root(of: deployment.tenant))/\(deployment.directoryName)"
            let files = ArtefactCheck.restamped(in: directory, deployment.files)
            if files != deployment.files { try registry.restamp(deployment, files: files) }
            if let cause = ArtefactCheck.fault(in: directory, files) {
                Log.error("a model can't be loaded", [("model", deployment.name), ("cause", cause)])
            }
        }
    }

    /// Why a version must not be loaded: a file of it is not the one that was deployed.
    private static func fault(of spec: ModelSpec, _ registry: Registry) -> String? {
        let versions = registry.snapshot.modelVersions
        guard
            let own = versions.first(where: {
                $0.deployment.name == spec.name && $0.deployment.digest == spec.worker.directory
            })
        else { return nil }
        return ArtefactCheck.fault(in: "\(spec.worker.root)/\(spec.worker.directory)", own.deployment.files)
    }

    private static func workerConfiguration(_ options: ServeOptions) -> WorkerHostConfiguration {
        let installation = Installation.current
        var configuration = WorkerHostConfiguration(
            zygotePath: installation.zygote, kitPath: installation.kit, swiftRuntimePath: installation.swiftRuntime)
        configuration.rehearsalPath = installation.rehearsal
        configuration.spareZygotes = options.zygotes
        configuration.zygoteLifeMilliseconds = UInt64(options.zygoteLifeSeconds) * 1000
        if let layers = options.withoutLayers {
            configuration.withoutLayers = layers
            Log.error(
                "--sandbox-without: tenants are NOT fully confined; this is for tests, never for code you don't trust",
                [("without", layers)])
        }
        return configuration
    }

    /// Refuses to serve where a layer is missing that the operator insists on.
    private static func requireLayers(_ options: ServeOptions) throws {
        guard let required = options.requiredLayers else { return }
        var words = ["layers", "--require", required]
        if let without = options.withoutLayers { words += ["--without", without] }
        let (status, output) = try Subprocess.run(Installation.current.zygote, words)
        guard status != 0 else { return }
        guard status == 1 else { throw UsageError(text: "--require-layers \(required): \(output)") }
        let names = Set(required.split(separator: ",").map(String.init))
        let missing = output.split(separator: "\n").filter { $0.hasPrefix("NO ") }.map {
            $0.drop { !$0.isWhitespace }.drop(while: \.isWhitespace)
        }
        .filter { line in required == "all" || names.contains { line.hasPrefix($0 + " ") } }
        throw RuntimeError(
            .unavailable, step: "check the sandbox (--require-layers \(required))",
            cause: "this machine does not give: " + missing.joined(separator: "; "),
            next: "do what each line says, or require fewer layers; `swiftlet doctor` shows all of them")
    }

    /// Connections and workers take descriptors; the soft limit is a default for programs that use select.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    private static func dropPrivileges(_ options: ServeOptions) throws {
        guard geteuid() == 0 else { return }
        try giveAway(options.state, to: options.uid)
        try check(clinux_drop_privileges(options.uid, options.uid), "become user \(options.uid)")
        guard unsafe access(options.state, W_OK) == 0 else {
            throw RuntimeError(
                .unavailable, step: "use \(options.state) as user \(options.uid)", cause: SystemError.text(of: errno),
                next: "choose a state directory that every user may pass through, such as /var/lib/swiftlet")
        }
    }

    /// The state belongs to the user that the host becomes.
    private static func giveAway(_ path: String, to uid: UInt32) throws {
        try libc("lchown(\(path))") { unsafe lchown(path, uid, uid) }
        guard let listing = unsafe opendir(path) else { return }
        defer { unsafe closedir(listing) }
        while let entry = unsafe readdir(listing) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            guard name != ".", name != ".." else { continue }
            let isDirectory = unsafe entry.pointee.d_type == UInt8(DT_DIR)
            if isDirectory {
                try giveAway("\(path)/\(name)", to: uid)
            } else {
                _ = unsafe lchown("\(path)/\(name)", uid, uid)
            }
        }
    }

    private static func beginDrain(
        _ shared: GatewayShared, _ servers: [LoopBound<HTTPServer>], _ loops: [LoopRemote], _ drain: Drain
    ) {
        guard !shared.isDraining else { return }
        shared.beginDraining()
        for (server, loop) in zip(servers, loops) {
            loop.submit { loop in
                server.value.drain(deadline: loop.now.adding(milliseconds: 30_000)) { drain.finishOne() }
            }
        }
    }

    /// - Parameter firstKey: shown here and nowhere else.
    private static func announce(
        _ options: ServeOptions, port: UInt16, _ certificate: TLSCertificate?, _ firstKey: String?
    ) {
        let address = options.host.contains(":") ? "[\(options.host)]:\(port)" : "\(options.host):\(port)"
        let scheme = certificate == nil ? "http" : "https"
        if options.json {
            let tls = certificate.map { ",\"tls\":\($0.json)" } ?? ""
            let key = firstKey.map { ",\"admin_key\":\"\($0)\"" } ?? ""
            Output.line(
                "{\"address\":\"\(address)\",\"url\":\"\(scheme)://\(address)\",\"pid\":\(getpid())\(key)\(tls)}")
        } else {
            Output.line("swiftlet serves \(scheme)://\(address) (state in \(options.state))")
            if let certificate { Output.line(certificate.lines) }
            guard let firstKey else { return }
            Output.line(
                "the key of the platform's admin, shown this once: \(firstKey)\n"
                    + "callers from elsewhere need a key: `export SWIFTLET_KEY=…`, then `swiftlet key create --tenant NAME`"
            )
        }
    }
}

/// A loop on a thread of its own, until it stops.
private final class Runner {
    private var thread: LoopThread?

    init(_ loop: EventLoop) throws {
        // SAFETY: the loop is touched by its own thread alone once that runs; nobody else keeps it.
        nonisolated(unsafe) let loop = loop
        thread = try LoopThread { unsafe loop.run() }
    }

    func join() { thread.take()?.join() }
}

/// Hands signals to the loop.
private final class SignalWatcher: EventHandler {
    private let descriptor: CInt
    private let received: (_ signal: CInt) -> Void

    init(_ descriptor: CInt, received: @escaping (_ signal: CInt) -> Void) {
        self.descriptor = descriptor
        self.received = received
    }

    func handle(events: UInt32) {
        let signal = clinux_signalfd_next(descriptor)
        if signal != 0 { received(signal) }
    }
}
