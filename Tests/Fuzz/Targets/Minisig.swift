// minisign's files, and the list that is signed: what a stranger's archive and whoever adds a key bring.
import Core

@testable import Signing

extension Target {
    static let minisig = Target(name: "minisig") { bytes in
        if let signature = attempt({ () throws(SigningFault) in try Signature(bytes) }) {
            let again = attempt { () throws(SigningFault) in try Signature(Array(signature.file.utf8)) }
            require(again == signature, "a signature is written as it was read")
            require(signature.trustedComment.utf8.count <= 8192, "a comment is bounded")
            require(!signature.isGood(for: [1, 2, 3], by: known), "nobody signed this")
        }
        if let key = attempt({ () throws(SigningFault) in try PublicKey(bytes) }) {
            for file in [key.file, key.base64] {
                let again = attempt { () throws(SigningFault) in try PublicKey(Array(file.utf8)) }
                require(again == key, "a key is written as it was read")
            }
            require(KeyID(hex: "\(key.id)") == key.id, "a number is written as it is read")
        }
        if let list = attempt({ () throws(SigningFault) in try SignedList(bytes) }) {
            let again = attempt { () throws(SigningFault) in try SignedList(Array(list.file.utf8)) }
            // Names of the list itself are read, and never match a file.
            require(again == list, "a list is written as it was read")
            let files = list.sums.map { (name: $0.key, sha256: $0.value) }
            let isPlain = SignedList.names.isDisjoint(with: list.sums.keys)
            require((list.fault(in: files) == nil) == isPlain, "a list lists what it lists")
            require(list.fault(in: files + [(name: "\u{1}", sha256: "x")]) != nil, "and nothing else")
        }
        do throws(SigningFault) {
            let key = try SecretKey(bytes)
            let again = try SecretKey(Array(try key.file(password: nil).utf8))
            require(try again.publicKey == key.publicKey, "a secret key is written as it was read")
        } catch {
            require(!error.text.isEmpty, "a refusal says why")
        }
        judge(bytes)
    }

    private static let known: PublicKey = {
        guard let key = attempt({ () throws(SigningFault) in try SecretKey().publicKey }) else { fatalError("no key") }
        return key
    }()

    /// As a deployment is judged: whatever comes, nobody becomes a signer.
    private static func judge(_ bytes: [UInt8]) {
        let files = [(name: "a", sha256: String(repeating: "a", count: 64))]
        let list = Array(SignedList(files).file.utf8)
        for (list, signature) in [(list, bytes), (bytes, list), (bytes, bytes)] {
            do throws(RuntimeError) {
                let verdict = try Trust(keys: [known]).judge(files, list: list, signature: signature)
                require(verdict.signer == nil, "nobody signed this")
            } catch {
                require(!error.cause.isEmpty && !error.next.isEmpty, "a refusal says why and what to do")
            }
        }
    }

    private static func attempt<Value>(_ body: () throws(SigningFault) -> Value) -> Value? {
        do throws(SigningFault) {
            return try body()
        } catch {
            require(!error.text.isEmpty, "a refusal says why")
            return nil
        }
    }
}
