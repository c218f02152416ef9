// Published signatures, and their bits turned one by one: RFC 7515 (A.2, A.3) and RFC 8037 (A.4).
import Testing

@testable import Identity

private struct Vector: Sendable {
    let name: String
    let jwk: String
    let signed: String
    let signature: String

    static let claims =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

    static let all = [
        Vector(
            name: "RFC 7515 A.2, RS256",
            jwk: #"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-"#
                + "Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-"
                + "bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5"
                + #"IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#,
            signed: "eyJhbGciOiJSUzI1NiJ9." + claims,
            signature:
                "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujG"
                + "bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0Gar"
                + "ZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs"
                + "98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"),
        Vector(
            name: "RFC 7515 A.3, ES256",
            jwk: #"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#
                + #""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            signed: "eyJhbGciOiJFUzI1NiJ9." + claims,
            signature: "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"),
        Vector(
            name: "RFC 8037 A.4, Ed25519",
            jwk: #"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            signed: "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            signature: "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"),
    ]
}

@Suite struct JWTVectorTests {
    private func key(_ vector: Vector) throws -> VerificationKey {
        let set = try KeySet(Array(#"{"keys":[\#(vector.jwk)]}"#.utf8))
        return try #require(set.keys.first, "\(set.ignored)")
    }

    @Test func publishedSignaturesAreGood() throws {
        for vector in Vector.all {
            let signature = try #require(Base64URL.decode(vector.signature))
            #expect(try key(vector).signed(Array(vector.signed.utf8)[...], signature: signature), "\(vector.name)")
        }
    }

    @Test func noByteOfASignatureMayDiffer() throws {
        for vector in Vector.all {
            let (key, data) = (try key(vector), Array(vector.signed.utf8))
            let signature = try #require(Base64URL.decode(vector.signature))
            for index in signature.indices {
                var other = signature
                other[index] ^= 1 << UInt8(index % 8)
                #expect(!key.signed(data[...], signature: other), "\(vector.name): byte \(index)")
            }
            for count in [0, 1, signature.count / 2, signature.count - 1] {
                #expect(!key.signed(data[...], signature: Array(signature[..<count])), "\(vector.name): \(count) bytes")
            }
            #expect(!key.signed(data[...], signature: signature + [0]), "\(vector.name): a byte too much")
            #expect(!key.signed(data[...], signature: [0] + signature), "\(vector.name): a byte in front")
            #expect(!key.signed((data + [0x20])[...], signature: signature), "\(vector.name): other data")
        }
    }

    @Test func zerosSignNothing() throws {
        for vector in Vector.all {
            let size = try #require(Base64URL.decode(vector.signature)).count
            let key = try key(vector)
            for byte in [0, 0xff] as [UInt8] {
                #expect(!key.signed(Array(vector.signed.utf8)[...], signature: [UInt8](repeating: byte, count: size)))
            }
        }
    }

    @Test func keysOfOneKindReadNoSignatureOfAnother() throws {
        for vector in Vector.all {
            for other in Vector.all where other.name != vector.name {
                let signature = try #require(Base64URL.decode(other.signature))
                #expect(try !key(vector).signed(Array(other.signed.utf8)[...], signature: signature))
            }
        }
    }
}
