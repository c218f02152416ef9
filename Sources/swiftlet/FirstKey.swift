// The key of the platform's admin that a first start makes; it is printed once, and only its hash is kept.
internal import Core
internal import Identity
internal import Platform
internal import Registry

enum FirstKey {
    /// Nil when the platform has a key.
    static func make(_ registry: Registry) throws -> String? {
        guard registry.snapshot.keys(of: nil).isEmpty else { return nil }
        let key = try APIKey(kind: .platform)
        try registry.addKey(
            KeyRecord(
                hash: try key.hash, tenant: nil, role: .platformAdmin, comment: "made by the first start",
                createdAt: WallClock.milliseconds))
        return key.text
    }
}
