// One client's socket: reads into the loop's buffer, writes once a batch, ends in the manner each end deserves.
internal import CLinux
internal import Glibc
internal import Platform

/// A connection. Its session speaks the protocol; it moves the bytes.
final class Connection: EventHandler {
    private enum Ending: Equatable {
        case no
        /// Nothing more is read; closed when the output is out.
        case afterFlush(linger: Bool)
        /// Our side is shut; the rest of the client's is read and dropped, so that no RST destroys the answer on its way.
        case lingering(bytesLeft: Int)
        case closed
    }

    let server: HTTPServer
    /// Complete once the handshake is.
    private(set) var facts: ConnectionFacts
    /// Where the server keeps this connection.
    var index = 0
    var isDirty = false
    var output = ByteQueue()

    private let descriptor: CInt
    private var socket: FileDescriptor?
    private var token: EventToken?
    private var interest: UInt32 = 0
    private var session: (any WireSession)?
    private var ending = Ending.no
    private var isBlocked = false
    private var watchesHangup = true
    /// Since when nothing moved: the socket's buffer is full, the first bytes are awaited, or the rest is being dropped.
    private var stalledSince: MonotonicTime
    private var opening = Opening()
    private var pace: Pace?
    private var tls: TLSSession?
    /// The session stopped taking input while decrypted bytes were left, which no event will announce.
    private var holdsInput = false

    init(_ socket: consuming FileDescriptor, peer: HTTPPeer, server: HTTPServer) {
        descriptor = socket.raw
        self.socket = consume socket
        facts = ConnectionFacts(peer: peer)
        self.server = server
        stalledSince = server.loop.now
    }

    /// How long the client shall come by TLS only, in seconds; 0 says nothing.
    var strictTransport: Int { tls != nil ? server.limits.strictTransport : 0 }
    var isClosed: Bool { ending == .closed }
    var isEnding: Bool { ending != .no }

    /// Registers with the loop. False when that, or a TLS session, can't be had; then the socket closes with this object.
    func open() -> Bool {
        if let context = server.tls {
            guard server.admitsHandshake(), let session = context.accept(descriptor) else { return false }
            tls = session
        }
        interest = EPOLLIN.rawValue | EPOLLRDHUP.rawValue
        guard let token = try? server.loop.add(descriptor, events: interest, handler: self) else { return false }
        self.token = token
        if tls != nil { server.handshakes += 1 }
        return true
    }

    // MARK: events

    func handle(events: UInt32) {
        if case .lingering = ending { return dropInput() }
        if events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 { return close() }
        if events & EPOLLOUT.rawValue != 0 { isBlocked = false }
        // What the session changes below is settled at the end of this call, so it needs no place in the batch's list: an
        // answer given at once must not wait for the other connections of the batch.
        isDirty = true
        defer { settle() }
        if let tls, !tls.isReady, !shakeHands(tls) { return }
        if events & EPOLLIN.rawValue != 0 {
            readInput(hangup: events & EPOLLRDHUP.rawValue != 0)
        } else if events & EPOLLRDHUP.rawValue != 0 {
            // There may be unread bytes before the end: look again when the session wants them.
            watchesHangup = false
        }
    }

    /// Has this connection settled and flushed at the end of the batch.
    func markDirty() {
        guard !isDirty, ending != .closed else { return }
        isDirty = true
        server.addDirty(self)
    }

    /// The end of a batch: what waits is parsed, what is ready leaves.
    func settle() {
        isDirty = false
        if ending == .no { session?.settle() }
        if holdsInput, ending == .no, wantsInput {
            holdsInput = false
            readInput(hangup: false)
            session?.settle()
        }
        flush()
        updateInterest()
        if ending == .no, holdsInput, wantsInput { markDirty() }
    }

    // MARK: reading

