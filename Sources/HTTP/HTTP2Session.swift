// HTTP/2 on one connection: nghttp2 frames and compresses, this decides; HTTP2Stream.swift carries one exchange.
internal import CNGHTTP2
internal import Platform

/// All streams of one connection.
// SAFETY: nghttp2's session is freed with this object and calls back only from calls made here, when this object is alive.
@safe final class HTTP2Session: WireSession {
    /// What may wait unread for the whole connection. A stream's share is HTTP/2's default, 64 KiB.
    static let connectionWindow: Int32 = 1024 * 1024
    /// How much is framed ahead of the socket.
    private static let outputBatch = 64 * 1024

    /// How many frames may wait to be framed before the client is heard again.
    private static let framesAhead = 2_000

    let connection: Connection
    let raw: OpaquePointer
    var calm: HTTP2Calm
    private(set) var streams: [Int32: HTTP2Stream] = [:]
    /// Since when the head that is arriving has been arriving.
    var headBegan: MonotonicTime?
    /// Why the connection must end, found while nghttp2 is at work.
    var breach: nghttp2_error_code?
    private var identifiers = StreamIdentifiers()
    private var changed: [HTTP2Stream] = []
    private var drained: [HTTP2Stream] = []
    private var idleSince: MonotonicTime
    private var isOver = false

    init(_ connection: Connection) {
        self.connection = connection
        let now = connection.server.loop.now
        idleSince = now
        calm = HTTP2Calm(now: now)
        unsafe raw = HTTP2Callbacks.makeSession()
        unsafe nghttp2_session_set_user_data(raw, Unmanaged.passUnretained(self).toOpaque())
        sendSettings()
    }

    deinit { unsafe nghttp2_session_del(raw) }

    var limits: HTTPLimits { connection.server.limits }
    var now: MonotonicTime { connection.server.loop.now }

