// The certificate that a host makes for itself where it was given none: made once, kept, renewed in time.
internal import COpenSSL
internal import Glibc
internal import Platform

/// A key and a certificate in one file, so that there is never half a pair.
package struct SelfSigned: Sendable {
    /// Browsers and Apple's systems take none that lasts longer.
    private static let days: CInt = 825
    private static let renewedBefore: Int64 = 30 * 86_400

    /// PEM, for the owner alone: the key, then the certificate.
    package let pair: String
    /// PEM, for everybody: the certificate, to be given to clients as an authority.
    package let certificate: String
    private let directory: String
    private let names: [String]

    /// - Parameters:
    ///   - directory: is made when it is missing; its parent exists.
    ///   - names: host names and numeric addresses that clients may use; the first is the certificate's own.
    package init(directory: String, names: [String]) {
        self.directory = directory
        self.names = names
        pair = "\(directory)/self-signed.pem"
        certificate = "\(directory)/certificate.pem"
    }

    /// Makes the files when they are missing, damaged, for other names, or near their end.
    /// - Returns: why they were made; nil when the old ones go on.
    package func ensure(now: Int64 = Int64(time(nil))) throws -> String? {
        if unsafe mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw SystemError(call: "mkdir(\(directory))", code: errno)
        }
        let old = try readOld()
        let reason = reason(toReplace: old, now: now)
        guard reason != nil || (unsafe access(certificate, R_OK)) != 0 else { return nil }
        // The same key goes on, so that clients that pinned it need not be told.
        let pem = reason == nil ? old?.pem ?? "" : try make(oldKey: old?.isUsable == true ? old?.pem : nil)
        if reason != nil { try WholeFiles.write(Array(pem.utf8), to: pair, mode: 0o600) }
        guard let start = pem.firstRange(of: "-----BEGIN CERTIFICATE-----")?.lowerBound else {
            throw TLSError(description: "TLS: \(pair) holds no certificate")
        }
        try WholeFiles.write(Array(pem[start...].utf8), to: certificate, mode: 0o644)
        return reason
    }

    private struct Old {
        let pem: String
        let handle: TLSHandle?
        var isUsable: Bool { handle != nil }
    }

    /// Nil when there is none. A file that can't be read is not replaced: it may be the right one for another user.
    private func readOld() throws -> Old? {
        if unsafe access(pair, F_OK) != 0, errno == ENOENT { return nil }
        let file = try FileDescriptor.open(pair, flags: O_RDONLY)
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        let size = try libc("read(\(pair))") {
            unsafe bytes.withUnsafeMutableBytes { unsafe read(file.raw, $0.baseAddress, $0.count) }
        }
        let handle = try? TLSHandle(certificate: pair, key: pair, clients: (nil, nil))
        return Old(pem: String(decoding: bytes[..<size], as: UTF8.self), handle: handle)
    }

    private func reason(toReplace old: Old?, now: Int64) -> String? {
        guard let old else { return "there was none" }
        guard let handle = old.handle, let facts = try? handle.facts(of: pair) else {
            return "\(pair) is damaged; clients that pinned its key must be told the new one"
        }
        if facts.expires - now < Self.renewedBefore { return "the old one ends within 30 days" }
        guard let missing = names.first(where: { !handle.covers($0) }) else { return nil }
        return "the old one is not for \(missing)"
    }

    private func make(oldKey: String?) throws(TLSError) -> String {
        let list = names.map { Self.isAddress($0) ? "IP:\($0)" : "DNS:\($0)" }.joined(separator: ",")
        var pem = [CChar](repeating: 0, count: 8192)
        var problem = [CChar](repeating: 0, count: 320)
        // X.520 allows a common name 64 characters.
        let own = String((names.first ?? "swiftlet").prefix(64))
        guard unsafe copenssl_self_sign(oldKey, own, list, Self.days, &pem, pem.count, &problem, problem.count) else {
            throw TLSError(description: Self.text(problem))
        }
        return Self.text(pem)
    }

    private static func text(_ characters: [CChar]) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    static func isAddress(_ name: String) -> Bool {
        var (v4, v6) = (in_addr(), in6_addr())
        return unsafe inet_pton(AF_INET, name, &v4) == 1 || inet_pton(AF_INET6, name, &v6) == 1
    }
}
