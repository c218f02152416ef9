// An authority over a file of keys, stepped by hand, and the tokens that it knows.
import Core
import Platform
import TestSupport

@testable import Identity

/// 2026-01-01 in unix milliseconds, and in seconds.
let testNow: Int64 = 1_767_225_600_000
let testSecond = testNow / 1000

struct JWTWorld {
    let scratch: Scratch
    let loop: EventLoop
    let authority: JWTAuthority

    /// - Parameter rest: more members of the issuer.
    init(
        _ keys: [String], _ rest: String = "", tenant: String = #"{ claim: "org" }"#,
        role: String = #"{ default: "invoker" }"#
    ) throws {
        scratch = try Scratch()
        try Self.write(keys, to: scratch)
        let text = """
            { issuers: [ { issuer: "https://issuer.test", audience: ["swiftlet", "other"], jwks_file: "keys.json",
                tenant: \(tenant), role: \(role), \(rest) } ] }
            """
        loop = try EventLoop(index: 0)
        authority = try JWTAuthority(
            try JWTConfig(json5: Array(text.utf8), file: scratch.file("jwt.json5")), loop: loop.remote)
    }

    func write(_ keys: [String]) throws { try Self.write(keys, to: scratch) }

    private static func write(_ keys: [String], to scratch: Scratch) throws {
        try scratch.write("keys.json", #"{"keys":[\#(keys.joined(separator: ","))]}"#)
    }

    /// What failed, or nil.
    func refusal(_ token: String, now: Int64 = testNow) -> JWTRefusal? {
        switch authority.check(token, now: now) {
        case .success: nil
        case .failure(let refusal): refusal
        }
    }

    func principal(_ token: String, now: Int64 = testNow) throws -> Principal {
        try authority.check(token, now: now).get()
    }
}

/// Good claims, in which members can be replaced or, by nil, left out.
func testClaims(_ changes: [String: String?] = [:]) -> String {
    var members: [String: String] = [
        "iss": #""https://issuer.test""#, "aud": #""swiftlet""#, "sub": #""user-1""#, "exp": "\(testSecond + 600)",
        "iat": "\(testSecond)", "org": #""acme""#,
    ]
    for (name, value) in changes { members[name] = value }
    return "{" + members.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",") + "}"
}