    private func sendSettings() {
        let listSize = UInt32(clamping: limits.headerBytes + limits.targetBytes + 32 * limits.headerCount)
        let settings = [
            nghttp2_settings_entry(
                settings_id: Int32(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue), value: limits.streams),
            nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE.rawValue), value: listSize),
        ]
        let flags = UInt8(NGHTTP2_FLAG_NONE.rawValue)
        unsafe settings.withUnsafeBufferPointer { list in
            _ = unsafe nghttp2_submit_settings(raw, flags, list.baseAddress, list.count)
        }
        _ = unsafe nghttp2_session_set_local_window_size(raw, flags, 0, Self.connectionWindow)
        connection.markDirty()
    }

    // MARK: input

    /// What the client caused to be written must leave before it may cause more.
    var wantsInput: Bool {
        guard !isOver, connection.output.count <= limits.highWater else { return false }
        return unsafe nghttp2_session_get_outbound_queue_size(raw) <= Self.framesAhead
    }

    func receive(_ bytes: UnsafeRawBufferPointer) {
        guard !isOver, let base = bytes.baseAddress else { return }
        let used = unsafe nghttp2_session_mem_recv(raw, base.assumingMemoryBound(to: UInt8.self), bytes.count)
        if let breach {
            fail(breach)
        } else if used == Int(NGHTTP2_ERR_FLOODED.rawValue) {
            fail(NGHTTP2_ENHANCE_YOUR_CALM)
        } else if used < 0 {
            fail(NGHTTP2_PROTOCOL_ERROR)
        }
        connection.markDirty()
    }

    func inputEnded() { connection.close() }

    func settle() {
        let streams = changed
        changed.removeAll(keepingCapacity: true)
        for stream in streams { stream.deliver() }
        endIfDone()
    }

    func produce() {
        guard !isOver else { return }
        frameOutput()
        if let breach { return fail(breach) }
        tellDrained()
    }

    private func frameOutput() {
        while connection.output.count < Self.outputBatch {
            var bytes: UnsafePointer<UInt8>?
            let size = unsafe nghttp2_session_mem_send(raw, &bytes)
            guard size > 0 else {
                if size < 0 { connection.close(reset: true) }
                break
            }
            unsafe connection.output.append(UnsafeRawBufferPointer(start: bytes, count: size))
        }
    }

    func outputDrained() { endIfDone() }

    /// Outside nghttp2, because services write more from there.
    private func tellDrained() {
        let streams = drained
        drained.removeAll(keepingCapacity: true)
        for stream in streams { stream.exchange?.drained() }
    }

    private func endIfDone() {
        guard !isOver, unsafe nghttp2_session_want_read(raw) == 0, unsafe nghttp2_session_want_write(raw) == 0 else {
            return
        }
        isOver = true
        connection.endAfterFlush(linger: false)
    }

    /// Says why and hangs up.
    private func fail(_ code: nghttp2_error_code) {
        guard !isOver else { return }
        connection.server.statistics.refusedRequests += 1
        _ = unsafe nghttp2_session_terminate_session(raw, code.rawValue)
        frameOutput()
        isOver = true
        connection.endAfterFlush(linger: true)
    }

    // MARK: streams

    func open(_ id: Int32) {
        headBegan = now
        identifiers.open(id)
        streams[id] = HTTP2Stream(id: id, session: self)
    }

    func close(_ id: Int32) {
        guard let stream = streams.removeValue(forKey: id) else { return }
        if streams.isEmpty { idleSince = now }
        stream.closed()
    }

    func noteChanged(_ stream: HTTP2Stream) {
        changed.append(stream)
        connection.markDirty()
    }

    func noteDrained(_ stream: HTTP2Stream) { drained.append(stream) }

    /// We reset a stream because of what the client sent: it may not make us do so without end (CVE-2025-8671).
    func didReset(_ code: UInt32) {
        switch code {
        // Our own wish, after the answer.
        case NGHTTP2_NO_ERROR.rawValue: break
        // It began no work.
        case NGHTTP2_REFUSED_STREAM.rawValue: bear(calm.allowsIdleFrame(now))
        default: bear(calm.allowsReset(now))
        }
    }

    func bear(_ isBearable: Bool) {
        if !isBearable { breach = NGHTTP2_ENHANCE_YOUR_CALM }
    }

    /// A frame begins that nghttp2 may ignore without a word.
    func begins(_ type: UInt32, stream id: Int32) {
        switch type {
        case NGHTTP2_HEADERS.rawValue where streams[id] == nil && id <= identifiers.last:
            // RFC 9113, 5.1.1; a stream that was open is another thing: its reset may cross its trailers.
            if identifiers.isSkipped(id) { breach = NGHTTP2_PROTOCOL_ERROR } else { bear(calm.allowsIdleFrame(now)) }
        case NGHTTP2_GOAWAY.rawValue: bear(calm.allowsIdleFrame(now))
        default: break
        }
    }

    // MARK: time

    func check(_ now: MonotonicTime) {
        if let headBegan, now.since(headBegan) / 1_000_000 >= limits.headTimeout {
            return connection.close(reset: true)
        }
        if streams.isEmpty {
            if now.since(idleSince) / 1_000_000 >= limits.idleTimeout { terminate() }
            return
        }
        for stream in Array(streams.values) { stream.check(now) }
    }

    func drain(graceIsOver: Bool) {
        guard !isOver else { return }
        if graceIsOver {
            let last = unsafe nghttp2_session_get_last_proc_stream_id(raw)
            let flags = UInt8(NGHTTP2_FLAG_NONE.rawValue)
            _ = unsafe nghttp2_submit_goaway(raw, flags, last, NGHTTP2_NO_ERROR.rawValue, nil, 0)
        } else {
            _ = unsafe nghttp2_submit_shutdown_notice(raw)
        }
        connection.markDirty()
    }

    private func terminate() {
        _ = unsafe nghttp2_session_terminate_session(raw, NGHTTP2_NO_ERROR.rawValue)
        connection.markDirty()
    }

    func connectionClosed() {
        isOver = true
        let all = streams
        streams = [:]
        changed = []
        drained = []
        for stream in all.values { stream.closed() }
    }
}
