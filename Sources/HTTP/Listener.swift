// The listening socket of one server: accepts in bounded turns, and rests when the process is out of descriptors.
internal import CLinux
internal import Glibc
internal import Platform

/// Accepts connections for a server.
final class Listener: EventHandler {
    private static let acceptsPerEvent = 64
    private static let restMilliseconds: UInt64 = 100

    private let socket: FileDescriptor
    private weak var server: HTTPServer?
    private var token: EventToken?
    private var isResting = false

    init(_ socket: consuming FileDescriptor) { self.socket = socket }

    func start(_ server: HTTPServer) throws(SystemError) {
        self.server = server
        token = try server.loop.add(socket.raw, events: EPOLLIN.rawValue, handler: self)
    }

    func handle(events: UInt32) {
        guard let server else { return }
        for _ in 0..<Self.acceptsPerEvent where !acceptOne(server) { return }
    }

    /// Looks again before its rest is over, because a descriptor became free.
    func resume(_ server: HTTPServer) {
        guard isResting, let token else { return }
        isResting = false
        server.loop.modify(socket.raw, events: EPOLLIN.rawValue, token: token)
    }

    /// Accepts everybody who already stands in the queue; the socket closes with this object.
    func finish(_ server: HTTPServer) {
        guard let token = token.take() else { return }
        // The queue takes no more from here on, so that nobody is left in it when the socket closes.
        _ = listen(socket.raw, 0)
        while acceptOne(server) {}
        server.loop.remove(socket.raw, token: token)
    }

    /// False when nobody waits, or nobody can be taken.
    private func acceptOne(_ server: HTTPServer) -> Bool {
        var peer = clinux_peer()
        let accepted = unsafe clinux_accept_from(socket.raw, &peer)
        if accepted >= 0 {
            server.add(FileDescriptor(owning: accepted), peer: HTTPPeer(peer))
            return true
        }
        switch -accepted {
        case EAGAIN: return false
        case EMFILE, ENFILE, ENOBUFS, ENOMEM:
            rest(server)
            return false
        // The client hung up while it waited, or the network had an error for it: the next one may be fine.
        default: return true
        }
    }

    /// The socket stays readable while nobody can be accepted, so it isn't watched for a while.
    private func rest(_ server: HTTPServer) {
        guard let token, !isResting else { return }
        isResting = true
        server.statistics.refusedConnections += 1
        server.loop.modify(socket.raw, events: 0, token: token)
        server.loop.schedule(at: server.loop.now.adding(milliseconds: Self.restMilliseconds)) {
            [weak self, weak server] in
            if let self, let server { resume(server) }
        }
    }
}
