// Keys that change under a running authority: by file and by address, with the loop of keys stepped by hand.
import Core
import Glibc
import Platform
import TestSupport
import Testing

@testable import Identity

@Suite(.serialized) struct JWTRotationTests {
    private func step(_ loop: EventLoop, until holds: () -> Bool) -> Bool {
        for _ in 0..<500 {
            _ = loop.step()
            if holds() { return true }
            usleep(10_000)
        }
        return false
    }

    @Test func aFileThatChangesIsReadAgain() throws {
        let (old, new) = (try TokenSigner(.ed25519), try TokenSigner(.p256))
        let world = try JWTWorld([try old.jwk(kid: "old")], "keep_keys_s: 1")
        let (oldToken, newToken) = (try old.token(kid: "old", testClaims()), try new.token(kid: "new", testClaims()))
        #expect(world.refusal(oldToken) == nil && world.refusal(newToken)?.check == .key)
        try world.write([try old.jwk(kid: "old"), try new.jwk(kid: "new")])
        #expect(step(world.loop) { world.refusal(newToken) == nil })
        #expect(world.refusal(oldToken) == nil)
        // The old one is revoked: what was verified before is forgotten with it.
        try world.write([try new.jwk(kid: "new")])
        #expect(step(world.loop) { world.refusal(oldToken)?.check == .key })
        #expect(world.refusal(newToken) == nil)
        // A broken file keeps the keys for as long as the issuer's policy says.
        try world.scratch.write("keys.json", #"{"keys":["#)
        usleep(1_100_000)
        _ = world.loop.step()
        #expect(world.refusal(newToken) == nil)
        #expect(step(world.loop) { world.refusal(newToken)?.check == .keysUnavailable })
        #expect(
            world.refusal(newToken)?.fault
                == AuthenticationFault(
                    .unavailable, "the keys of the token's issuer are not at hand yet", retryAfterMilliseconds: 1000))
        try world.write([try new.jwk(kid: "new")])
        #expect(step(world.loop) { world.refusal(newToken) == nil })
    }

    @Test func anAddressIsAskedByTheLoopAlone() throws {
        let (old, new) = (try TokenSigner(.ed25519), try TokenSigner(.p256))
        let server = try KeyServer([try old.jwk(kid: "old")])
        let loop = try EventLoop(index: 0)
        let text = """
            { issuers: [ { issuer: "https://issuer.test", audience: "swiftlet", jwks_url: "\(server.url)",
                tenant: { claim: "org" }, role: { default: "viewer" } } ] }
            """
        let authority = try JWTAuthority(try JWTConfig(json5: Array(text.utf8), file: "jwt.json5"), loop: loop.remote)
        let (oldToken, newToken) = (try old.token(kid: "old", testClaims()), try new.token(kid: "new", testClaims()))
        let refusal = { (token: String, clock: MonotonicTime) -> JWTRefusal? in
            if case .failure(let refusal) = authority.check(token, now: testNow, clock: clock) { refusal } else { nil }
        }
        #expect(refusal(oldToken, .now)?.check == .keysUnavailable && server.asked == 0)
        #expect(step(loop) { refusal(oldToken, .now) == nil })
        #expect(server.asked == 1)
        // A new key: one question, whoever asks how often.
        try server.serve([try new.jwk(kid: "new")])
        for _ in 0..<100 { #expect(refusal(newToken, .now)?.check == .keysUnavailable) }
        #expect(step(loop) { refusal(newToken, .now) == nil })
        #expect(refusal(oldToken, .now)?.check == .key && server.asked == 2)
        for _ in 0..<100 { _ = refusal(oldToken, .now) }
        _ = loop.step()
        #expect(server.asked == 2)
        // Old keys end an hour after they should have been got again.
        let soon = MonotonicTime.now.adding(milliseconds: 4_000_000)
        let late = MonotonicTime.now.adding(milliseconds: 4_300_000)
        #expect(refusal(newToken, soon) == nil && refusal(newToken, late)?.check == .keysUnavailable)
    }

    @Test func filesThatAreNoKeysAreRefusedAtTheStart() throws {
        let scratch = try Scratch()
        let loop = try EventLoop(index: 0)
        try shell(
            "mkfifo '\(scratch.file("fifo"))'; truncate -s 2M '\(scratch.file("large"))'; echo '{}' > '\(scratch.file("empty"))'"
        )
        for (name, words) in [
            ("none", "No such file"), ("fifo", "not a file"), ("large", "larger than"), ("empty", "no list"),
            (".", "not a file"),
        ] {
            let text =
                #"{ issuers: [ { issuer: "i", audience: "a", jwks_file: "\#(name)", tenant: { fixed: "t" }, role: { default: "viewer" } } ] }"#
            let config = try JWTConfig(json5: Array(text.utf8), file: scratch.file("jwt.json5"))
            do {
                _ = try JWTAuthority(config, loop: loop.remote)
                Issue.record("\(name) was taken for keys")
            } catch {
                #expect("\(error)".contains(words), "\(name): \(error)")
            }
        }
    }

    @Test func theFileOfIssuersMayChange() throws {
        let signer = try TokenSigner(.ed25519)
        let world = try JWTWorld([try signer.jwk(kid: "one")])
        let token = try signer.token(kid: "one", testClaims())
        #expect(try world.principal(token).role == .invoker)
        let change = { (role: String, file: String) in
            let text =
                #"{ issuers: [ { issuer: "https://issuer.test", audience: "swiftlet", jwks_file: "\#(file)", tenant: { fixed: "t" }, role: { default: "\#(role)" } } ] }"#
            try world.authority.replace(try JWTConfig(json5: Array(text.utf8), file: world.scratch.file("jwt.json5")))
        }
        try change("viewer", "keys.json")
        #expect(try world.principal(token).role == .viewer && world.principal(token).tenant == "t")
        #expect(throws: RuntimeError.self) { try change("developer", "none.json") }
        #expect(try world.principal(token).role == .viewer)
    }

    @Test func knownTokensAreBoundedAndEnd() throws {
        let signer = try TokenSigner(.ed25519)
        let world = try JWTWorld([try signer.jwk(kid: "one")])
        let token = try signer.token(kid: "one", testClaims())
        for _ in 0..<3 { #expect(world.refusal(token) == nil) }
        #expect(world.refusal(token, now: testNow + 660_000)?.check == .expired)
        let known = VerifiedTokens(most: 8)
        let keys = try IssuerKeys(
            try JWTConfig(
                json5: Array(
                    #"{ issuers: [ { issuer: "i", audience: "a", jwks_file: "keys.json", tenant: { fixed: "t" }, role: { default: "viewer" } } ] }"#
                        .utf8),
                file: world.scratch.file("jwt.json5")
            ).issuers[0], loop: world.loop.remote)
        let principal = try world.principal(token)
        for number in 0..<100 as Range<UInt8> {
            let digest = try #require(TokenDigest([number]))
            known.add(.init(principal: principal, expires: testNow + 1, keys: keys, generation: 1), for: digest)
            #expect(known.count <= 8)
            #expect(known.principal(digest, now: testNow, clock: .now) === principal)
            #expect(known.principal(digest, now: testNow + 1, clock: .now) == nil)
            known.add(.init(principal: principal, expires: testNow + 1, keys: keys, generation: 1), for: digest)
        }
        let first = try #require(TokenDigest([0]))
        #expect(known.principal(first, now: testNow, clock: .now) == nil)
        known.add(.init(principal: principal, expires: testNow + 1, keys: keys, generation: 0), for: first)
        #expect(known.principal(first, now: testNow, clock: .now) == nil)
    }
}
