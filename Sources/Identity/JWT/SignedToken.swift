// The text of a token taken apart (RFC 7515, compact form); nothing of it is believed before Verifier.swift checked it.
internal import Core

struct SignedToken {
    static let longest = 16 << 10
    static let longestHeader = 4 << 10
    static let longestKeyID = 256
    /// Values in a header or in the claims, so that no token costs more time than its size.
    private static let mostValues = 1024

    let algorithm: JWTAlgorithm
    let keyID: String?
    /// What was signed: header and claims as they came.
    let signed: ArraySlice<UInt8>
    let signature: [UInt8]
    let claims: [String: JSONValue]

    init(_ token: [UInt8]) throws(JWTRefusal) {
        guard token.count <= Self.longest else {
            throw JWTRefusal(.tooLong, "the token is longer than \(Self.longest) bytes")
        }
        let parts = token.split(separator: UInt8(ascii: "."), maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 3 else { throw JWTRefusal(.malformed, "the token has not three parts") }
        guard parts[0].count <= Self.longestHeader else {
            throw JWTRefusal(.tooLong, "the header of the token is longer than \(Self.longestHeader) bytes")
        }
        let header = try Self.object(parts[0], "header")
        algorithm = try Self.algorithm(header)
        keyID = try Self.keyID(header)
        signed = token[..<parts[1].endIndex]
        guard let signature = Base64URL.decode(parts[2]), !signature.isEmpty else {
            throw JWTRefusal(.malformed, "the signature of the token is not base64url")
        }
        self.signature = signature
        claims = try Self.object(parts[1], "claims part")
    }

    private static func object(_ text: ArraySlice<UInt8>, _ what: String) throws(JWTRefusal) -> [String: JSONValue] {
        guard let bytes = Base64URL.decode(text), !bytes.isEmpty else {
            throw JWTRefusal(.malformed, "the \(what) of the token is not base64url")
        }
        let value: JSONValue
        do throws(StrictJSON.Fault) {
            value = try StrictJSON.decode(bytes, values: mostValues)
        } catch {
            throw JWTRefusal(.malformed, "the \(what) of the token: \(error.description)")
        }
        guard case .object(let members) = value else {
            throw JWTRefusal(.malformed, "the \(what) of the token is not an object")
        }
        return members
    }

    /// `jku`, `x5u`, `jwk` and `x5c` bring keys along that nobody vouches for: they are not looked at.
    private static func algorithm(_ header: [String: JSONValue]) throws(JWTRefusal) -> JWTAlgorithm {
        guard header["crit"] == nil else {
            throw JWTRefusal(.header, "the token has critical extensions (crit), and none is known here")
        }
        guard case .string(let name) = header["alg"], let algorithm = JWTAlgorithm(rawValue: name) else {
            throw JWTRefusal(.algorithm, "the algorithm of the token is not one of RS256, ES256 and EdDSA")
        }
        guard let type = header["typ"] else { return algorithm }
        guard case .string(let type) = type, ["jwt", "at+jwt", "application/at+jwt"].contains(type.lowercased()) else {
            throw JWTRefusal(.header, "the type (typ) of the token is neither JWT nor at+jwt")
        }
        return algorithm
    }

    private static func keyID(_ header: [String: JSONValue]) throws(JWTRefusal) -> String? {
        guard let value = header["kid"] else { return nil }
        guard case .string(let id) = value, !id.isEmpty, id.utf8.count <= longestKeyID, id.isPrintable else {
            throw JWTRefusal(.header, "the key's name (kid) is not 1 to \(longestKeyID) bytes of printable text")
        }
        return id
    }
}

extension String {
    /// Safe to stand in a line of a log.
    var isPrintable: Bool {
        unicodeScalars.allSatisfy {
            $0.isASCII
                ? $0.value >= 0x20 && $0.value != 0x7f
                : ![.control, .format, .lineSeparator, .paragraphSeparator].contains($0.properties.generalCategory)
        }
    }

    /// Byte by byte: Swift's own comparison takes some different texts for the same.
    func isExactly(_ other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}
