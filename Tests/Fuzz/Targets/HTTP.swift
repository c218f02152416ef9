// Both protocols: a real Connection on a real socket, stepped by hand; each input goes in whole and in small pieces.
import CLinux
import Glibc
import Platform

@testable import HTTP

extension Target {
    static let http1 = Target(name: "http1") { bytes in compare(bytes) }

    /// The first byte says how to read the rest: even, frames with right lengths; odd, bytes as they are.
    static let http2 = Target(name: "http2") { bytes in
        var input = Input(bytes)
        let isRaw = input.u8() & 1 == 1
        var sent = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
        if isRaw { sent += input.all() }
        while !input.isEmpty {
            // Type, flags, stream and size, a byte each: a mutation moves whole frames instead of losing their borders.
            let (type, flags, stream) = (input.u8(), input.u8(), input.u8())
            let payload = input.take(Int(input.u8()))
            sent += [0, 0, UInt8(payload.count), type, flags, 0, 0, 0, stream] + payload
        }
        compare(sent)
    }

    /// The size of the pieces in which TCP hands bytes over is nobody's choice, so it must not change what is understood.
    private static func compare(_ bytes: [UInt8]) {
        let whole = unsafe Room.shared.serve([bytes[...]])
        let parts = unsafe Room.shared.serve(pieces(of: bytes))
        // More streams at once than are allowed, or too much housekeeping, depends on what went out in between.
        guard whole.seen.count < 100, parts.seen.count < 100 else { return }
        require(whole == parts, "pieces change nothing:\nwhole  \(whole)\npieces \(parts)")
    }
}

/// What one connection led to.
private struct Outcome: Equatable {
    var seen: [String] = []
    var refused: UInt64 = 0
}

/// One server and its loop, for all inputs.
private final class Room: HTTPService {
    // SAFETY: libFuzzer calls the target on one thread.
    nonisolated(unsafe) static let shared = Room()

    private let loop: EventLoop
    private var server: HTTPServer?
    private var exchanges: [Record] = []

    private init() {
        guard let loop = try? EventLoop(index: 0) else { fatalError("no event loop") }
        self.loop = loop
        var limits = HTTPLimits()
        limits.headerBytes = 2048
        limits.headerCount = 20
        limits.targetBytes = 512
        limits.bodyBytes = 4096
        // No test of time: a slow machine must give the same results.
        limits.headTimeout = 3_600_000
        limits.bodyTimeout = 3_600_000
        limits.idleTimeout = 3_600_000
        limits.lingerTimeout = 3_600_000
        limits.writeTimeout = 3_600_000
        guard let nobody = try? FileDescriptor.open("/dev/null", flags: O_RDONLY) else { fatalError("no /dev/null") }
        server = HTTPServer(loop: loop, listenDescriptor: nobody, limits: limits, service: self)
    }

