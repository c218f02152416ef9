// What clients call a model: its name, and perhaps which version of it.

/// `name` or `name@version`, where the version is an alias, a version of the manifest, or the beginning of a digest.
package struct ModelReference: Equatable, Sendable {
    /// What the name alone means; each deployment moves it.
    package static let latest = "latest"
    /// What `latest` meant before; the host keeps it, for the way back.
    package static let previous = "previous"

    package let name: String
    package let version: String?

    /// Anything is one; what isn't deployed is not found.
    package init(_ text: String) {
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        name = String(parts[0])
        version = parts.count == 2 ? String(parts[1]) : nil
    }
}
