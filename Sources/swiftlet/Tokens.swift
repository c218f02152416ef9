// The file of `serve --jwt`, joined to the authority that checks tokens by it.
internal import Core
internal import FoundationEssentials
internal import Identity
internal import Platform

struct Tokens {
    let authority: JWTAuthority
    /// Gets keys: of its own, because it waits for the hosts of others.
    let loop: EventLoop
    private let file: String

    /// Nil: no issuer is known. Reads as the user that the host is by then.
    init?(_ options: ServeOptions) throws {
        guard let file = options.jwt else { return nil }
        self.file = file
        loop = try EventLoop(index: options.loops + 5)
        authority = try JWTAuthority(try Self.read(file), loop: loop.remote)
    }

    /// SIGHUP: what the file says now holds from now on; one that can't be read changes nothing.
    func reload() {
        loop.remote.submit { [authority, file] _ in
            do {
                try authority.replace(try Self.read(file))
                Log.info("SIGHUP: the jwt file was read again")
            } catch {
                Log.error("SIGHUP: the old issuers stay in force", [("cause", "\(error)")])
            }
        }
    }

    /// Ends the loop, also while it waits for an address.
    var ending: @Sendable () -> Void {
        { [authority, remote = loop.remote] in
            authority.close()
            remote.submit { $0.stop() }
        }
    }

    private static func read(_ file: String) throws -> JWTConfig {
        guard let data = try? Data(contentsOf: URL(filePath: file)) else {
            throw RuntimeError(
                .badRequest, step: "read the jwt file \(file)", cause: "the file can't be read",
                next: "give --jwt a file that the user of the host may read")
        }
        return try JWTConfig(json5: Array(data), file: file)
    }
}
