// Who wraps the tenants' keys: a master key in this process's memory, or a key-management service that never gives its own out.
package import Core

/// May block: it is asked at the start, for a tenant's first key, and when keys are rotated; never on a loop.
package protocol KeyWrapper: Sendable {
    /// Tells one key from another and nothing else of it; stored beside what it wrapped, so that errors can name it.
    var name: String { get }
    /// - Parameter purpose: what the key is and whose; `unwrap` must be given the same.
    func wrap(_ key: SecretBytes, purpose: String) throws(RuntimeError) -> [UInt8]
    /// Nil: this wrapper did not wrap it, or not for this. It throws when it can't tell at the moment.
    func unwrap(_ wrapped: [UInt8], purpose: String) throws(RuntimeError) -> SecretBytes?
}

/// 32 bytes that somebody gave or that were made at the first start.
package final class MasterKey: KeyWrapper {
    package let name: String
    private let wrapping: SecretBytes

    /// - Parameter key: of 32 bytes. It is not kept: one key for each use comes of it.
    package init(_ key: SecretBytes) throws(RuntimeError) {
        guard key.count == Seal.keyBytes, let wrapping = Seal.mac("swiftlet master key: wrapping", key: key),
            let naming = Seal.mac("swiftlet master key: name", key: key)
        else {
            throw RuntimeError(
                .badRequest, step: "take the master key", cause: "it has \(key.count) bytes and not \(Seal.keyBytes)",
                next: "make one with `head -c 32 /dev/urandom`")
        }
        self.wrapping = wrapping
        name = Hex.text(Array(naming.copy.prefix(8)))
    }

    package func wrap(_ key: SecretBytes, purpose: String) throws(RuntimeError) -> [UInt8] {
        try Seal.seal(key, key: wrapping, purpose: purpose)
    }

    package func unwrap(_ wrapped: [UInt8], purpose: String) throws(RuntimeError) -> SecretBytes? {
        Seal.open(wrapped, key: wrapping, purpose: purpose)
    }
}