    /// True when the handshake is complete.
    private func shakeHands(_ tls: TLSSession) -> Bool {
        switch tls.handshake() {
        case .bytes: break
        case .wantsInput: return false
        case .wantsOutput:
            isBlocked = true
            return false
        case .ended:
            if let cause = tls.refusedClient { server.noteRefusedClient(facts.peer, cause) }
            close()
            return false
        }
        server.handshakes -= 1
        facts = tls.facts(peer: facts.peer)
        if tls.agreedHTTP2 { session = HTTP2Session(self) }
        return true
    }

    private func readInput(hangup: Bool) {
        if let tls { return readEncrypted(tls) }
        let buffer = unsafe server.readBuffer
        let size = unsafe read(descriptor, buffer.baseAddress, buffer.count)
        if size > 0 {
            unsafe receive(UnsafeRawBufferPointer(rebasing: buffer[..<size]))
            if hangup, size < buffer.count { inputEnded() }
        } else if size == 0 {
            inputEnded()
        } else if errno != EAGAIN, errno != EINTR {
            close()
        }
    }

    private func readEncrypted(_ tls: TLSSession) {
        // Bounded, because a fast client fills as quickly as we read.
        for _ in 0..<16 where ending == .no {
            guard wantsInput else { break }
            let buffer = unsafe server.readBuffer
            switch unsafe tls.read(into: buffer) {
            case .bytes(let size): unsafe receive(UnsafeRawBufferPointer(rebasing: buffer[..<size]))
            case .wantsInput: return
            case .wantsOutput:
                isBlocked = true
                return
            case .ended: return inputEnded()
            }
        }
        // Who is refused is heard out on the bare socket: nothing here would ever take what TLS still holds.
        guard ending == .no else { return }
        holdsInput = true
        if wantsInput { markDirty() }
    }

    private func receive(_ bytes: UnsafeRawBufferPointer) {
        guard ending == .no else { return }
        if let session { return unsafe session.receive(bytes) }
        unsafe open(with: bytes)
    }

    /// The first bytes say which protocol it is.
    private func open(with bytes: UnsafeRawBufferPointer) {
        if opening.isEmpty { stalledSince = server.loop.now }
        guard let started = unsafe opening.add(bytes) else { return }
        session = started.isHTTP2 ? HTTP2Session(self) : HTTP1Session(self)
        let held = opening.take()
        unsafe held.withUnsafeBytes { unsafe receive($0) }
        unsafe receive(UnsafeRawBufferPointer(rebasing: bytes[started.used...]))
    }

    private func inputEnded() {
        guard ending == .no else { return }
        watchesHangup = false
        guard let session else { return close() }
        session.inputEnded()
    }

    // MARK: writing

    private func flush() {
        guard ending != .closed, !isBlocked else { return }
        repeat {
            if ending == .no { session?.produce() }
            guard !output.isEmpty else { break }
            guard send() else { return }
        } while ending == .no
        output.release()
        pace = nil
        if case .afterFlush(let linger) = ending { return linger ? startLingering() : close() }
        if ending == .no { session?.outputDrained() }
    }

    /// Writes all output. False when the socket is full or gone.
    private func send() -> Bool {
        while !output.isEmpty {
            let bytes = unsafe output.readable
            if let tls {
                guard unsafe sendEncrypted(bytes, tls) else { return false }
                continue
            }
            let size = unsafe Glibc.send(descriptor, bytes.baseAddress, bytes.count, CInt(MSG_NOSIGNAL))
            if size > 0 {
                sent(size)
            } else if errno == EAGAIN {
                block()
                return false
            } else if errno != EINTR {
                close()
                return false
            }
        }
        return true
    }

    private func sendEncrypted(_ bytes: UnsafeRawBufferPointer, _ tls: TLSSession) -> Bool {
        switch unsafe tls.write(bytes) {
        case .bytes(let size):
            sent(size)
            return true
        // A key update: the client's next bytes bring the writing on.
        case .wantsInput: return false
        case .wantsOutput:
            block()
            return false
        case .ended:
            close()
            return false
        }
    }

    private func sent(_ size: Int) {
        output.consume(size)
        pace?.count(size)
        stalledSince = server.loop.now
    }

