// The lists of trusted keys and the policies: one file of the state directory, replaced as a whole.
package import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform
internal import Synchronization

package final class TrustStore: Sendable {
    package static let mostKeys = 64

    private struct List: Codable, Equatable {
        struct Key: Codable, Equatable {
            let public_key, comment: String
            let added_at_ms: Int64
        }

        var unsigned: String?
        var keys: [Key] = []
    }

    private struct Lists: Codable {
        var version = 1
        var platform = List()
        var tenants: [String: List] = [:]
    }

    /// The same, taken apart.
    private struct Known {
        var keys: [TrustScope: [TrustedKey]] = [:]
        var unsigned: [String: UnsignedPolicy] = [:]
    }

    private let path: String
    private let directory: String
    /// What `serve --unsigned` says.
    package let platformUnsigned: UnsignedPolicy
    private let known: Mutex<Known>
    private let writing = Mutex(())

    /// Reads the lists. A file that can't be read is an error, never an empty list.
    package init(stateDirectory: String, unsigned: UnsignedPolicy) throws(RuntimeError) {
        directory = stateDirectory
        path = "\(stateDirectory)/trust.json"
        platformUnsigned = unsigned
        known = Mutex(try Self.read(path))
    }

    // MARK: reading

    /// What deployments of this tenant are judged by: its keys and the platform's, and the stricter of two policies.
    package func trust(of tenant: String) -> Trust {
        known.withLock { known in
            let keys = (known.keys[.tenant(tenant)] ?? []) + (known.keys[.platform] ?? [])
            return Trust(
                keys: keys.map(\.key), unsigned: max(platformUnsigned, known.unsigned[tenant] ?? platformUnsigned))
        }
    }

    package func keys(_ scope: TrustScope) -> [TrustedKey] { known.withLock { $0.keys[scope] ?? [] } }

    /// A tenant's own policy, when it has one.
    package func unsigned(of tenant: String) -> UnsignedPolicy? { known.withLock { $0.unsigned[tenant] } }

    // MARK: changes; they block

    /// Adds a key, or gives one that is there another comment.
    package func add(_ key: TrustedKey, to scope: TrustScope) throws(RuntimeError) {
        try change { (known) throws(RuntimeError) in
            var keys = known.keys[scope] ?? []
            if let same = keys.firstIndex(where: { $0.key.id == key.key.id }) {
                guard keys[same].key == key.key else {
                    throw RuntimeError(
                        .conflict, step: "trust the key \(key.key.id)",
                        cause: "\(scope) has another key of this number",
                        next: "remove that one first with `swiftlet trust rm`")
                }
                keys[same] = key
            } else {
                guard keys.count < Self.mostKeys else {
                    throw RuntimeError(
                        .conflict, step: "trust the key \(key.key.id)",
                        cause: "\(scope) has \(Self.mostKeys) keys already", next: "remove one with `swiftlet trust rm`"
                    )
                }
                keys.append(key)
            }
            known.keys[scope] = keys.sorted { $0.key.id < $1.key.id }
        }
    }

    /// Takes a key away. What it signed before stays deployed.
    package func remove(_ id: KeyID, from scope: TrustScope) throws(RuntimeError) -> TrustedKey {
        var gone: TrustedKey?
        try change { (known) throws(RuntimeError) in
            gone = known.keys[scope]?.first { $0.key.id == id }
            guard gone != nil else {
                throw RuntimeError(
                    .notFound, step: "remove the key \(id)", cause: "\(scope) has no such key",
                    next: "see `swiftlet trust ls`")
            }
            known.keys[scope]?.removeAll { $0.key.id == id }
        }
        // SAFETY of the unwrap: `change` threw when there was none.
        guard let gone else { preconditionFailure("a key was removed that was not there") }
        return gone
    }

    /// - Parameter policy: nil leaves it to the platform.
    package func setUnsigned(_ policy: UnsignedPolicy?, of tenant: String) throws(RuntimeError) {
        try change { (known) throws(RuntimeError) in known.unsigned[tenant] = policy }
    }

    /// Drops a tenant's list and policy: it is deleted.
    package func forget(_ tenant: String) throws(RuntimeError) {
        try change { (known) throws(RuntimeError) in
            known.keys[.tenant(tenant)] = nil
            known.unsigned[tenant] = nil
        }
    }

    private func change(_ body: (inout Known) throws(RuntimeError) -> Void) throws(RuntimeError) {
        let result = writing.withLock { _ -> Result<Void, RuntimeError> in
            do throws(RuntimeError) {
                var next = known.withLock { $0 }
                try body(&next)
                // On the disk before anybody is judged by it.
                try write(Self.lists(next))
                let stored = next
                known.withLock { $0 = stored }
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    // MARK: the file

    private func write(_ lists: Lists) throws(RuntimeError) {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
            let bytes = [UInt8](try encoder.encode(lists))
            let file = try FileDescriptor.open("\(path).new", flags: O_WRONLY | O_CREAT | O_TRUNC)
            var offset = 0
            while offset < bytes.count {
                offset += try libc("write(\(path).new)") {
                    unsafe bytes.withUnsafeBytes {
                        unsafe Glibc.write(file.raw, $0.baseAddress?.advanced(by: offset), bytes.count - offset)
                    }
                }
            }
            try libc("fsync(\(path).new)") { fsync(file.raw) }
            try libc("rename(\(path))") { unsafe rename("\(path).new", path) }
            let folder = try FileDescriptor.open(directory, flags: O_RDONLY | O_DIRECTORY)
            try libc("fsync(\(directory))") { fsync(folder.raw) }
        } catch {
            throw RuntimeError(
                .insufficientStorage, step: "write \(path)", cause: "\(error)",
                next: "free space in the state directory, then try again; nothing was changed")
        }
    }

    private static func lists(_ known: Known) -> Lists {
        func list(_ keys: [TrustedKey], _ unsigned: UnsignedPolicy?) -> List {
            List(
                unsigned: unsigned?.rawValue,
                keys: keys.map {
                    List.Key(public_key: $0.key.base64, comment: $0.comment, added_at_ms: $0.addedAt)
                })
        }
        var lists = Lists()
        for (scope, keys) in known.keys {
            switch scope {
            case .platform: lists.platform = list(keys, nil)
            case .tenant(let name): lists.tenants[name] = list(keys, known.unsigned[name])
            }
        }
        for (name, policy) in known.unsigned { lists.tenants[name, default: List()].unsigned = policy.rawValue }
        lists.tenants = lists.tenants.filter { $0.value != List() }
        return lists
    }

    private static func read(_ path: String) throws(RuntimeError) -> Known {
        guard unsafe access(path, F_OK) == 0 || errno != ENOENT else { return Known() }
        do {
            let lists = try JSONDecoder().decode(Lists.self, from: Data(contentsOf: URL(filePath: path)))
            guard lists.version == 1 else {
                throw SigningFault("it is of version \(lists.version), and this program knows 1")
            }
            var known = Known()
            known.keys[.platform] = try lists.platform.keys.map(read)
            for (name, list) in lists.tenants {
                known.keys[.tenant(name)] = try list.keys.map(read)
                guard let word = list.unsigned else { continue }
                guard let policy = UnsignedPolicy(rawValue: word) else {
                    throw SigningFault("it has an unknown policy")
                }
                known.unsigned[name] = policy
            }
            return known
        } catch {
            let cause = (error as? SigningFault)?.text ?? "\(error)"
            throw RuntimeError(
                .unavailable, step: "read the trusted keys in \(path)", cause: cause,
                next: "restore the file from a backup; removing it removes every trusted key")
        }
    }

    private static func read(_ key: List.Key) throws -> TrustedKey {
        try TrustedKey(PublicKey(Array(key.public_key.utf8)), comment: key.comment, addedAt: key.added_at_ms)
    }
}
