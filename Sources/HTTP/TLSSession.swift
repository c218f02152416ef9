// TLS on one socket: handshake, bytes both ways, and who the client is.
internal import COpenSSL

/// It must go before the socket does.
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
    /// The session chooses among its names.
    private let generation: TLSGeneration
    private(set) var isReady = false

    init(_ raw: OpaquePointer, _ generation: TLSGeneration) {
        unsafe self.raw = raw
        self.generation = generation
    }

    deinit { unsafe copenssl_session_free(raw) }

    var agreedHTTP2: Bool { unsafe copenssl_agreed_h2(raw) }

    /// Goes on with the handshake; `.bytes(0)` when it is complete.
    func handshake() -> Outcome {
        let result = unsafe Int(copenssl_handshake(raw))
        isReady = result == 1
        return isReady ? .bytes(0) : outcome(result)
    }

    /// Why the client's certificate was refused, when that is what ended the handshake.
    var refusedClient: String? { unsafe copenssl_client_refused(raw).map { unsafe String(cString: $0) } }

    /// What every request of this connection shares.
    func facts(peer: HTTPPeer) -> ConnectionFacts {
        let name = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text -> String? in
            guard let start = text.baseAddress, unsafe copenssl_server_name(raw, start, text.count) else { return nil }
            return unsafe String(cString: start)
        }
        return ConnectionFacts(
            peer: peer, isTLS: true, serverName: name, clientCertificate: clientCertificate(),
            isBound: name.map { generation.tenants[$0] != nil } ?? false)
    }

    private func clientCertificate() -> ClientCertificate? {
        unsafe withUnsafeTemporaryAllocation(of: copenssl_client.self, capacity: 1) { place in
            guard let client = place.baseAddress, unsafe copenssl_client_of(raw, client) else { return nil }
            let digest = unsafe withUnsafeBytes(of: &client.pointee.sha256) { unsafe hexadecimal($0) }
            let size = unsafe client.pointee.size
            let texts = unsafe withUnsafeBytes(of: &client.pointee.text) { text in
                let bytes = unsafe Array(text.prefix(size))
                return bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast().map {
                    String(decoding: $0, as: UTF8.self)
                }
            }
            return ClientCertificate(
                sha256: digest, commonName: texts.first.flatMap { $0.isEmpty ? nil : $0 },
                uris: Array(texts.dropFirst()))
        }
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