    /// Sends the pieces one after another, then the end, and tells what came of it.
    func serve(_ pieces: [ArraySlice<UInt8>]) -> Outcome {
        guard let server else { return Outcome() }
        var ends: [CInt] = [-1, -1]
        require(unsafe socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue) | O_NONBLOCK, 0, &ends) == 0, "a socket pair")
        let client = ends[0]
        exchanges = []
        let before = server.statistics
        server.add(FileDescriptor(owning: ends[1]), peer: HTTPPeer(clinux_peer()))
        for piece in pieces {
            send(piece, client)
            settle(client)
        }
        _ = shutdown(client, CInt(SHUT_WR))
        settle(client)
        close(client)
        settle(nil)
        require(server.statistics.connections == 0, "the connection is gone when the client is")
        for record in exchanges { require(record.isOver, "every exchange ends: \(record.text)") }
        require(
            server.statistics.requests - before.requests == UInt64(exchanges.count), "each request counts once")
        return Outcome(
            seen: exchanges.map(\.text), refused: server.statistics.refusedRequests - before.refusedRequests)
    }

    private func send(_ piece: ArraySlice<UInt8>, _ client: CInt) {
        var rest = piece
        // A server that no longer reads may leave the rest where it is.
        while !rest.isEmpty {
            let size = unsafe rest.withUnsafeBytes {
                unsafe Glibc.send(client, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard size > 0 else { return }
            rest = rest.dropFirst(size)
            if !rest.isEmpty { settle(client) }
        }
    }

    /// Lets the server do all it can, and takes what it sends.
    private func settle(_ client: CInt?) {
        for _ in 0..<10_000 {
            let worked = loop.step()
            let heard = client.map(hear) ?? false
            if !worked, !heard { return }
        }
        fatalError("BROKEN: the server comes to rest when nothing comes in")
    }

    private func hear(_ client: CInt) -> Bool {
        var heard = false
        while unsafe withUnsafeTemporaryAllocation(
            byteCount: 65_536, alignment: 16,
            {
                unsafe read(client, $0.baseAddress, $0.count)
            }) > 0
        { heard = true }
        return heard
    }

    // MARK: the service

    /// What was asked on one exchange.
    private final class Record {
        let exchange: HTTPExchange
        var body: [UInt8] = []
        var isComplete = false
        /// The service was told that the client is gone.
        var isClosed = false

        init(_ exchange: HTTPExchange) { self.exchange = exchange }

        var isOver: Bool { exchange.isOver }

        var text: String {
            let request = exchange.request
            let fields = request.headers.map { "\($0.name)=\($0.value)" }
            // A pause ends a turn later, and by then a broken connection may be gone: how far the body came is chance.
            // So is how much of a body came before a frame that was one byte too long.
            let isChance = request.version == .http2 && (request.path == "/pause" || !isComplete)
            let body = isChance ? "" : "\(body) \(isComplete)"
            return "\(request.method) \(request.host) \(request.path)?\(request.query) \(fields) \(body)"
        }
    }

    func begin(_ exchange: HTTPExchange) {
        let record = Record(exchange)
        exchanges.append(record)
        checkPromises(exchange.request)
        exchange.onClose = {
            require(!record.isClosed, "a service is told once that its client is gone")
            record.isClosed = true
        }
        let body: [UInt8] = Array("answer".utf8)
        switch exchange.request.path {
        case "/early": exchange.respond(status: 200, body: body)
        case "/abort": exchange.abort()
        case "/collect":
            exchange.collectBody(limit: 64) { result in
                if case .success(let all) = result {
                    record.body = all
                    record.isComplete = true
                }
                exchange.respond(status: 200, headers: ["x-a": "b"], body: body)
            }
        case "/length":
            exchange.start(status: 200, contentLength: 6)
            exchange.write(body)
            exchange.finish()
        case "/short":
            exchange.start(status: 200, contentLength: 7)
            exchange.write(body)
            exchange.finish()
        default: echo(exchange, record)
        }
    }

    private func echo(_ exchange: HTTPExchange, _ record: Record) {
        // In small pieces, so that a body is paused and resumed again and again.
        let pauses = exchange.request.path == "/pause"
        exchange.start(status: exchange.request.path == "/empty" ? 204 : 200, headers: ["content-type": "text/plain"])
        exchange.onBody = { [loop] bytes, isEnd in
            require(!record.isComplete, "nothing follows the end of a body")
            record.body.append(bytes)
            exchange.write(bytes)
            record.isComplete = isEnd
            if isEnd { return exchange.finish() }
            guard pauses else { return }
            exchange.pauseBody()
            loop.afterBatch { exchange.resumeBody() }
        }
    }

    private func checkPromises(_ request: HTTPRequest) {
        require(request.path.hasPrefix("/") || request.path == "*", "the path begins with /: \(request.path)")
        require(request.path.utf8.count + request.query.utf8.count <= 512, "the target is below the limit")
        require(request.headers.count <= 20, "so is the number of fields")
        require(request.headers.bytes.count <= 2048 + 512 + 64, "and their size")
        require((request.contentLength ?? 0) <= 4096, "and the announced body")
        require(request.version == .http10 || !request.host.isEmpty, "HTTP/1.1 and HTTP/2 name a host")
        for field in request.headers {
            require(!field.name.isEmpty && field.name.utf8.allSatisfy(HTTPHeaders.isToken), "names are tokens")
            require(!field.name.utf8.contains { $0 >= 0x41 && $0 <= 0x5a }, "names are lower case")
            require(
                field.value.utf8.allSatisfy(HTTPHeaders.isInValue), "no value holds a line break or another control")
        }
        require(request.headers.all("host").count <= 1, "there is at most one Host field")
        require(
            request.headers.all("content-length").count <= 1 || request.version == .http2, "and one length")
        require(
            !request.headers.contains("content-length") || !request.headers.contains("transfer-encoding"),
            "a message has one length: what else it says would be smuggled")
    }
}
