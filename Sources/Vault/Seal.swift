// AES-256-GCM on bytes: what is sealed opens under the same key and for the same purpose only.
internal import CSeal
package import Core

package enum Seal {
    /// Bytes that sealing adds.
    package static let overhead = Int(CSEAL_OVERHEAD)
    /// Bytes of a key.
    package static let keyBytes = Int(CSEAL_KEY)

    /// - Parameters:
    ///   - key: of 32 bytes.
    ///   - purpose: what it is and whose; not stored, and asked for again by `open`.
    package static func seal(_ data: UnsafeRawBufferPointer, key: SecretBytes, purpose: String) throws(RuntimeError)
        -> [UInt8]
    {
        let bound = Array(purpose.utf8)
        var sealed = [UInt8](repeating: 0, count: data.count + overhead)
        let isDone = unsafe key.withBytes { key in
            guard let key = unsafe key.bindMemory(to: UInt8.self).baseAddress else { return false }
            var none: UInt8 = 0
            return unsafe withUnsafePointer(to: &none) { none in
                unsafe cseal_seal(
                    key, bound, bound.count, data.baseAddress ?? UnsafeRawPointer(none), data.count, &sealed) == 1
            }
        }
        guard isDone else {
            throw RuntimeError(
                .unavailable, step: "seal \(purpose)", cause: "OpenSSL could not: it has no memory or no random bytes",
                next: "try again")
        }
        return sealed
    }

    package static func seal(_ data: SecretBytes, key: SecretBytes, purpose: String) throws(RuntimeError) -> [UInt8] {
        let sealed = unsafe data.withBytes { data in
            Result { () throws(RuntimeError) in try unsafe seal(data, key: key, purpose: purpose) }
        }
        return try sealed.get()
    }

    /// Nil when not one bit may be trusted: another key, another purpose, cut, or tampered with.
    package static func open(_ sealed: [UInt8], key: SecretBytes, purpose: String) -> SecretBytes? {
        guard sealed.count >= overhead else { return nil }
        let bound = Array(purpose.utf8)
        return unsafe SecretBytes(count: sealed.count - overhead) { out in
            unsafe key.withBytes { key in
                guard let key = unsafe key.bindMemory(to: UInt8.self).baseAddress else { return false }
                return unsafe cseal_open(key, bound, bound.count, sealed, sealed.count, out) == 1
            }
        }
    }

    /// HMAC-SHA256 of a text.
    static func mac(_ text: String, key: SecretBytes) -> SecretBytes? {
        let text = Array(text.utf8)
        return unsafe SecretBytes(count: Int(CSEAL_MAC)) { out in
            unsafe key.withBytes { key in
                guard let key = unsafe key.bindMemory(to: UInt8.self).baseAddress else { return false }
                return unsafe cseal_mac(key, text, text.count, out) == 1
            }
        }
    }
}

/// Bytes as the text that a table keeps.
enum Hex {
    static func text(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count * 2)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Nil when it isn't pairs of hex digits.
    static func bytes(_ text: some Collection<UInt8>) -> [UInt8]? {
        guard text.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 2)
        var high: UInt8?
        for digit in text {
            let value: UInt8
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = digit - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = digit - UInt8(ascii: "A") + 10
            default: return nil
            }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        return bytes
    }
}
