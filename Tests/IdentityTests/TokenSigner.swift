// Keys and tokens made by the openssl command while a test runs: nothing of ours signs what ours must accept.
import FoundationEssentials
import Synchronization
import TestSupport

/// One key pair of an issuer.
struct TokenSigner: Sendable {
    enum Kind: String, Sendable, CaseIterable {
        case rsa = "RS256"
        case p256 = "ES256"
        case ed25519 = "EdDSA"
    }

    let kind: Kind
    let scratch: Scratch
    private let key: String

    init(_ kind: Kind, bits: Int = 2048) throws {
        self.kind = kind
        scratch = try Scratch()
        key = scratch.file("key.pem")
        let options =
            switch kind {
            case .rsa: "-algorithm RSA -pkeyopt rsa_keygen_bits:\(bits)"
            case .p256: "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"
            case .ed25519: "-algorithm ED25519"
            }
        try shell("openssl genpkey -quiet \(options) -out '\(key)'")
    }

    /// The members of the public key, without kid.
    func members() throws -> String {
        switch kind {
        case .rsa:
            let words = try shell("openssl rsa -in '\(key)' -noout -modulus").split(separator: "=")
            let digits = Array(words[1].utf8.filter { $0 > 0x20 })
            let modulus = stride(from: 0, to: digits.count, by: 2).map {
                UInt8(String(decoding: digits[$0...$0 + 1], as: UTF8.self), radix: 16) ?? 0
            }
            return #""kty":"RSA","n":"\#(base64URL(modulus))","e":"AQAB""#
        case .p256:
            let point = try publicBytes(64)
            return #""kty":"EC","crv":"P-256","x":"\#(base64URL(point[..<32]))","y":"\#(base64URL(point[32...]))""#
        case .ed25519: return #""kty":"OKP","crv":"Ed25519","x":"\#(base64URL(try publicBytes(32)))""#
        }
    }

    /// A whole JWK.
    func jwk(kid: String? = nil, more: String = "") throws -> String {
        "{\(try members())\(kid.map { #","kid":"\#($0)""# } ?? "")\(more)}"
    }

    func publicPEM() throws -> [UInt8] {
        try shell("openssl pkey -in '\(key)' -pubout -out '\(scratch.file("public.pem"))'")
        return try scratch.read("public.pem")
    }

    private func publicBytes(_ count: Int) throws -> [UInt8] {
        try shell("openssl pkey -in '\(key)' -pubout -outform DER -out '\(scratch.file("public.der"))'")
        return try Array(scratch.read("public.der").suffix(count))
    }

    func sign(_ data: [UInt8]) throws -> [UInt8] {
        try scratch.write("data", data)
        let (data, out) = (scratch.file("data"), scratch.file("signature"))
        if kind == .ed25519 {
            try shell("openssl pkeyutl -sign -rawin -inkey '\(key)' -in '\(data)' -out '\(out)'")
        } else {
            try shell("openssl dgst -sha256 -sign '\(key)' -out '\(out)' '\(data)'")
        }
        let signature = try scratch.read("signature")
        return kind == .p256 ? Self.pair(der: signature) : signature
    }

    /// r and s of 32 bytes each, out of SEQUENCE { INTEGER, INTEGER }.
    private static func pair(der: [UInt8]) -> [UInt8] {
        var at = 2
        var pair: [UInt8] = []
        for _ in 0..<2 {
            let size = Int(der[at + 1])
            let number = der[at + 2..<at + 2 + size].drop { $0 == 0 }
            pair += [UInt8](repeating: 0, count: 32 - number.count) + number
            at += 2 + size
        }
        return pair
    }

    /// A token of these texts, as they are.
    func token(header: String? = nil, kid: String? = nil, _ claims: String) throws -> String {
        let header = header ?? #"{"alg":"\#(kind.rawValue)"\#(kid.map { #","kid":"\#($0)""# } ?? "")}"#
        let signed = base64URL(Array(header.utf8)) + "." + base64URL(Array(claims.utf8))
        return signed + "." + base64URL(try sign(Array(signed.utf8)))
    }
}

func base64URL(_ bytes: some Sequence<UInt8>) -> String {
    Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
}

/// HMAC-SHA256 of the signer's data under a key in hex, into its file `mac`.
func shellMAC(_ signer: TokenSigner, keyFile: String) throws {
    let scratch = signer.scratch
    try shell(
        "openssl mac -digest SHA256 -macopt hexkey:$(cat '\(keyFile)') -binary -in '\(scratch.file("data"))' "
            + "-out '\(scratch.file("mac"))' HMAC")
}
