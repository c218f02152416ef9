// The connections of one loop: accepts, sweeps, drains. Connection.swift comes next.
internal import CLinux
internal import Glibc
package import Platform

/// What a server has done so far.
package struct HTTPStatistics: Sendable {
    package var accepted: UInt64 = 0
    /// Open now.
    package var connections = 0
    package var requests: UInt64 = 0
    /// Requests that the protocol itself refused: malformed, too large, too slow.
    package var refusedRequests: UInt64 = 0
    /// Connections turned away because the server was full, or the process out of descriptors.
    package var refusedConnections: UInt64 = 0
}

/// An HTTP server on one loop. Several share a port by SO_REUSEPORT.
// SAFETY of the read buffer: it lives as long as the server, and only one connection reads at a time.
@safe package final class HTTPServer {
    package let loop: EventLoop
    package let limits: HTTPLimits
    package internal(set) var statistics = HTTPStatistics()
    package private(set) var isDraining = false

    let service: any HTTPService
    let tls: TLSContext?
    let readBuffer: UnsafeMutableRawBufferPointer
    var date = DateLine()
    /// In progress.
    var handshakes = 0
    private var handshakesSwept = MonotonicTime(nanoseconds: 0)
    private var refusedClientLines: PermitBucket
    private var listener: Listener?
    private var connections: [Connection] = []
    private var dirty: [Connection] = []
    private var sweep: TimerToken?
    private var onDrained: (() -> Void)?

    /// Takes over a listening descriptor that does not block.
    package init(
        loop: EventLoop, listenDescriptor: consuming FileDescriptor, limits: HTTPLimits = HTTPLimits(),
        tls: TLSContext? = nil,
        service: any HTTPService
    ) {
        self.loop = loop
        self.limits = limits
        self.service = service
        self.tls = tls
        refusedClientLines = PermitBucket(capacity: 10, perSecond: 1, now: loop.now)
        unsafe readBuffer = .allocate(byteCount: 64 * 1024, alignment: 16)
        listener = Listener(listenDescriptor)
    }

    deinit { unsafe readBuffer.deallocate() }

    package func startAccepting() throws(SystemError) { try listener?.start(self) }

    /// Takes no new connections, lets running exchanges finish, and calls `done` when no connection is left. At
    /// `deadline` what still runs is cut.
    package func drain(deadline: MonotonicTime, done: @escaping () -> Void) {
        guard !isDraining else { return }
        isDraining = true
        onDrained = done
        listener.take()?.finish(self)
        forEachConnection { $0.drain(graceIsOver: false) }
        // Idle clients get a moment: a request that is already on its way must find somebody at home.
        let remaining = deadline.since(loop.now) / 1_000_000
        loop.schedule(at: loop.now.adding(milliseconds: min(500, remaining / 2))) { [weak self] in
            self?.forEachConnection { $0.drain(graceIsOver: true) }
        }
        loop.schedule(at: deadline) { [weak self] in self?.forEachConnection { $0.close(reset: true) } }
        reportDrained()
    }

    // MARK: connections

    func add(_ socket: consuming FileDescriptor, peer: HTTPPeer) {
        statistics.accepted += 1
        let isFull = connections.count >= limits.connections
        if isFull { statistics.refusedConnections += 1 }
        // A few more than the limit are kept for the moment it takes to tell them.
        guard connections.count < limits.connections + 64 else { return }
        let connection = Connection(socket, peer: peer, server: self)
        guard connection.open() else { return }
        connection.index = connections.count
        connections.append(connection)
        statistics.connections = connections.count
        if isFull { connection.refuseFull() }
        startSweeping()
    }

    /// True when one more handshake may begin. Honest ones take less than a second, so the older ones go first.
    func admitsHandshake() -> Bool {
        guard handshakes >= limits.handshakes else { return true }
        if loop.now.since(handshakesSwept) >= 100_000_000 { sweepHandshakes() }
        if handshakes >= limits.handshakes { statistics.refusedConnections += 1 }
        return handshakes < limits.handshakes
    }

    private func sweepHandshakes() {
        handshakesSwept = loop.now
        forEachConnection { connection in
            if let age = connection.handshakeAge, age >= 1_000 { connection.close() }
        }
    }

    /// A line of the log, but not one for each try of somebody who goes on trying.
    func noteRefusedClient(_ peer: HTTPPeer, _ cause: String) {
        guard refusedClientLines.take(loop.now) else { return }
        Log.info("TLS: a client's certificate was refused", [("peer", peer.description), ("cause", cause)])
    }

    func forget(_ connection: Connection) {
        let last = connections.removeLast()
        if last !== connection {
            connections[connection.index] = last
            last.index = connection.index
        }
        statistics.connections = connections.count
        listener?.resume(self)
        reportDrained()
    }

    private func reportDrained() {
        guard isDraining, connections.isEmpty, let done = onDrained.take() else { return }
        done()
    }

    /// Backwards, because a connection that closes is replaced by the last one.
    private func forEachConnection(_ body: (Connection) -> Void) {
        var index = connections.count - 1
        while index >= 0 {
            if index < connections.count { body(connections[index]) }
            index -= 1
        }
    }

    // MARK: the end of a batch

    func addDirty(_ connection: Connection) {
        dirty.append(connection)
        if dirty.count == 1 { loop.afterBatch { [unowned self] in settleDirty() } }
    }

    private func settleDirty() {
        // A fast client of an endless answer makes itself dirty again and again: others get their turn in between.
        let bound = dirty.count * 4 + 16
        var index = 0
        while index < min(bound, dirty.count) {
            dirty[index].settle()
            index += 1
        }
        dirty.removeFirst(index)
        // Later than now: a timer that is due at once would run again before any other client is heard.
        if !dirty.isEmpty {
            loop.schedule(at: loop.now.adding(nanoseconds: 1)) { [weak self] in self?.settleDirty() }
        }
    }

    // MARK: time

    /// One timer for all connections; none when there are none, so that an idle server sleeps.
    private func startSweeping() {
        guard sweep == nil, !connections.isEmpty else { return }
        sweep = loop.schedule(at: loop.now.adding(milliseconds: limits.sweepInterval)) { [weak self] in
            guard let self else { return }
            sweep = nil
            forEachConnection { $0.check(self.loop.now) }
            startSweeping()
        }
    }
}
