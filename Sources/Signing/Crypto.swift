// The few primitives of signing as Swift values: everything that calls OpenSSL is here.
internal import CSignature

/// Why bytes are no key, no signature or no list; whoever reads a file adds its name and what to do next.
package struct SigningFault: Error, Equatable, Sendable {
    package let text: String
    package init(_ text: String) { self.text = text }
}

enum Crypto {
    static func random(_ count: Int) throws(SigningFault) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: count)
        guard unsafe csignature_random(&out, count) == 1 else { throw SigningFault("OpenSSL has no random bytes") }
        return out
    }

    static func verify(_ message: [UInt8], _ signature: [UInt8], publicKey: [UInt8]) -> Bool {
        guard signature.count == Int(CSIGNATURE_SIGNATURE), publicKey.count == Int(CSIGNATURE_PUBLIC) else {
            return false
        }
        return unsafe csignature_verify(publicKey, message, message.count, signature) == 1
    }

    /// BLAKE2b-512; nil: too large, or no memory.
    static func hash(_ message: [UInt8]) -> [UInt8]? {
        var out = [UInt8](repeating: 0, count: Int(CSIGNATURE_HASH))
        return unsafe csignature_hash(message, message.count, &out) == 1 ? out : nil
    }
}

/// Bytes that are overwritten when nobody needs them any more; never copied into an array.
final class SecretBytes {
    private var bytes: [UInt8]

    init(_ bytes: consuming [UInt8]) { self.bytes = bytes }

    deinit { unsafe csignature_wipe(&bytes, bytes.count) }

    var count: Int { bytes.count }

    func with<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        unsafe bytes.withUnsafeBytes { unsafe body($0) }
    }

    /// One byte after the other, combined with a stream as long: how minisign hides a key.
    func xor(_ stream: SecretBytes) {
        unsafe stream.with { other in
            for index in bytes.indices { unsafe bytes[index] ^= other[index] }
        }
    }
}

extension SecretBytes {
    /// scrypt's output for a password. Takes as long and as much memory as `cost` says.
    convenience init(password: SecretBytes, salt: [UInt8], cost: ScryptCost, count: Int) throws(SigningFault) {
        var out = [UInt8](repeating: 0, count: count)
        let made = unsafe password.with { password in
            unsafe csignature_scrypt(
                password.baseAddress, password.count, salt, salt.count, cost.n, cost.p, &out, count)
        }
        guard made == 1 else {
            throw SigningFault("its password takes more memory to check than there is, or than 1 GiB")
        }
        self.init(out)
    }
}
