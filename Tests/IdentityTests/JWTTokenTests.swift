// Tokens that are good, and everything that makes one bad.
import Core
import TestSupport
import Testing

@testable import Identity

@Suite struct JWTTokenTests {
    @Test(arguments: TokenSigner.Kind.allCases) func aGoodTokenSpeaksForItsTenant(_ kind: TokenSigner.Kind) throws {
        let signer = try TokenSigner(kind)
        let world = try JWTWorld([try signer.jwk(kid: "one")])
        for kid in ["one", nil] {
            let principal = try world.principal(try signer.token(kid: kid, testClaims()))
            #expect(principal.id == "jwt:user-1" && principal.tenant == "acme" && principal.role == .invoker)
            #expect(principal.functions == nil && principal.models == nil)
        }
    }

    @Test func noByteOfATokenMayDiffer() throws {
        let signer = try TokenSigner(.p256)
        let world = try JWTWorld([try signer.jwk(kid: "one")])
        let token = try signer.token(kid: "one", testClaims())
        for index in token.utf8.indices {
            var bytes = Array(token.utf8)
            let at = token.utf8.distance(from: token.utf8.startIndex, to: index)
            bytes[at] = bytes[at] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(world.refusal(String(decoding: bytes, as: UTF8.self)) != nil, "byte \(at)")
        }
        #expect(world.refusal(token) == nil)
    }

