// Where the master key comes from: a file, the environment, systemd's credentials, or the first start of a host.
internal import CSeal
package import Core
package import Glibc
internal import Platform

/// Reads keys. Each of them becomes one or two `MasterKey`s: the second is the one that a rotation is about to put in place.
package struct MasterKeySource {
    package static let variable = "SWIFTLET_MASTER_KEY"
    package static let credential = "swiftlet-master-key"
    /// Beside a key's file while its rotation isn't finished (docs/secrets.md).
    package static let nextSuffix = ".next"
    private static let largestFile = 4096

    /// What to say of it in errors.
    package let words: String
    /// The key in use first.
    package let keys: [MasterKey]
    /// It was made at the first start and lies beside what it seals.
    package let isOwn: Bool

    /// Takes the variable away from this process and its children, at once; nil when there is none.
    /// Call it before the first thread.
    package static func takeEnvironment() -> SecretBytes? {
        var text = [UInt8](repeating: 0, count: largestFile)
        let length = unsafe text.withUnsafeMutableBytes { room in
            guard let base = room.baseAddress else { return -1 }
            return unsafe cseal_take_environment(variable, base, room.count)
        }
        guard length >= 0 else { return nil }
        var value = length <= text.count ? Array(text[..<length]) : []
        wipe(&text)
        return SecretBytes(taking: &value)
    }

    /// - Parameters:
    ///   - file: of `--master-key-file`.
    ///   - environment: what `takeEnvironment` found.
    ///   - owner: the user whom the host becomes.
    ///   - mayMake: nothing is sealed yet, so that a new key loses nothing.
    package init(
        file: String?, environment: SecretBytes?, state: String, owner: UInt32, mayMake: Bool
    ) throws(RuntimeError) {
        let directory = unsafe getenv("CREDENTIALS_DIRECTORY").map { unsafe String(cString: $0) }
        let credential = directory.map { "\($0)/\(Self.credential)" }
        let given = credential.map(Self.isThere) == true ? credential : nil
        let named = [
            file.map { "--master-key-file \($0)" }, environment.map { _ in Self.variable },
            given.map { "the credential \($0)" },
        ].compactMap(\.self)
        guard named.count <= 1 else {
            throw RuntimeError(
                .conflict, step: "find the master key", cause: "it is given by " + named.joined(separator: " and by "),
                next: "give it once")
        }
        isOwn = named.isEmpty
        let own = "\(state)/master.key"
        words = named.first ?? own
        if let environment {
            var text = environment.copy
            defer { wipe(&text) }
            keys = [try MasterKey(Self.decode(text, from: Self.variable))]
            return
        }
        let path = file ?? given ?? own
        if isOwn, !Self.isThere(path), errno == ENOENT {
            guard mayMake else {
                throw RuntimeError(
                    .unavailable, step: "find the master key",
                    cause: "none is given, \(own) is not there, and \(state) holds what was sealed under one",
                    next: "give the key that was in use: --master-key-file FILE, \(Self.variable) or the credential "
                        + "\(Self.credential); without it nothing that is sealed can be read, and nothing was written")
            }
            try Self.make(path, owner: nil)
        }
        // systemd gives a service's credentials by an access list, which shows as bits of the group.
        let open: mode_t = given == nil ? 0o077 : 0o007
        var keys = [try Self.read(path, owner: owner, closedTo: open)]
        let next = path + Self.nextSuffix
        if Self.isThere(next) { keys.append(try Self.read(next, owner: owner, closedTo: open)) }
        self.keys = keys
    }

    private static func isThere(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    /// A key's file: 32 bytes, or 64 hex digits, or 44 letters of Base64; readable for its owner only.
    package static func read(_ path: String, owner: UInt32, closedTo bits: mode_t = 0o077) throws(RuntimeError)
        -> MasterKey
    {
        let step = "read the master key \(path)"
        let file: FileDescriptor
        do {
            file = try FileDescriptor.open(path, flags: O_RDONLY | O_NONBLOCK)
        } catch {
            throw RuntimeError(
                .unavailable, step: step, cause: SystemError.text(of: error.code),
                next: "give the file that holds the key that was in use; nothing was written")
        }
        var info = stat()
        guard unsafe fstat(file.raw, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
            throw RuntimeError(.badRequest, step: step, cause: "it is no plain file", next: "give a file of 32 bytes")
        }
        guard info.st_mode & bits == 0 else {
            throw RuntimeError(
                .forbidden, step: step,
                cause: "its mode is 0\(String(info.st_mode & 0o777, radix: 8)): others than its owner may read it",
                next: "chmod 600 \(path); if others may have read it already, rotate the key (docs/secrets.md)")
        }
        guard info.st_uid == 0 || info.st_uid == owner || info.st_uid == geteuid() else {
            throw RuntimeError(
                .forbidden, step: step, cause: "it belongs to user \(info.st_uid)",
                next: "it must be root's, or of the user of the host (\(owner)): chown it")
        }
        var text = [UInt8](repeating: 0, count: largestFile)
        let count = unsafe Glibc.read(file.raw, &text, text.count)
        var value = count > 0 ? Array(text[..<count]) : []
        wipe(&text)
        defer { wipe(&value) }
        return try MasterKey(decode(value, from: path))
    }

    private static func decode(_ given: [UInt8], from place: String) throws(RuntimeError) -> SecretBytes {
        var text = given
        var key: [UInt8]? = text.count == Seal.keyBytes ? text : nil
        if key == nil {
            while let last = text.last, last == 10 || last == 13 || last == 32 { text.removeLast() }
            key = text.count == 2 * Seal.keyBytes ? Hex.bytes(text) : base64(text)
        }
        wipe(&text)
        guard var key, key.count == Seal.keyBytes else {
            throw RuntimeError(
                .badRequest, step: "read the master key of \(place)",
                cause: "it has \(given.count) bytes, which is neither a key of 32 bytes nor one in hex or Base64",
                next: "give the key that was in use, or make one for a new state directory: `openssl rand -hex 32`")
        }
        guard key.contains(where: { $0 != key[0] }) else {
            throw RuntimeError(
                .badRequest, step: "read the master key of \(place)", cause: "all of its bytes are the same",
                next: "make one that nobody can guess: `openssl rand -hex 32`")
        }
        return SecretBytes(taking: &key)
    }

    private static func base64(_ text: [UInt8]) -> [UInt8]? {
        guard text.count == 44, text[43] == UInt8(ascii: "=") else { return nil }
        var bytes: [UInt8] = []
        var bits: UInt32 = 0
        for (index, letter) in text[..<43].enumerated() {
            let value: UInt8
            switch letter {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = letter - 65
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = letter - 71
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = letter + 4
            case UInt8(ascii: "+"), UInt8(ascii: "-"): value = 62
            case UInt8(ascii: "/"), UInt8(ascii: "_"): value = 63
            default: return nil
            }
            bits = bits << 6 | UInt32(value)
            if index % 4 == 3 {
                bytes += [UInt8(truncatingIfNeeded: bits >> 16), UInt8(truncatingIfNeeded: bits >> 8)]
                bytes.append(UInt8(truncatingIfNeeded: bits))
                bits = 0
            }
        }
        return bytes + [UInt8(truncatingIfNeeded: bits >> 10), UInt8(truncatingIfNeeded: bits >> 2)]
    }

    /// Makes a key's file: all of it, or none.
    ///
    /// - Parameter owner: whose it is to be, when root makes it for a host of another user.
    package static func make(_ path: String, owner: UInt32?) throws(RuntimeError) {
        var key = SecretBytes.random(Seal.keyBytes).copy
        defer { wipe(&key) }
        do {
            try WholeFiles.write(key, to: path, mode: 0o600, owner: owner)
        } catch {
            throw RuntimeError(
                .insufficientStorage, step: "make the master key \(path)", cause: "\(error)",
                next: "give one by --master-key-file, or a state directory that can be written")
        }
    }
}
