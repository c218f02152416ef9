// A minisign signature file: of a text, and of the comment that goes with it.

package struct Signature: Equatable, Sendable {
    package enum Algorithm: String, Sendable {
        /// Of the text itself; what minisign made before version 0.10, and makes with -l.
        case legacy = "Ed"
        /// Of the text's BLAKE2b-512.
        case prehashed = "ED"
    }

    package let algorithm: Algorithm
    package let keyID: KeyID
    /// One line that was signed with the text.
    package let trustedComment: String
    let untrustedComment: String
    let signature: [UInt8]
    let globalSignature: [UInt8]

    /// Reads a signature file.
    package init(_ file: [UInt8]) throws(SigningFault) {
        let lines = try MinisignText.lines(file, most: 4, what: "signature")
        untrustedComment = try MinisignText.comment(
            lines[0], MinisignText.untrusted, longest: MinisignText.longestComment)
        trustedComment = try MinisignText.comment(
            lines[2], MinisignText.trusted, longest: MinisignText.longestTrustedComment)
        let bytes = try MinisignText.bytes(lines[1], count: 74, what: "signature")
        guard let algorithm = Algorithm(rawValue: String(decoding: bytes[..<2], as: UTF8.self)) else {
            throw SigningFault("it is signed by no algorithm of minisign's")
        }
        self.algorithm = algorithm
        keyID = KeyID(bytes[2..<10])
        signature = Array(bytes[10...])
        globalSignature = try MinisignText.bytes(lines[3], count: 64, what: "global signature")
    }

    /// Signs a text as minisign does by default.
    ///
    /// - Parameter trustedComment: one line.
    package init(of message: [UInt8], by key: borrowing SecretKey, trustedComment: String) throws(SigningFault) {
        guard let hash = Crypto.hash(message) else { throw SigningFault("it is larger than 16 MiB") }
        algorithm = .prehashed
        keyID = key.id
        untrustedComment = "signature from swiftlet, verify with minisign and the public key \(key.id)"
        self.trustedComment = try MinisignText.line(trustedComment, longest: MinisignText.longestTrustedComment)
        signature = try key.sign(hash)
        globalSignature = try key.sign(signature + Array(trustedComment.utf8))
    }

    /// Whether this key's owner signed exactly this text, with exactly this comment.
    package func isGood(for message: [UInt8], by key: PublicKey) -> Bool {
        guard let signed = algorithm == .prehashed ? Crypto.hash(message) : message, keyID == key.id else {
            return false
        }
        // Both are computed, so that the time tells no forger which of them is right.
        let ofText = Crypto.verify(signed, signature, publicKey: key.key)
        let ofComment = Crypto.verify(signature + Array(trustedComment.utf8), globalSignature, publicKey: key.key)
        return ofText && ofComment
    }

    package var file: String {
        let base64 = MinisignText.base64(Array(algorithm.rawValue.utf8) + keyID.bytes + signature)
        return "\(MinisignText.untrusted)\(untrustedComment)\n\(base64)\n"
            + "\(MinisignText.trusted)\(trustedComment)\n\(MinisignText.base64(globalSignature))\n"
    }
}
