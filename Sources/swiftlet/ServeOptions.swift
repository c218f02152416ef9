// What `swiftlet serve` was asked, checked; and the sockets it listens on.
internal import CLinux
internal import Core
internal import Glibc
internal import HTTP
internal import Inference
internal import Ledger
internal import Platform
internal import Signing
internal import Synchronization

struct ServeOptions {
    let host: String
    let port: UInt16
    let state: String
    let loops: Int
    let zygotes: Int
    let zygoteLifeSeconds: Int
    let restartRate: Int
    let uid: UInt32
    let json: Bool
    /// Layers of the sandbox to leave out, as the forker names them; tests prove with it that the others hold.
    let withoutLayers: String?
    /// Layers of the sandbox without which it must not start.
    let requiredLayers: String?
    let tls: TLSOptions
    /// What the memory limits of loaded models may add up to, here and on each device.
    let modelBudget: ModelBudget.Limits
    /// The file of tenants' quotas and weights.
    let tenants: String?
    /// The file of the platform's limits.
    let limits: String?
    let masterKeyFile: String?
    /// The file of issuers whose tokens are good here.
    let jwt: String?
    let prefixes: PrefixStore.Options
    let responses: ResponseCacheLimits
    let logsAnswers: Bool
    /// What becomes of artefacts without a trusted signature.
    let unsigned: UnsignedPolicy
    /// Days after which entries of the audit log go to its archive; nil: never.
    let auditDays: Int?
    /// False: callers on this machine need a key like everybody else.
    let trustsLoopback: Bool
    let usage: UsageLedger.Options

