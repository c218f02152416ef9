// Certificate and key of a server, and one TLS session on one socket.
internal import CLinux
internal import COpenSSL
internal import Synchronization

/// Why a certificate can't be served.
package struct TLSError: Error, CustomStringConvertible {
    package let description: String
}

/// A certificate and its key, shared by all loops.
package final class TLSContext: Sendable {
    private let certificate: String
    private let key: String
    private let current: Mutex<Handle>

    /// Reads PEM files: the chain with the server's certificate first, and its key.
    package init(certificate: String, key: String) throws(TLSError) {
        self.certificate = certificate
        self.key = key
        current = Mutex(try Handle(certificate: certificate, key: key))
        // OpenSSL writes without MSG_NOSIGNAL: a client that left would end the process.
        _ = clinux_ignore_sigpipe()
    }

    /// Reads the files again. Connections that are open keep what they began with; when it fails, so do new ones.
    package func reload() throws(TLSError) {
        let fresh = try Handle(certificate: certificate, key: key)
        current.withLock { $0 = fresh }
    }

    func accept(_ socket: CInt) -> TLSSession? {
        let handle = current.withLock { $0 }
        guard let raw = unsafe copenssl_accept(handle.raw, socket) else { return nil }
        return unsafe TLSSession(raw)
    }

    // SAFETY: OpenSSL counts references to a context atomically, and none is changed after it was made.
    @safe private final class Handle: @unchecked Sendable {
        let raw: OpaquePointer

        init(certificate: String, key: String) throws(TLSError) {
            var problem = ""
            let made = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 320) { words -> OpaquePointer? in
                guard let start = words.baseAddress else { return nil }
                let context = unsafe copenssl_server_context(certificate, key, start, words.count)
                if unsafe context == nil { problem = unsafe String(cString: start) }
                return unsafe context
            }
            guard let made = unsafe made else {
                let files = "certificate \(certificate), key \(key)"
                throw TLSError(description: "\(problem) (\(files)): check that both are readable PEM files")
            }
            unsafe raw = made
        }

        deinit { unsafe copenssl_context_free(raw) }
    }
}

/// TLS on one socket. It must go before the socket does.
// SAFETY: `raw` is freed once, here, and used on the connection's loop only.
@safe final class TLSSession {
    enum Outcome {
        case bytes(Int)
        case wantsInput
        case wantsOutput
        /// The other side said goodbye, or broke the rules.
        case ended
    }

    private let raw: OpaquePointer
    private(set) var isReady = false

    init(_ raw: OpaquePointer) { unsafe self.raw = raw }

    deinit { unsafe copenssl_session_free(raw) }

    var agreedHTTP2: Bool { unsafe copenssl_agreed_h2(raw) }

    /// Goes on with the handshake; `.bytes(0)` when it is complete.
    func handshake() -> Outcome {
        let result = unsafe Int(copenssl_handshake(raw))
        isReady = result == 1
        return isReady ? .bytes(0) : outcome(result)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> Outcome {
        guard let start = buffer.baseAddress else { return .ended }
        return outcome(unsafe copenssl_read(raw, start, buffer.count))
    }

    func write(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        guard let start = bytes.baseAddress else { return .ended }
        return outcome(unsafe copenssl_write(raw, start, bytes.count))
    }

    func sayGoodbye() { unsafe copenssl_goodbye(raw) }

    private func outcome(_ result: Int) -> Outcome {
        switch result {
        case 1...: .bytes(result)
        case Int(COPENSSL_WANTS_INPUT): .wantsInput
        case Int(COPENSSL_WANTS_OUTPUT): .wantsOutput
        default: .ended
        }
    }
}
