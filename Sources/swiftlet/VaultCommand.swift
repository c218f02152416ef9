// swiftlet vault: new keys for old ones, of the master while no host runs and of a tenant while one does.
internal import CLinux
internal import Core
internal import Glibc
internal import Platform
internal import Vault

enum VaultCommand {
    static let help = """
        usage: swiftlet vault rotate-master --state DIR [--old-key FILE] [--new-key FILE] [--json]
               swiftlet vault rotate-key [--tenant NAME] [--reseal] [--host URL] [--json]

        rotate-master  Wraps the tenants' keys of a state directory with a new master key. No host may use the directory.
                       Without --new-key a key is made as FILE.next, and takes the place of FILE when all is done. If it is
                       cut short, run it again: a host that starts meanwhile with FILE takes FILE.next as well.
          --old-key FILE  the key in use (default DIR/master.key)
          --new-key FILE  a key that is there already; give it to `serve` from then on
        rotate-key     Gives a tenant (default `default`) a new data key, which seals from now on; what the older ones
                       sealed opens as before.
          --reseal     seal everything of the tenant with it, behind the scenes, and destroy the older ones then
        """

    private struct Rotated: Decodable {
        let tenant: String
        let key_version: Int
    }

    static func run(_ arguments: Arguments) throws -> Int32 {
        switch arguments.positional {
        case ["rotate-master"]: return try rotateMaster(arguments)
        case ["rotate-key"]: return try rotateKey(arguments)
        default: throw UsageError(text: "`vault` takes `rotate-master` or `rotate-key`")
        }
    }

    private static func rotateMaster(_ arguments: Arguments) throws -> Int32 {
        guard let state = arguments.value("--state") else { throw UsageError(text: "--state DIR is needed") }
        let lock = try claim(state)
        defer { withExtendedLifetime(lock.raw) {} }
        let path = arguments.value("--old-key") ?? "\(state)/master.key"
        let next = path + MasterKeySource.nextSuffix
        let owner = try ownerOf(path)
        let old = try MasterKeySource.read(path, owner: owner)
        let given = arguments.value("--new-key")
        if given == nil, unsafe access(next, F_OK) != 0 { try MasterKeySource.make(next, owner: owner) }
        let new = try MasterKeySource.read(given ?? next, owner: owner)
        let count = try Vault.rotateMaster(stateDirectory: state, from: old, to: new)
        if given == nil { try WholeFiles.rename(next, to: path) }
        let words =
            count.map { "\($0) keys are wrapped by the master key \(new.name)" } ?? "it was done: \(new.name) is in use"
        if arguments.has("--json") {
            Output.line("{\"master\":\"\(new.name)\",\"rewrapped\":\(count ?? 0)}")
        } else {
            Output.line(words + (given.map { "; start the host with --master-key-file \($0)" } ?? ""))
        }
        return 0
    }

    /// The lock that a host holds.
    private static func claim(_ state: String) throws -> FileDescriptor {
        let lock = try FileDescriptor.open("\(state)/lock", flags: O_RDWR)
        guard clinux_try_lock(lock.raw) == 0 else {
            throw RuntimeError(
                .conflict, step: "use \(state)", cause: "a host uses this state directory", next: "stop the host first")
        }
        return lock
    }

    private static func ownerOf(_ path: String) throws -> UInt32 {
        var info = stat()
        try libc("stat(\(path))") { unsafe stat(path, &info) }
        return info.st_uid
    }

    private static func rotateKey(_ arguments: Arguments) throws -> Int32 {
        let tenant = Client.tenant(arguments)
        try Names.validate(tenant, as: "tenant")
        let client = try Client(arguments)
        let query = arguments.has("--reseal") ? "?reseal=true" : ""
        let answer = try client.expect("POST", "/admin/v1/tenants/\(tenant)/data-key/rotate\(query)")
        if arguments.has("--json") {
            Output.bytes(answer.body)
        } else {
            Output.line("\(tenant): key \(try client.decode(Rotated.self, answer).key_version) seals from now on")
        }
        return 0
    }
}
