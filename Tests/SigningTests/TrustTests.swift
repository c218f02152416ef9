// Who is believed: the list of files, the policies, and the store of keys.
import Core
import Storage
import TestSupport
import Testing

@testable import Signing

private let files: [(name: String, sha256: String)] = [
    ("plugin.so", String(repeating: "a", count: 64)), ("swiftlet.json5", String(repeating: "b", count: 64)),
]

private func refusal<Value>(_ body: () throws(RuntimeError) -> Value) -> RuntimeError? {
    do throws(RuntimeError) {
        _ = try body()
        return nil
    } catch {
        return error
    }
}

@Suite struct SignedListTests {
    @Test func itIsSortedAndReadAgain() throws {
        let list = SignedList(
            files.reversed() + [(name: SignedList.name, sha256: "x"), (SignedList.signatureName, "y")])
        #expect(list.file.split(separator: "\n").map { $0.dropFirst(66) } == ["plugin.so", "swiftlet.json5"])
        #expect(try SignedList(bytes(list.file)) == list)
        #expect(try SignedList(bytes(list.file.replacing("  p", with: " *p"))) == list, "sha256sum -b")
        #expect(list.fault(in: files) == nil)
    }

    @Test func whatSha256sumWritesIsReadAndItChecksOurs() throws {
        let scratch = try Scratch()
        for name in ["one", "two"] { try scratch.write(name, name) }
        try shell("cd '\(scratch.path)' && sha256sum one two > SHA256SUMS")
        let list = try SignedList(try scratch.read("SHA256SUMS"))
        #expect(list.sums.keys.sorted() == ["one", "two"])
        try scratch.write("SHA256SUMS", list.file)
        try shell("cd '\(scratch.path)' && sha256sum --check --strict SHA256SUMS")
    }

    @Test func everyDifferenceIsNamed() {
        let list = SignedList(files)
        #expect(list.fault(in: [files[0]]) == "it lists \"swiftlet.json5\", which is not there")
        #expect(list.fault(in: files + [(name: "more", sha256: "c")]) == "it does not list more")
        #expect(
            list.fault(in: [
                (name: "plugin.so", sha256: files[1].sha256), (name: "swiftlet.json5", sha256: files[0].sha256),
            ])
                == "plugin.so is not the file that it lists")
    }

    @Test(arguments: [
        "x", String(repeating: "a", count: 64), String(repeating: "a", count: 64) + "  ",
        String(repeating: "A", count: 64) + "  f",
        String(repeating: "a", count: 64) + " f", String(repeating: "a", count: 64) + "\tf", "\n",
        String(repeating: "a", count: 64) + "  f\n\n",
        String(repeating: "a", count: 64) + "  f\n" + String(repeating: "b", count: 64) + "  f\n",
    ])
    func whatIsNoListIsRefused(_ text: String) {
        #expect(fault { () throws(SigningFault) in try SignedList(bytes(text)) } != nil)
    }
}

@Suite struct TrustTests {
    private let list = bytes(SignedList(files).file)

    private func judge(_ trust: Trust, list: [UInt8]?, signature: [UInt8]?) -> Result<Verdict, RuntimeError> {
        do throws(RuntimeError) {
            return .success(try trust.judge(files, list: list, signature: signature))
        } catch {
            return .failure(error)
        }
    }

    @Test func policiesRankByStrictness() {
        #expect(UnsignedPolicy.allow < .warn && UnsignedPolicy.warn < .refuse)
    }

    /// Every policy, with every kind of signature, with and without the key on the list.
    @Test(arguments: UnsignedPolicy.allCases, [true, false]) func theMatrix(_ policy: UnsignedPolicy, _ isTrusted: Bool)
        throws
    {
        let ours = try SecretKey()
        let stranger = try SecretKey()
        let id = ours.id
        let good = try Signature(of: list, by: ours, trustedComment: "x")
        let trust = Trust(keys: isTrusted ? [try ours.publicKey] : [], unsigned: policy)
        // Unsigned, by a stranger, or by a key that is not on the list: all one.
        let strange = bytes(try Signature(of: list, by: stranger, trustedComment: "x").file)
        var unsigned: [([UInt8]?, [UInt8]?)] = [(nil, nil), (list, nil), (list, strange)]
        if !isTrusted { unsigned.append((list, bytes(good.file))) }
        for (list, signature) in unsigned {
            switch (policy, judge(trust, list: list, signature: signature)) {
            case (.allow, .success(let verdict)): #expect(verdict == Verdict())
            case (.warn, .success(let verdict)):
                #expect(verdict.signer == nil && verdict.warning?.contains("sign") == true)
            case (.refuse, .failure(let error)):
                #expect(error.code == .forbidden && error.cause.contains("signed artefacts only"))
            case (_, let other): Issue.record("\(policy): \(other)")
            }
        }
        guard isTrusted else { return }
        #expect(try judge(trust, list: list, signature: bytes(good.file)).get() == Verdict(signer: id))
        // Wrong is refused, whatever the policy.
        let ofOther = try Signature(of: [1], by: ours, trustedComment: "x")
        let recommented = good.file.replacing("trusted comment: x", with: "trusted comment: y")
        for (list, signature) in [
            (list, bytes(ofOther.file)), (list, bytes(recommented)), (list, bytes("nonsense")), (list, []),
            (nil, bytes(good.file)),
            (bytes("nonsense"), bytes(good.file)), (bytes("nonsense"), nil),
        ] as [([UInt8]?, [UInt8]?)] {
            guard case .failure(let error) = judge(trust, list: list, signature: signature) else {
                Issue.record("a wrong signature was taken under \(policy)")
                continue
            }
            #expect(error.code == .pluginInvalid)
        }
    }

