// Which version of which model a name means: `name`, `name@alias`, `name@version`, `name@digest`. Pure.
internal import Core
internal import Workers

/// Every version that is kept, found by what clients call it.
package struct ModelDirectory: Sendable {
    /// Digits of a digest that are enough to name a version by it.
    package static let shortestDigest = 8

    /// What `name` alone means, by name.
    package private(set) var latest: [ModelSpec] = []
    /// All, by name and then newest first.
    package private(set) var versions: [ModelSpec] = []
    private var byName: [String: [ModelSpec]] = [:]

    package init() {}

    /// - Parameter specs: the versions of one name in the order in which they were deployed, the newest first.
    package init(_ specs: [ModelSpec]) {
        byName = Dictionary(grouping: specs, by: \.name)
        versions = byName.keys.sorted().flatMap { byName[$0] ?? [] }
        latest = versions.filter(\.isLatest)
    }

    package subscript(_ text: String) -> ModelSpec? {
        let reference = ModelReference(text)
        guard let versions = byName[reference.name] else { return nil }
        guard let wanted = reference.version else { return versions.first(where: \.isLatest) }
        return versions.first { $0.aliases.contains(wanted) }
            ?? versions.first { $0.version == wanted }
            ?? (wanted.utf8.count >= Self.shortestDigest
                ? versions.first { $0.worker.directory.hasPrefix(wanted) } : nil)
    }

    package func versions(of name: String) -> [ModelSpec] { byName[name] ?? [] }
}
