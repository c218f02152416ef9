// The door for tokens: text in, who it speaks for or why not out, without waiting. Shared by all loops.
package import Core
package import Platform
internal import Synchronization

package final class JWTAuthority: Sendable {
    /// What one reading of the file says; another replaces it whole.
    private final class Issuers: Sendable {
        let all: [(policy: IssuerPolicy, keys: IssuerKeys)]
        let known = VerifiedTokens()

        init(_ all: [(policy: IssuerPolicy, keys: IssuerKeys)]) { self.all = all }
    }

    private let loop: LoopRemote
    private let current: Mutex<Issuers>

    /// - Parameter loop: gets keys; waits for addresses, so nothing else should run there.
    /// - Throws: when a file of keys can't be read.
    package init(_ config: JWTConfig, loop: LoopRemote) throws(RuntimeError) {
        self.loop = loop
        current = Mutex(try Self.issuers(config, keeping: nil, loop))
    }

    /// What the file says now holds from now on; issuers whose source of keys is the same keep their keys.
    /// - Throws: when a file of keys can't be read; then nothing has changed.
    package func replace(_ config: JWTConfig) throws(RuntimeError) {
        let old = current.withLock { $0 }
        let new = try Self.issuers(config, keeping: old, loop)
        current.withLock { $0 = new }
        for (_, keys) in old.all where !new.all.contains(where: { $0.keys === keys }) { keys.close() }
    }

    /// Ends what is waited for.
    package func close() {
        for (_, keys) in current.withLock({ $0 }).all { keys.close() }
    }

    private static func issuers(
        _ config: JWTConfig, keeping old: Issuers?, _ loop: LoopRemote
    ) throws(RuntimeError) -> Issuers {
        var all: [(policy: IssuerPolicy, keys: IssuerKeys)] = []
        for policy in config.issuers {
            let kept = old?.all.first {
                $0.policy.issuer.isExactly(policy.issuer) && $0.keys.source == policy.source
                    && $0.keys.keep == policy.keepsKeys
            }
            if let kept {
                all.append((policy, kept.keys))
            } else {
                all.append((policy, try IssuerKeys(policy, loop: loop)))
            }
        }
        return Issuers(all)
    }

    // MARK: requests

    /// Three parts, of which the first begins an object: other words are not meant to be tokens.
    package static func looksLikeToken(_ text: String) -> Bool {
        text.hasPrefix("eyJ") && text.utf8.count { $0 == UInt8(ascii: ".") } == 2
    }

    /// - Parameter now: unix milliseconds.
    func check(_ token: String, now: Int64, clock: MonotonicTime = .now) -> Result<Principal, JWTRefusal> {
        let issuers = current.withLock { $0 }
        guard token.utf8.count <= SignedToken.longest else {
            return .failure(JWTRefusal(.tooLong, "the token is longer than \(SignedToken.longest) bytes"))
        }
        let bytes = Array(token.utf8)
        let digest = TokenDigest(bytes)
        if let digest, let principal = issuers.known.principal(digest, now: now, clock: clock) {
            return .success(principal)
        }
        do throws(JWTRefusal) {
            let entry = try Self.verify(bytes, issuers, now: now, clock: clock)
            if let digest { issuers.known.add(entry, for: digest) }
            return .success(entry.principal)
        } catch {
            return .failure(error)
        }
    }

    private static func verify(
        _ bytes: [UInt8], _ issuers: Issuers, now: Int64, clock: MonotonicTime
    ) throws(JWTRefusal) -> VerifiedTokens.Entry {
        let token = try SignedToken(bytes)
        let issuer = try Verifier.issuer(of: token)
        guard let (policy, keys) = issuers.all.first(where: { $0.policy.issuer.isExactly(issuer) }) else {
            throw JWTRefusal(.issuer, "this host does not trust the issuer of the token (iss)")
        }
        guard policy.algorithms.contains(token.algorithm) else {
            throw JWTRefusal(.algorithm, "the algorithm of the token is not one that its issuer uses here")
        }
        let (key, generation) = try find(token, keys, clock)
        try Verifier.checkSignature(token, key)
        let verified = try Verifier.checkClaims(token, policy, now: now)
        let principal = try policy.principal(verified, claims: token.claims)
        return VerifiedTokens.Entry(
            principal: principal, expires: verified.expires, keys: keys, generation: generation)
    }

    private static func find(
        _ token: SignedToken, _ keys: IssuerKeys, _ clock: MonotonicTime
    ) throws(JWTRefusal) -> (VerificationKey, UInt64) {
        switch keys.key(token.keyID, token.algorithm, now: clock) {
        case .key(let key, let generation): return (key, generation)
        case .unknown: throw JWTRefusal(.key, "the issuer has no key of this name (kid) for this algorithm")
        case .ambiguous: throw JWTRefusal(.key, "the token names no key (kid), and its issuer has several")
        case .notYet(let seconds):
            throw JWTRefusal(
                .keysUnavailable, "the keys of the token's issuer are not at hand yet", retryAfter: seconds)
        }
    }
}

extension JWTAuthority: TokenAuthority {
    package func authenticate(_ token: String, now: Int64) -> Result<Principal, AuthenticationFault> {
        check(token, now: now).mapError(\.fault)
    }
}