    /// The socket is full: from here on the client's pace is measured, until it took everything.
    private func block() {
        isBlocked = true
        stalledSince = server.loop.now
        if pace == nil { pace = server.limits.answerPace(server.loop.now) }
    }

    private func updateInterest() {
        guard let token else { return }
        var wanted: UInt32 = watchesHangup ? EPOLLRDHUP.rawValue : 0
        if wantsInput { wanted |= EPOLLIN.rawValue }
        if isBlocked { wanted |= EPOLLOUT.rawValue }
        guard wanted != interest else { return }
        interest = wanted
        server.loop.modify(descriptor, events: wanted, token: token)
    }

    private var wantsInput: Bool {
        switch ending {
        case .no: session?.wantsInput ?? true
        case .afterFlush, .closed: false
        case .lingering: true
        }
    }

    // MARK: ending

    /// Sends what waits, then closes. With `linger` the client is heard out for a moment, so that it can read the answer.
    func endAfterFlush(linger: Bool) {
        switch ending {
        case .no: ending = .afterFlush(linger: linger)
        case .afterFlush(false): ending = .afterFlush(linger: linger)
        default: return
        }
        watchesHangup = false
        stalledSince = server.loop.now
        markDirty()
    }

    /// Closes now. Open exchanges are told. `reset` makes the client see an error instead of an end.
    func close(reset: Bool = false) {
        guard ending != .closed else { return }
        ending = .closed
        if reset { clinux_reset_on_close(descriptor) } else { tls?.sayGoodbye() }
        forgetTLS()
        if let token = token.take() { server.loop.remove(descriptor, token: token) }
        _ = socket.take()
        output.release()
        server.forget(self)
        // Last, because it calls into services.
        session.take()?.connectionClosed()
    }

    private func startLingering() {
        ending = .lingering(bytesLeft: server.limits.lingerBytes)
        stalledSince = server.loop.now
        session.take()?.connectionClosed()
        tls?.sayGoodbye()
        forgetTLS()
        _ = shutdown(descriptor, CInt(SHUT_WR))
    }

    private func forgetTLS() {
        if let tls, !tls.isReady { server.handshakes -= 1 }
        tls = nil
    }

    private func dropInput() {
        guard case .lingering(let left) = ending else { return }
        let buffer = unsafe server.readBuffer
        let size = unsafe read(descriptor, buffer.baseAddress, buffer.count)
        if size < 0, errno == EAGAIN || errno == EINTR { return }
        guard size > 0, size < left else { return close() }
        ending = .lingering(bytesLeft: left - size)
    }

    // MARK: time

    /// The handshake's age in milliseconds; nil when there is none in progress.
    var handshakeAge: UInt64? {
        guard let tls, !tls.isReady else { return nil }
        return server.loop.now.since(stalledSince) / 1_000_000
    }

    /// Looked at once a sweep: acts on what took too long.
    func check(_ now: MonotonicTime) {
        let limits = server.limits
        let stalled = now.since(stalledSince) / 1_000_000
        if case .lingering = ending {
            if stalled >= limits.lingerTimeout { close() }
        } else if isBlocked, stalled >= limits.writeTimeout || pace?.isTooSlow(now) == true {
            close(reset: true)
        } else if ending != .no {
            // What waits can't leave, because TLS wants to hear from a client that is silent.
            if stalled >= limits.writeTimeout { close(reset: true) }
        } else if let session {
            session.check(now)
        } else if stalled
            >= (opening.isEmpty && tls?.isReady != false ? limits.idleTimeout : limits.headTimeout)
        {
            close()
        }
    }

    func drain(graceIsOver: Bool) {
        guard ending == .no else { return }
        if let session { return session.drain(graceIsOver: graceIsOver) }
        if graceIsOver { close() }
    }

    /// Says that the server is full and hangs up.
    func refuseFull() {
        // Who must be told by TLS would cost a handshake to be told.
        guard tls == nil else { return close() }
        output.append(
            "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        endAfterFlush(linger: true)
    }
}