    @Test func theShapeIsThreeParts() throws {
        let signer = try TokenSigner(.ed25519)
        let world = try JWTWorld([try signer.jwk(kid: "one")])
        let token = try signer.token(kid: "one", testClaims())
        let parts = token.split(separator: ".").map(String.init)
        let bad = [
            "", ".", "..", "...", "....", "a", "a.b", parts[0] + "." + parts[1], token + ".", "." + token, token + ".x",
            "." + parts[1] + "." + parts[2], parts[0] + ".." + parts[2], parts[0] + "." + parts[1] + ".",
            " " + token, token + " ", token + "\n", token + "=", token + "==",
            parts[0] + "=." + parts[1] + "." + parts[2],
            parts[0] + "." + parts[1] + ". " + parts[2], token.replacing(".", with: "\u{2024}"), "é.é.é",
            "\u{0}.\u{0}.\u{0}",
            token + "\u{301}", "Bearer " + token, token + "," + token,
        ]
        for text in bad { #expect(world.refusal(text)?.check == .malformed, "\(text.prefix(40))") }
    }

    @Test func oneTextOnlyForTheSameBytes() {
        #expect(Base64URL.decode("") == [])
        #expect(Base64URL.decode("AA") == [0] && Base64URL.decode("_-8") == [0xff, 0xef])
        for text in ["A", "AB", "AAB", "AA=", "AA==", "A A", "A+", "A/", "AAAAA", "AA\n", "é"] {
            #expect(Base64URL.decode(text) == nil, "\(text)")
        }
        // The last character of a signature of 64 bytes carries two bits that must be 0.
        let bytes = [UInt8](0..<64)
        let text = base64URL(bytes)
        #expect(Base64URL.decode(text) == bytes)
        #expect(Base64URL.decode(String(text.dropLast()) + "x") == nil)
    }

    @Test func algorithmsAreOursAndTheKeys() throws {
        let (rsa, ec) = (try TokenSigner(.rsa), try TokenSigner(.p256))
        let world = try JWTWorld([try rsa.jwk(kid: "r"), try ec.jwk(kid: "e")])
        for name in [
            "none", "None", "NONE", "nOnE", "HS256", "HS512", "RS512", "PS256", "ES384", "rs256", "RS256 ", "",
            "ES256K",
        ] {
            let token = try rsa.token(header: #"{"alg":"\#(name)","kid":"r"}"#, testClaims())
            #expect(world.refusal(token)?.check == .algorithm, "\(name)")
            let unsigned = token[...token.lastIndex(of: ".")!]
            #expect(world.refusal(String(unsigned)) != nil, "\(name), no signature")
        }
        for header in [
            #"{"kid":"r"}"#, #"{"alg":null}"#, #"{"alg":["RS256"]}"#, #"{"alg":1}"#, #"{"alg":{"a":"RS256"}}"#,
        ] {
            #expect(world.refusal(try rsa.token(header: header, testClaims()))?.check == .algorithm, "\(header)")
        }
        // One key's name with the other's algorithm.
        #expect(world.refusal(try rsa.token(header: #"{"alg":"ES256","kid":"r"}"#, testClaims()))?.check == .key)
        #expect(world.refusal(try ec.token(header: #"{"alg":"RS256","kid":"e"}"#, testClaims()))?.check == .key)
        #expect(world.refusal(try rsa.token(header: #"{"alg":"ES256","kid":"e"}"#, testClaims()))?.check == .signature)
        #expect(world.refusal(try ec.token(header: #"{"alg":"RS256","kid":"r"}"#, testClaims()))?.check == .signature)
    }

    @Test func aPublicKeyIsNoSecret() throws {
        let rsa = try TokenSigner(.rsa)
        let world = try JWTWorld([try rsa.jwk(kid: "r")])
        let signed = base64URL(#"{"alg":"HS256","kid":"r"}"#.utf8) + "." + base64URL(testClaims().utf8)
        for secret in [try rsa.publicPEM(), Array(try rsa.members().utf8)] {
            let file = try rsa.scratch.write(
                "secret", secret.map { String($0, radix: 16) }.map { $0.count == 1 ? "0" + $0 : $0 }.joined())
            try rsa.scratch.write("data", signed)
            try shellMAC(rsa, keyFile: file)
            let token = signed + "." + base64URL(try rsa.scratch.read("mac"))
            #expect(world.refusal(token)?.check == .algorithm)
        }
    }

    @Test func anIssuerMayAllowFewerAlgorithms() throws {
        let rsa = try TokenSigner(.rsa)
        let world = try JWTWorld([try rsa.jwk(kid: "r")], #"algorithms: ["ES256"]"#)
        #expect(world.refusal(try rsa.token(kid: "r", testClaims()))?.check == .algorithm)
    }

    @Test func headersBringNoKeysAndNoExtensions() throws {
        let (signer, stranger) = (try TokenSigner(.ed25519), try TokenSigner(.ed25519))
        let world = try JWTWorld([try signer.jwk(kid: "one")])
        let own =
            #""jwk":\#(try stranger.jwk(kid: "one")),"jku":"http://127.0.0.1:1/","x5u":"http://127.0.0.1:1/","x5c":["AA=="]"#
        #expect(
            world.refusal(try stranger.token(header: #"{"alg":"EdDSA","kid":"one",\#(own)}"#, testClaims()))?.check
                == .signature)
        #expect(world.refusal(try signer.token(header: #"{"alg":"EdDSA","kid":"one",\#(own)}"#, testClaims())) == nil)
        let headers: [(String, JWTRefusal.Check)] = [
            (#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#, .header), (#"{"alg":"EdDSA","crit":[]}"#, .header),
            (#"{"alg":"EdDSA","crit":null}"#, .header), (#"{"alg":"EdDSA","typ":"logout+jwt"}"#, .header),
            (#"{"alg":"EdDSA","typ":1}"#, .header), (#"{"alg":"EdDSA","alg":"EdDSA"}"#, .malformed),
            (#"{"alg":"none","alg":"EdDSA"}"#, .malformed), (#"{"alg":"EdDSA","\u0061lg":"none"}"#, .malformed),
            (#"["EdDSA"]"#, .malformed), (#""EdDSA""#, .malformed), ("{}", .algorithm), ("{", .malformed),
            (#"{"alg":"EdDSA"}{}"#, .malformed), (#"{"alg":"EdDSA",}"#, .malformed), (#"{alg:"EdDSA"}"#, .malformed),
            (#"{'alg':'EdDSA'}"#, .malformed), (#"{"alg":"EdDSA"/*x*/}"#, .malformed),
            ("\u{feff}{\"alg\":\"EdDSA\"}", .malformed),
        ]
        for (header, check) in headers {
            #expect(world.refusal(try signer.token(header: header, testClaims()))?.check == check, "\(header)")
        }
        for type in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
            #expect(world.refusal(try signer.token(header: #"{"alg":"EdDSA","typ":"\#(type)"}"#, testClaims())) == nil)
        }
    }

    @Test func namesOfKeysAreShortTextAndNeverAPath() throws {
        let signer = try TokenSigner(.ed25519)
        let world = try JWTWorld([try signer.jwk(kid: "one")])
        let names: [(String, JWTRefusal.Check)] = [
            (#""../../etc/passwd""#, .key), (#""/dev/zero""#, .key), (#""one/../one""#, .key), (#""ONE""#, .key),
            (#""one ""#, .key),
            (#""' or 1=1 --""#, .key), (#""""#, .header), (#""a\u0000""#, .malformed), (#""a\nb""#, .header),
            (#""\u001b[2J""#, .header),
            (#""\u202eone""#, .header), ("1", .header), ("null", .header), (#"["one"]"#, .header),
            ("\"\(String(repeating: "k", count: 256))\"", .key), ("\"\(String(repeating: "k", count: 257))\"", .header),
            ("\"\(String(repeating: "k", count: 3000))\"", .header),
            ("\"\(String(repeating: "k", count: 4000))\"", .tooLong),
        ]
        for (name, check) in names {
            let token = try signer.token(header: #"{"alg":"EdDSA","kid":\#(name)}"#, testClaims())
            #expect(world.refusal(token)?.check == check, "\(name.prefix(40))")
        }
    }

    @Test func sizesAreBounded() throws {
        let signer = try TokenSigner(.ed25519)
        let world = try JWTWorld([try signer.jwk(kid: "one")])
        let fits = try signer.token(kid: "one", testClaims(["x": "\"\(String(repeating: "x", count: 11_500))\""]))
        #expect(fits.utf8.count <= 16 << 10 && world.refusal(fits) == nil)
        let long = try signer.token(kid: "one", testClaims(["x": "\"\(String(repeating: "x", count: 12_500))\""]))
        #expect(world.refusal(long)?.check == .tooLong)
        #expect(world.refusal(String(repeating: "a", count: 1 << 20))?.check == .tooLong)
        let bombs = [
            String(repeating: "[", count: 5000), String(repeating: #"{"a":"#, count: 1500),
            "[" + String(repeating: "1,", count: 2000) + "1]",
            String(repeating: "[", count: 17) + String(repeating: "]", count: 17),
        ]
        for bomb in bombs {
            #expect(world.refusal(try signer.token(kid: "one", testClaims(["x": bomb])))?.check == .malformed)
            #expect(
                world.refusal(try signer.token(header: bomb, testClaims()))?.check == .malformed || bomb.count > 3000)
        }
    }

    @Test func anotherMayNotSign() throws {
        let (signer, stranger) = (try TokenSigner(.ed25519), try TokenSigner(.ed25519))
        let world = try JWTWorld([try signer.jwk(kid: "one"), try TokenSigner(.ed25519).jwk(kid: "two")])
        #expect(world.refusal(try stranger.token(kid: "one", testClaims()))?.check == .signature)
        #expect(world.refusal(try signer.token(kid: "two", testClaims()))?.check == .signature)
        #expect(world.refusal(try signer.token(kid: "three", testClaims()))?.check == .key)
        // Two keys fit, and the token does not say which.
        #expect(world.refusal(try signer.token(testClaims()))?.check == .key)
        let good = try signer.token(kid: "one", testClaims()).split(separator: ".")
        let other = try signer.token(kid: "one", testClaims(["org": #""globex""#])).split(separator: ".")
        #expect(world.refusal("\(good[0]).\(other[1]).\(good[2])")?.check == .signature)
    }

    @Test func refusalsNeverHoldTheToken() throws {
        let signer = try TokenSigner(.ed25519)
        let world = try JWTWorld([try signer.jwk(kid: "one")])
        for claims in [
            testClaims(["iss": #""secret-word""#]), testClaims(["aud": #""secret-word""#]), #"{"secret-word":"#,
        ] {
            let refusal = try #require(world.refusal(try signer.token(kid: "one", claims)))
            #expect(!"\(refusal)".contains("secret-word") && refusal.fault.kind == .invalid)
        }
    }
}