    /// A tenant can give its key the number of the platform's: neither then signs for the other.
    @Test func keysOfOneNumberAreTriedBoth() throws {
        let ours = try SecretKey()
        let id = ours.id
        let theirs = try SecretKey(id: id, seed: SecretBytes(try Crypto.random(32)))
        let trust = Trust(keys: [try ours.publicKey, try theirs.publicKey])
        for signature in [
            try Signature(of: list, by: ours, trustedComment: "").file,
            try Signature(of: list, by: theirs, trustedComment: "").file,
        ] {
            #expect(try judge(trust, list: list, signature: bytes(signature)).get().signer == id)
        }
        let only = Trust(keys: [try theirs.publicKey])
        let signature = bytes(try Signature(of: list, by: ours, trustedComment: "").file)
        guard case .failure(let error) = judge(only, list: list, signature: signature) else {
            Issue.record("a key of the same number signed for another")
            return
        }
        #expect(error.code == .pluginInvalid)
    }
}

@Suite struct TrustStoreTests {
    private func key(_ comment: String = "c") throws -> TrustedKey {
        try TrustedKey(SecretKey().publicKey, comment: comment, addedAt: 1)
    }

    @Test func whatIsAddedIsThereAfterAStartAndCountsForItsOwnersOnly() throws {
        let scratch = try Scratch()
        let (one, two) = (try key("CI"), try key())
        let store = try TrustStore(stateDirectory: scratch.path, unsigned: .warn)
        #expect(store.trust(of: "acme") == Trust(unsigned: .warn))
        try store.add(one, to: .platform)
        try store.add(two, to: .tenant("acme"))
        try store.setUnsigned(.refuse, of: "acme")
        try store.setUnsigned(.allow, of: "lax")
        let again = try TrustStore(stateDirectory: scratch.path, unsigned: .warn)
        for store in [store, again] {
            #expect(store.trust(of: "acme") == Trust(keys: [two.key, one.key], unsigned: .refuse))
            #expect(store.trust(of: "other") == Trust(keys: [one.key], unsigned: .warn))
            #expect(store.trust(of: "lax").unsigned == .warn, "the stricter wins")
            #expect(store.keys(.platform) == [one] && store.unsigned(of: "acme") == .refuse)
        }
        #expect(try again.remove(two.key.id, from: .tenant("acme")) == two)
        #expect(
            refusal { () throws(RuntimeError) in try again.remove(two.key.id, from: .tenant("acme")) }?.code
                == .notFound)
        #expect(
            refusal { () throws(RuntimeError) in try again.remove(one.key.id, from: .tenant("acme")) }?.code
                == .notFound)
        try again.forget("acme")
        #expect(
            try TrustStore(stateDirectory: scratch.path, unsigned: .allow).trust(of: "acme") == Trust(keys: [one.key]))
    }

    @Test func aNumberStandsForOneKeyOfAListAndListsAreBounded() throws {
        let scratch = try Scratch()
        let store = try TrustStore(stateDirectory: scratch.path, unsigned: .allow)
        let one = try key("old")
        try store.add(one, to: .platform)
        try store.add(try TrustedKey(one.key, comment: "new", addedAt: 2), to: .platform)
        #expect(store.keys(.platform).map(\.comment) == ["new"])
        let disguised = try TrustedKey(PublicKey(id: one.key.id, key: try key().key.key), comment: "", addedAt: 3)
        #expect(refusal { () throws(RuntimeError) in try store.add(disguised, to: .platform) }?.code == .conflict)
        try store.add(disguised, to: .tenant("acme"))
        for _ in 1..<TrustStore.mostKeys { try store.add(try key(), to: .platform) }
        let more = try key()
        #expect(
            refusal { () throws(RuntimeError) in try store.add(more, to: .platform) }?.cause.contains("64 keys") == true
        )
    }

    @Test(arguments: [
        "UPDATE trusted_key SET public_key='x'", "UPDATE unsigned_policy SET policy='maybe'",
        "UPDATE trusted_key SET comment='a' || char(10) || 'b'", "PRAGMA user_version=9", "DROP TABLE trusted_key",
    ])
    func aDamagedListIsNoEmptyList(_ damage: String) throws {
        let scratch = try Scratch()
        let store = try TrustStore(stateDirectory: scratch.path, unsigned: .allow)
        try store.add(try key(), to: .platform)
        try store.setUnsigned(.warn, of: "acme")
        try Database(path: scratch.file("trust.db")).run(damage)
        let error = refusal { () throws(RuntimeError) in
            try TrustStore(stateDirectory: scratch.path, unsigned: .allow)
        }
        #expect("\(try #require(error))".contains("trust.db"), "\(damage)")
    }

    @Test func aFileThatIsNoDatabaseStopsTheStart() throws {
        let scratch = try Scratch()
        try scratch.write("trust.db", String(repeating: "no database", count: 100))
        let error = refusal { () throws(RuntimeError) in
            try TrustStore(stateDirectory: scratch.path, unsigned: .allow)
        }
        #expect("\(try #require(error))".contains("trust.db"))
    }

    @Test func whatCantBeWrittenChangesNothing() throws {
        let scratch = try Scratch()
        let store = try TrustStore(stateDirectory: scratch.path, unsigned: .allow)
        // Another connection takes the table away from it.
        try Database(path: scratch.file("trust.db")).run("DROP TABLE trusted_key")
        let one = try key()
        #expect(refusal { () throws(RuntimeError) in try store.add(one, to: .platform) } != nil)
        #expect(store.keys(.platform).isEmpty && store.trust(of: "acme").keys.isEmpty)
    }
}
