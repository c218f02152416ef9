// The baseline of warm calls: our HTTP server, one socket pair, and behind it an echo process that nothing confines.
internal import CLinux
internal import Glibc
internal import HTTP
internal import Platform

@main
enum Main {
    static func main() throws {
        if CommandLine.arguments.dropFirst().first == "--echo" { return echo() }
        guard CommandLine.arguments.count == 3, let count = Int(CommandLine.arguments[1]),
            let processes = Int(CommandLine.arguments[2]), count > 0, processes >= count
        else {
            print("usage: swiftlet-bench-echo LOOPS PROCESSES")
            exit(2)
        }
        _ = clinux_ignore_sigpipe()
        var port: UInt16 = 0
        var servers: [HTTPServer] = []
        for index in 0..<count {
            let loop = try EventLoop(index: index)
            let listener = FileDescriptor(
                owning: try unsafe check(clinux_listen("127.0.0.1", port, 1024, &port), "listen"))
            let service = try EchoService(loop: loop, processes: processes / count)
            let server = HTTPServer(loop: loop, listenDescriptor: listener, service: service)
            try server.startAccepting()
            servers.append(server)
        }
        print("{\"url\":\"http://127.0.0.1:\(port)\"}")
        fflush(nil)
        for server in servers.dropFirst() {
            // SAFETY: each loop and its server run on that thread alone.
            nonisolated(unsafe) let server = server
            _ = try LoopThread { unsafe server.loop.run() }
        }
        servers[0].loop.run()
    }

    /// The process behind: every packet goes back as it came.
    private static func echo() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let size = unsafe buffer.withUnsafeMutableBytes { unsafe recv(3, $0.baseAddress, $0.count, 0) }
            guard size > 0 else { return }
            let sent = unsafe buffer.withUnsafeBytes { unsafe send(3, $0.baseAddress, size, CInt(MSG_NOSIGNAL)) }
            guard sent == size else { return }
        }
    }
}

/// Gives each request to a process that is free, in order of arrival.
final class EchoService: HTTPService {
    private var free: [EchoProcess] = []
    private var waiting: [HTTPExchange] = []
    private var head = 0

    init(loop: EventLoop, processes: Int) throws {
        for _ in 0..<processes {
            let process = try EchoProcess(loop: loop)
            process.finished = { [unowned self, unowned process] in next(process) }
            free.append(process)
        }
    }

    func begin(_ exchange: HTTPExchange) {
        if let process = free.popLast() { return process.run(exchange) }
        waiting.append(exchange)
    }

    private func next(_ process: EchoProcess) {
        guard head < waiting.count else { return free.append(process) }
        let exchange = waiting[head]
        head += 1
        if head == waiting.count {
            waiting.removeAll(keepingCapacity: true)
            head = 0
        }
        process.run(exchange)
    }
}

/// One unconfined process and the exchange it works for.
final class EchoProcess: EventHandler {
    private let socket: FileDescriptor
    private var exchange: HTTPExchange?
    private var buffer = [UInt8](repeating: 0, count: 65_536)
    var finished: () -> Void = {}

    init(loop: EventLoop) throws {
        var pair: [CInt] = [-1, -1]
        let kind = CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        try libc("socketpair") { unsafe socketpair(AF_UNIX, kind, 0, &pair) }
        socket = FileDescriptor(owning: pair[0])
        let theirs = FileDescriptor(owning: pair[1])
        try unsafe withCStrings(["swiftlet-bench-echo", "--echo"]) { arguments throws(SystemError) in
            try unsafe withCStrings([]) { environment throws(SystemError) in
                _ = try check(
                    unsafe clinux_spawn("/proc/self/exe", arguments, environment, [theirs.raw], 1), "posix_spawn")
            }
        }
        _ = try loop.add(socket.raw, events: EPOLLIN.rawValue, handler: self)
    }

    func run(_ exchange: HTTPExchange) {
        self.exchange = exchange
        // As many bytes as an INVOKE frame of the same request has, all of them from the request.
        var packet = Array("\(exchange.request.method) \(exchange.request.path) \(exchange.request.query)\n".utf8)
        for (name, value) in exchange.request.headers { packet += Array("\(name): \(value)\n".utf8) }
        packet += [UInt8](repeating: 0x20, count: max(0, 256 - packet.count))
        _ = unsafe packet.withUnsafeBytes { unsafe send(socket.raw, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
    }

    func handle(events: UInt32) {
        let size = unsafe buffer.withUnsafeMutableBytes {
            unsafe recv(socket.raw, $0.baseAddress, $0.count, CInt(MSG_DONTWAIT))
        }
        guard size > 0 else { fatalError("an echo process ended") }
        guard let exchange = exchange.take() else { return }
        exchange.respond(status: 200, headers: ["content-type": "text/plain"], body: Array("hello\n".utf8))
        finished()
    }
}
