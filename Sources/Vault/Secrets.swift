// What a secret is called, where it counts, and what is told of it: never its value.
package import Core

/// Whose secret it is. A function's own one wins over its tenant's of the same name.
package struct SecretPlace: Hashable, Sendable {
    package let tenant: String
    /// Nil: every function of the tenant may name it.
    package let function: String?
    package let name: String

    package init(tenant: String, function: String?, name: String) {
        self.tenant = tenant
        self.function = function
        self.name = name
    }

    /// Says which parts of it are no names.
    package func validate() throws(RuntimeError) {
        try Names.validate(tenant, as: "tenant")
        if let function { try Names.validate(function, as: "function") }
        guard Names.isSecretName(name) else {
            throw RuntimeError(
                .badRequest, step: "name of the secret", cause: "\(Names.quoted(name)) is not a valid name",
                next: "use \(Names.secretNameRule)")
        }
    }

    var words: String { tenant + (function.map { "/\($0)" } ?? "") + ": \(name)" }
}

/// One version of a secret, sealed with its tenant's key.
struct SealedSecret: Sendable, Equatable {
    let version: Int
    let keyVersion: Int
    let sealed: [UInt8]
    /// Milliseconds since 1970.
    let createdAt: Int64
    let changedAt: Int64

    /// The version is part of it: an old value can't be put back in a new one's place.
    static func purpose(_ place: SecretPlace, version: Int) -> String {
        "swiftlet secret \(place.tenant)/\(place.function ?? "")/\(place.name)/\(version)"
    }
}

/// What may be known of a secret.
package struct SecretDescription: Sendable, Equatable {
    package let place: SecretPlace
    /// 1 for the first value, one more with each new one.
    package let version: Int
    /// Milliseconds since 1970.
    package let createdAt: Int64
    package let changedAt: Int64
}
