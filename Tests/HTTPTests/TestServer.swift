// A real server on a loop thread of its own, and a client that speaks raw bytes to it.
import CLinux
import Dispatch
import Glibc
import HTTP
import Platform

/// Serves with a closure.
final class ClosureService: HTTPService {
    let body: (HTTPExchange) -> Void
    init(_ body: @escaping (HTTPExchange) -> Void) { self.body = body }
    func begin(_ exchange: HTTPExchange) { body(exchange) }
}

/// A server on 127.0.0.1 and a free port.
// SAFETY: the fields are written in `init` and `stop` only, by the test's thread.
final class TestServer: @unchecked Sendable {
    let port: UInt16
    private let server: LoopBound<HTTPServer>
    private let remote: LoopRemote
    private var thread: LoopThread?

    init(limits: HTTPLimits = HTTPLimits(), tls: TLSContext? = nil, _ body: @escaping @Sendable (HTTPExchange) -> Void)
        throws
    {
        var port: UInt16 = 0
        let listener = try check(unsafe clinux_listen("127.0.0.1", 0, 512, &port), "listen")
        self.port = port
        let started = Mailbox<(LoopBound<HTTPServer>, LoopRemote)>()
        thread = try LoopThread {
            guard let loop = try? EventLoop(index: 0) else { return }
            loop.remote.submit { loop in
                let server = HTTPServer(
                    loop: loop, listenDescriptor: FileDescriptor(owning: listener), limits: limits, tls: tls,
                    service: ClosureService(body))
                try? server.startAccepting()
                started.put((LoopBound(server, on: loop), loop.remote))
            }
            loop.run()
        }
        (server, remote) = started.take()
    }

    /// Runs on the loop and returns what it returns.
    func onLoop<Value: Sendable>(_ body: @escaping @Sendable (HTTPServer) -> Value) -> Value {
        let box = Mailbox<Value>()
        remote.submit { [server] _ in box.put(body(server.value)) }
        return box.take()
    }

    /// Drains; true when that ended before the deadline cut it.
    func drain(milliseconds: UInt64) -> Mailbox<Bool> {
        let done = Mailbox<Bool>()
        remote.submit { [server] loop in
            let deadline = MonotonicTime.now.adding(milliseconds: milliseconds)
            server.value.drain(deadline: deadline) { done.put(MonotonicTime.now < deadline) }
        }
        return done
    }

    func stop() {
        remote.submit { loop in loop.stop() }
        thread.take()?.join()
    }
}

/// Holds one value that another thread waits for.
// SAFETY: `value` is written before the semaphore is signalled and read after it was waited for.
final class Mailbox<Value>: @unchecked Sendable {
    private var value: Value?
    private let filled = DispatchSemaphore(value: 0)

    func put(_ new: Value) {
        value = new
        filled.signal()
    }

    func take() -> Value {
        filled.wait()
        filled.signal()
        guard let value else { fatalError("a mailbox was signalled without a value") }
        return value
    }

    /// Nil when nothing came in time.
    func take(seconds: Int) -> Value? {
        guard filled.wait(timeout: .now() + .seconds(seconds)) == .success else { return nil }
        filled.signal()
        return value
    }
}

/// One answer, taken apart.
struct Answer: Equatable {
    var status = 0
    var fields: [String: String] = [:]
    var body: [UInt8] = []
    var text: String { String(decoding: body, as: UTF8.self) }
}

/// A blocking client. Every read gives up after a generous while, so that a failed test ends.
final class RawClient {
    private let socket: FileDescriptor
    private var buffer: [UInt8] = []

    init(port: UInt16, receiveBuffer: CInt = 0) throws {
        socket = FileDescriptor(owning: try libc("socket") { Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0) })
        var wait = timeval(tv_sec: 20, tv_usec: 0)
        unsafe setsockopt(socket.raw, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
        if receiveBuffer > 0 {
            var size = receiveBuffer
            unsafe setsockopt(socket.raw, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<CInt>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        try libc("connect") { [raw = socket.raw] in
            unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe connect(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    /// False when the server no longer takes bytes.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let size = unsafe bytes.withUnsafeBytes {
                let rest = unsafe UnsafeRawBufferPointer(rebasing: $0[sent...])
                return unsafe Glibc.send(socket.raw, rest.baseAddress, rest.count, CInt(MSG_NOSIGNAL))
            }
            if size <= 0 { return false }
            sent += size
        }
        return true
    }

    /// Sends until the server has not taken a byte for a while; returns how many it took.
    func sendUntilFull(limit: Int) -> Int {
        var wait = timeval(tv_sec: 0, tv_usec: 500_000)
        unsafe setsockopt(socket.raw, SOL_SOCKET, SO_SNDTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
        let piece = [UInt8](repeating: 0x7a, count: 65_536)
        var sent = 0
        while sent < limit {
            let size = unsafe piece.withUnsafeBytes {
                unsafe Glibc.send(socket.raw, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard size > 0 else { break }
            sent += size
        }
        return sent
    }

    func finishSending() { _ = shutdown(socket.raw, CInt(SHUT_WR)) }

    /// False at the end of the connection, after a reset, or when nothing came.
    func more() -> Bool {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        let size = unsafe chunk.withUnsafeMutableBytes { unsafe read(socket.raw, $0.baseAddress, $0.count) }
        lastError = size < 0 ? errno : 0
        guard size > 0 else { return false }
        buffer += chunk[..<size]
        return true
    }

    private(set) var lastError: CInt = 0

    /// Everything until the end.
    func readToEnd() -> [UInt8] {
        while more() {}
        defer { buffer = [] }
        return buffer
    }

    func bytes(_ count: Int) -> [UInt8]? {
        while buffer.count < count { guard more() else { return nil } }
        defer { buffer.removeFirst(count) }
        return Array(buffer[..<count])
    }

    func line() -> String? {
        while true {
            if let end = buffer.firstIndex(of: 10) {
                defer { buffer.removeFirst(end + 1) }
                return String(decoding: buffer[..<end].filter { $0 != 13 }, as: UTF8.self)
            }
            guard more() else { return nil }
        }
    }

    /// The next answer; nil when the connection ends before its end.
    func answer(head: Bool = false) -> Answer? {
        guard let status = line(), status.hasPrefix("HTTP/1.1 ") else { return nil }
        var answer = Answer()
        answer.status = Int(status.split(separator: " ")[1]) ?? 0
        while let field = line(), !field.isEmpty {
            let parts = field.split(separator: ":", maxSplits: 1)
            answer.fields[String(parts[0])] = String(parts[1].drop { $0 == " " })
        }
        if head || answer.status == 204 || answer.status == 304 || answer.status < 200 { return answer }
        if let length = answer.fields["content-length"] {
            guard let body = bytes(Int(length) ?? 0) else { return nil }
            answer.body = body
        } else if answer.fields["transfer-encoding"] == "chunked" {
            while true {
                guard let size = line().flatMap({ Int($0, radix: 16) }), let chunk = bytes(size), line() == "" else {
                    return nil
                }
                if size == 0 { break }
                answer.body += chunk
            }
        } else {
            answer.body = readToEnd()
            if lastError != 0 { return nil }
        }
        return answer
    }
}
