// Secrets: what an operator keeps from everybody but this function.

/// The value of a secret that the manifest names under `secrets`.
public struct Secret: Sendable {
    public let bytes: [UInt8]

    /// The value as text; nil when it isn't UTF-8.
    public var text: String? { String(validating: bytes, as: UTF8.self) }
}

extension Context {
    /// Asks the host for a secret: the function's own of this name, else its tenant's.
    ///
    /// Throws `HostCallError` with the type `secret_not_named` (the manifest doesn't list it), `secret_not_found` (nobody has set
    /// it) or `secret_unavailable`. Don't log it, and don't keep it longer than you need it: a new value is there at the next call.
    public func secret(_ name: String) async throws -> Secret {
        Secret(bytes: try await call("secret.get", json: Array(name.utf8)))
    }
}
