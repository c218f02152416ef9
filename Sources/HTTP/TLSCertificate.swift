// What a server says of its own certificate, so that a human or a client can know it again.
internal import COpenSSL

package struct TLSCertificate: Sendable, Equatable {
    /// SHA-256 of the certificate, 64 hex digits.
    package let fingerprint: String
    /// SHA-256 of its public key, in curl's notation: `sha256//` and Base64. A renewal by the same key keeps it.
    package let pin: String
    /// Seconds of the wall clock.
    package let expires: Int64
    package let isSelfSigned: Bool
}

extension TLSHandle {
    func facts(of file: String) throws(TLSError) -> TLSCertificate {
        var facts = copenssl_facts()
        guard unsafe copenssl_facts_of(raw, &facts) else {
            throw TLSError(description: "TLS: the certificate \(file) can't be understood")
        }
        let fingerprint = unsafe withUnsafeBytes(of: &facts.fingerprint) { unsafe hexadecimal($0) }
        let pin = unsafe withUnsafeBytes(of: &facts.pin) { unsafe base64($0) }
        return TLSCertificate(
            fingerprint: fingerprint, pin: "sha256//\(pin)", expires: facts.not_after,
            isSelfSigned: facts.is_self_signed)
    }
}

func hexadecimal(_ bytes: UnsafeRawBufferPointer) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return unsafe String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}

func base64(_ bytes: UnsafeRawBufferPointer) -> String {
    let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
        var group = 0
        for at in start..<(start + 3) { group = unsafe group << 8 | (at < bytes.count ? Int(bytes[at]) : 0) }
        let used = min(3, bytes.count - start) + 1
        for step in 0..<4 { text.append(step < used ? letters[group >> (18 - 6 * step) & 63] : 0x3d) }
    }
    return String(decoding: text, as: UTF8.self)
}
