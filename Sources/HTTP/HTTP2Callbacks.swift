// Where nghttp2 calls back: C signatures on one side, HTTP2Session and HTTP2Stream on the other.
internal import CNGHTTP2

enum HTTP2Callbacks {
    // SAFETY: both are written once, before the first session is made, and only read from then on.
    private nonisolated(unsafe) static let options: OpaquePointer? = {
        var options: OpaquePointer?
        guard unsafe nghttp2_option_new(&options) == 0 else { return nil }
        unsafe nghttp2_option_set_no_auto_window_update(options, 1)
        unsafe nghttp2_option_set_max_outbound_ack(options, 256)
        unsafe nghttp2_option_set_max_settings(options, 32)
        // No memory of closed streams: priorities are not used here.
        unsafe nghttp2_option_set_no_closed_streams(options, 1)
        return unsafe options
    }()

    private nonisolated(unsafe) static let callbacks: OpaquePointer? = {
        var callbacks: OpaquePointer?
        guard unsafe nghttp2_session_callbacks_new(&callbacks) == 0 else { return nil }
        unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, onBeginFrame)
        unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, onBeginHeaders)
        unsafe nghttp2_session_callbacks_set_on_header_callback(callbacks, onHeader)
        unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, onInvalidHeader)
        unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, onFrame)
        unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, onData)
        unsafe nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, onSent)
        unsafe nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, onClose)
        return unsafe callbacks
    }()

    static func makeSession() -> OpaquePointer {
        var session: OpaquePointer?
        guard unsafe nghttp2_session_server_new2(&session, callbacks, nil, options) == 0, let session = unsafe session
        else {
            fatalError("HTTP/2: out of memory for a session")
        }
        return unsafe session
    }

    private static func of(_ owner: UnsafeMutableRawPointer?) -> HTTP2Session {
        guard let owner = unsafe owner else { fatalError("HTTP/2: a callback without its session") }
        return unsafe Unmanaged<HTTP2Session>.fromOpaque(owner).takeUnretainedValue()
    }

    private static func has(_ flags: UInt8, _ flag: nghttp2_flag) -> Bool { flags & UInt8(flag.rawValue) != 0 }

    private static let stopParsing = CInt(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
    private static let resetStream = CInt(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)

    private static let onBeginFrame: nghttp2_on_begin_frame_callback = { _, head, owner in
        guard let head = unsafe head?.pointee else { return 0 }
        let session = unsafe of(owner)
        session.begins(UInt32(head.type), stream: head.stream_id)
        return session.breach != nil ? stopParsing : 0
    }

    private static let onBeginHeaders: nghttp2_on_begin_headers_callback = { _, frame, owner in
        guard let frame = unsafe frame, unsafe frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST else { return 0 }
        unsafe of(owner).open(frame.pointee.hd.stream_id)
        return 0
    }

    private static let onHeader: nghttp2_on_header_callback = { _, frame, name, nameSize, value, valueSize, _, owner in
        guard let frame = unsafe frame, unsafe frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST else { return 0 }
        let session = unsafe of(owner)
        guard let stream = unsafe session.streams[frame.pointee.hd.stream_id] else { return 0 }
        let isBearable = unsafe stream.head.add(
            name: UnsafeRawBufferPointer(start: name, count: nameSize),
            value: UnsafeRawBufferPointer(start: value, count: valueSize), limits: session.limits)
        return isBearable ? 0 : resetStream
    }

    /// A field that no HTTP/1 hop could carry is not dropped in silence: the request is.
    private static let onInvalidHeader: nghttp2_on_invalid_header_callback = { _, _, _, _, _, _, _, _ in resetStream }

    private static let onFrame: nghttp2_on_frame_recv_callback = { _, frame, owner in
        guard let frame = unsafe frame else { return 0 }
        let session = unsafe of(owner)
        let head = unsafe frame.pointee.hd
        let stream = session.streams[head.stream_id]
        switch UInt32(head.type) {
        case NGHTTP2_HEADERS.rawValue:
            session.headBegan = nil
            let ends = has(head.flags, NGHTTP2_FLAG_END_STREAM)
            if unsafe frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST { stream?.begin(ends: ends) }
            if ends { stream?.inputEnded() }
        case NGHTTP2_DATA.rawValue:
            if has(head.flags, NGHTTP2_FLAG_END_STREAM) {
                stream?.inputEnded()
            } else if unsafe head.length <= frame.pointee.data.padlen {
                // Padding moves nothing either.
                session.bear(session.calm.allowsIdleFrame(session.now))
            }
        case NGHTTP2_RST_STREAM.rawValue: session.bear(session.calm.allowsReset(session.now))
        case NGHTTP2_WINDOW_UPDATE.rawValue: session.bear(session.calm.allowsOpening(session.now))
        case NGHTTP2_PING.rawValue, NGHTTP2_SETTINGS.rawValue, NGHTTP2_PRIORITY.rawValue:
            session.bear(session.calm.allowsIdleFrame(session.now))
        default: break
        }
        return session.breach != nil ? stopParsing : 0
    }

    private static let onData: nghttp2_on_data_chunk_recv_callback = { raw, _, id, data, size, owner in
        let session = unsafe of(owner)
        // The connection's window always opens again, so that one waiting stream doesn't starve the others; a stream's own
        // window opens when its service took the bytes.
        _ = unsafe nghttp2_session_consume_connection(raw, size)
        unsafe session.streams[id]?.receive(UnsafeRawBufferPointer(start: data, count: size))
        return 0
    }

    private static let onSent: nghttp2_on_frame_send_callback = { _, frame, owner in
        guard let frame = unsafe frame else { return 0 }
        let session = unsafe of(owner)
        let head = unsafe frame.pointee.hd
        switch UInt32(head.type) {
        case NGHTTP2_RST_STREAM.rawValue: unsafe session.didReset(frame.pointee.rst_stream.error_code)
        case NGHTTP2_DATA.rawValue:
            session.calm.earnOpenings()
            if has(head.flags, NGHTTP2_FLAG_END_STREAM) { session.streams[head.stream_id]?.answerIsOut() }
        case NGHTTP2_HEADERS.rawValue where has(head.flags, NGHTTP2_FLAG_END_STREAM):
            session.streams[head.stream_id]?.answerIsOut()
        default: break
        }
        return 0
    }

    private static let onClose: nghttp2_on_stream_close_callback = { _, id, _, owner in
        let session = unsafe of(owner)
        session.headBegan = nil
        session.close(id)
        return 0
    }

    /// Fills one DATA frame.
    static let readBody: nghttp2_data_source_read_callback = { _, id, buffer, size, flags, _, owner in
        guard let stream = unsafe of(owner).streams[id] else { return Int(resetStream) }
        let moved = unsafe stream.fill(UnsafeMutableRawBufferPointer(start: buffer, count: size))
        if stream.isAtEnd { unsafe flags?.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue }
        return moved > 0 || stream.isAtEnd ? moved : Int(NGHTTP2_ERR_DEFERRED.rawValue)
    }
}