    init(_ arguments: Arguments) throws {
        let listen = arguments.value("--listen") ?? "127.0.0.1:8080"
        guard let colon = listen.lastIndex(of: ":"), let port = UInt16(listen[listen.index(after: colon)...]) else {
            throw UsageError(text: "--listen takes HOST:PORT, not \(listen)")
        }
        host = String(listen[..<colon]).replacing("[", with: "").replacing("]", with: "")
        self.port = port
        state = try Self.absolute(arguments.value("--state") ?? "state")
        loops = try arguments.number("--loops", in: 1...64) ?? max(1, min(64, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        zygotes = try arguments.number("--zygotes", in: 0...64) ?? 1
        zygoteLifeSeconds = try arguments.number("--zygote-life", in: 1...86_400) ?? 600
        restartRate = try arguments.number("--restart-rate", in: 0...1_000_000) ?? 10
        uid = UInt32(try arguments.number("--uid", in: 1...2_000_000_000) ?? 59_990)
        json = arguments.has("--json")
        withoutLayers = arguments.value("--sandbox-without")
        requiredLayers = arguments.value("--require-layers")
        modelBudget = ModelBudget.Limits(
            memory: try arguments.number("--models-memory-mb", in: 4...1_048_576_000).map { UInt64($0) << 20 },
            deviceMemory: try arguments.number("--models-device-memory-mb", in: 1...4_194_304).map { UInt64($0) << 20 })
        var responses = ResponseCacheLimits()
        responses.bytes = (try arguments.number("--response-cache-mb", in: 0...65_536) ?? 64) << 20
        responses.milliseconds = UInt64(try arguments.number("--response-cache-ttl", in: 1...86_400) ?? 300) * 1000
        self.responses = responses
        logsAnswers = arguments.has("--log-answers")
        unsigned = try UnsignedPolicy(argument: arguments.value("--unsigned") ?? "allow", of: "--unsigned")
        var usage = UsageLedger.Options()
        usage.rowDays = try arguments.number("--usage-days", in: 1...3650) ?? usage.rowDays
        switch arguments.value("--usage") ?? "on" {
        case "on": break
        case "off": usage.isOn = false
        case let other: throw UsageError(text: "--usage takes on or off, not \(other)")
        }
        self.usage = usage
        auditDays = try arguments.number("--audit-days", in: 1...36_500)
        switch arguments.value("--loopback") ?? "trusted" {
        case "trusted": trustsLoopback = true
        case "key": trustsLoopback = false
        case let other: throw UsageError(text: "--loopback takes trusted or key, not \(other)")
        }
        tenants = try arguments.value("--tenants").map(Self.absolute)
        limits = try arguments.value("--limits").map(Self.absolute)
        masterKeyFile = try arguments.value("--master-key-file").map(Self.absolute)
        jwt = try arguments.value("--jwt").map(Self.absolute)
        prefixes = try Self.prefixes(arguments)
        tls = try TLSOptions(arguments, listen: host)
    }

    private static func prefixes(_ arguments: Arguments) throws -> PrefixStore.Options {
        var options = PrefixStore.Options()
        let most = 1 << 24
        if let megabytes = try arguments.number("--prefix-memory-mb", in: 0...most) {
            options.memoryBytes = megabytes << 20
        }
        if let megabytes = try arguments.number("--prefix-disk-mb", in: 0...most) {
            options.diskBytes = megabytes << 20
        }
        guard options.diskBytes == 0 || options.memoryBytes > 0 else {
            throw UsageError(
                text: "--prefix-disk-mb needs --prefix-memory-mb above 0: prefixes come to the disk from memory")
        }
        guard let text = arguments.value("--prefix-salt-hours") else { return options }
        guard let hours = Double(text), hours >= 0.0001, hours <= 8760 else {
            throw UsageError(text: "--prefix-salt-hours takes a number from 0.0001 to 8760, not \(text)")
        }
        options.saltMilliseconds = UInt64(hours * 3_600_000)
        return options
    }

    private static func absolute(_ path: String) throws -> String {
        guard !path.isEmpty else {
            throw UsageError(text: "--state, --tenants, --limits, --jwt and --master-key-file take a path")
        }
        guard !path.hasPrefix("/") else { return path }
        guard let here = unsafe getcwd(nil, 0) else { throw SystemError(call: "getcwd", code: errno) }
        defer { unsafe free(here) }
        return unsafe String(cString: here) + "/" + path
    }
}

/// One listening socket a loop, all on the same port.
struct Listeners: ~Copyable {
    let port: UInt16
    private var descriptors: [CInt] = []

    init(_ options: ServeOptions) throws {
        var port = options.port
        for _ in 0..<options.loops {
            var bound: UInt16 = 0
            let descriptor = unsafe clinux_listen(options.host, port, 1024, &bound)
            guard descriptor >= 0 else { throw Self.failure(options, code: -descriptor) }
            descriptors.append(descriptor)
            port = bound
        }
        self.port = port
    }

    mutating func take() -> [CInt] {
        defer { descriptors = [] }
        return descriptors
    }

    deinit { for descriptor in descriptors { _ = close(descriptor) } }

    private static func failure(_ options: ServeOptions, code: CInt) -> RuntimeError {
        let next =
            switch code {
            case EADDRINUSE: "another program has this port: stop it, or choose another; port 0 picks a free one"
            case EACCES: "ports below 1024 need root"
            case EINVAL: "give a numeric address such as 127.0.0.1 or [::]"
            default: "choose another address with --listen"
            }
        return RuntimeError(
            .unavailable, step: "listen on \(options.host):\(options.port)", cause: SystemError.text(of: code),
            next: next)
    }
}

/// Counts loops that have let their last connection go.
final class Drain: Sendable {
    private struct State {
        var waiting: Int
        var done: (@Sendable () -> Void)?
    }

    private let state: Mutex<State>

    init(waiting: Int) { state = Mutex(State(waiting: waiting)) }

    var onDone: (@Sendable () -> Void)? {
        get { state.withLock(\.done) }
        set { state.withLock { $0.done = newValue } }
    }

    func finishOne() {
        let done = state.withLock { state -> (@Sendable () -> Void)? in
            state.waiting -= 1
            return state.waiting == 0 ? state.done : nil
        }
        done?()
    }
}
