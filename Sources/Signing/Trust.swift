// Whose signatures count for a deployment, and what becomes of one without: pure.
package import Core

/// What happens to an artefact that nobody signed whose key is trusted; the raw value is its name on the command line.
package enum UnsignedPolicy: String, Sendable, CaseIterable, Comparable {
    case allow, warn, refuse

    private var strictness: Int { Self.allCases.firstIndex(of: self) ?? 0 }
    package static func < (a: UnsignedPolicy, b: UnsignedPolicy) -> Bool { a.strictness < b.strictness }
}

/// Whose list a key is on.
package enum TrustScope: Hashable, Sendable, CustomStringConvertible {
    case platform
    case tenant(String)

    package var description: String {
        switch self {
        case .platform: "the platform"
        case .tenant(let name): "tenant \(name)"
        }
    }
}

package struct TrustedKey: Equatable, Sendable {
    package let key: PublicKey
    package let comment: String
    /// Milliseconds since 1970.
    package let addedAt: Int64

    package init(_ key: PublicKey, comment: String, addedAt: Int64) throws(SigningFault) {
        self.key = key
        self.comment = try MinisignText.line(comment, longest: 200)
        self.addedAt = addedAt
    }
}

/// What the deployments of one tenant are judged by.
package struct Trust: Equatable, Sendable {
    /// The tenant's and the platform's.
    package var keys: [PublicKey]
    package var unsigned: UnsignedPolicy

    package init(keys: [PublicKey] = [], unsigned: UnsignedPolicy = .allow) {
        self.keys = keys
        self.unsigned = unsigned
    }
}

/// Who signed an artefact.
package struct Verdict: Equatable, Sendable {
    /// A trusted key; nil: nobody whom the host trusts.
    package var signer: KeyID?
    /// What whoever deployed it should know.
    package var warning: String?

    package init(signer: KeyID? = nil, warning: String? = nil) {
        self.signer = signer
        self.warning = warning
    }
}

extension Trust {
    /// Looks at the signature of an artefact. A list or a signature that is wrong is refused under every policy.
    ///
    /// - Parameters:
    ///   - files: every file of the artefact.
    ///   - list: the bytes of SHA256SUMS, nil when there is none.
    ///   - signature: the bytes of SHA256SUMS.minisig.
    package func judge(
        _ files: [(name: String, sha256: String)], list: [UInt8]?, signature: [UInt8]?
    ) throws(RuntimeError) -> Verdict {
        do throws(SigningFault) {
            if let list, let fault = try SignedList(list).fault(in: files) { throw SigningFault(fault) }
        } catch {
            throw Self.refusal(
                SignedList.name, error.text,
                "sign it again with `swiftlet sign`, or remove \(SignedList.name) to deploy it unsigned")
        }
        guard let signature else { return try unsigned("it is not signed") }
        guard let list else {
            throw Self.refusal(
                SignedList.signatureName, "the list that it signs, \(SignedList.name), is missing",
                "sign it again with `swiftlet sign`")
        }
        let read: Signature
        do throws(SigningFault) {
            read = try Signature(signature)
        } catch {
            throw Self.refusal(
                SignedList.signatureName, error.text, "sign it again with `swiftlet sign`, or with minisign")
        }
        // Who makes a key chooses its number, so two lists may hold different keys of one number.
        let candidates = keys.filter { $0.id == read.keyID }
        guard !candidates.isEmpty else {
            return try unsigned("it is signed by the key \(read.keyID), which is not trusted here")
        }
        guard candidates.contains(where: { read.isGood(for: list, by: $0) }) else {
            throw Self.refusal(
                SignedList.signatureName, "the signature by the key \(read.keyID) is wrong",
                "sign it again with `swiftlet sign`")
        }
        return Verdict(signer: read.keyID)
    }

    private func unsigned(_ cause: String) throws(RuntimeError) -> Verdict {
        switch unsigned {
        case .allow: return Verdict()
        case .warn: return Verdict(warning: "\(cause); sign it with `swiftlet sign`: the host may refuse it later")
        case .refuse:
            throw RuntimeError(
                .forbidden, step: "check the signature", cause: "\(cause), and this host takes signed artefacts only",
                next: "sign it with `swiftlet sign`, by a key that `swiftlet trust ls` lists, or have that key trusted")
        }
    }

    private static func refusal(_ file: String, _ cause: String, _ next: String) -> RuntimeError {
        RuntimeError(.pluginInvalid, step: "check \(file)", cause: cause, next: next)
    }
}
