// minisign's files: read what minisign 0.11 wrote, write what it reads, and refuse everything else.
import Core
import TestSupport
import Testing

@testable import Signing

/// Written by minisign 0.11: a key without a password, and signatures of "hello\n" by it.
enum Fixture {
    static let publicKey = """
        untrusted comment: minisign public key 17568CA2FF03A8B9
        RWS5qAP/ooxWF1GBYmftVRvLEfdsGtAq8lzkjxGcAOeHCPBGrlGRfwIn

        """
    static let secretKey = """
        untrusted comment: minisign encrypted secret key
        RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAuagD/6KMVhc68xOhRMzhkYsv6RuD/1FL9XcyEVMyDORnTIGL6bE51lGBYmftVRvLEfdsGtAq8lzkjxGcAOeHCPBGrlGRfwInAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

        """
    static let prehashed = """
        untrusted comment: signature from minisign secret key
        RUS5qAP/ooxWF6T6rXsNXVgic8iyichnB9MtL0RL2nfxtPQrZodgSaFRhVJ3H94QJngXIeS1sMKTU1mMX2WyeTCsxkOqo1lRyAA=
        trusted comment: timestamp:1795821880\tfile:m\thashed
        LV6sL3OeNHMnPS1MKRiZwqJmmphC7BhOxJLl+Yl1vweb9pkSEsEKlswgrOQ0+FxrF2kvaddZPFUF4F/El8r1AQ==

        """
    static let legacy = """
        untrusted comment: signature from minisign secret key
        RWS5qAP/ooxWF/1HYLc5jjkPWZ0DHdb5LfMOaobZXZM2CvKToiOnZ6VE54aaHLLxKH8c/IwkyVZNXvv5VmOKCQXFDERYOX50dgg=
        trusted comment: timestamp:1795821881\tfile:m
        xb4cI6mJgu2R+iR85Orm1YgULVHg2uUrIOLQLBakhBlDr0rtGmAYLTWWhi2tCYDSztTF5uwTdiw5F//lijMGBQ==

        """
    static let text = Array("hello\n".utf8)
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

func fault<Value: ~Copyable>(_ body: () throws(SigningFault) -> Value) -> String? {
    do throws(SigningFault) {
        _ = try body()
        return nil
    } catch {
        return error.text
    }
}

@Suite struct Blake2bTests {
    /// OpenSSL's BLAKE2b-512 is the other computation; RFC 7693 has the digest of "abc".
    @Test func itIsOpenSSLsForEveryLength() {
        for count in [0, 1, 3, 63, 64, 127, 128, 129, 255, 256, 257, 1000] {
            let message = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            #expect(Blake2b.hash(message, size: 64) == Crypto.hash(message), "\(count)")
        }
        #expect(Blake2b.hash(bytes("abc"), size: 64).prefix(4) == [0xba, 0x80, 0xa5, 0x3f])
    }

    @Test func aShorterOneIsAnotherOne() {
        #expect(Blake2b.hash([], size: 32).prefix(4) == [0x0e, 0x57, 0x51, 0xc0])
        #expect(Blake2b.hash([], size: 32) != Array(Blake2b.hash([], size: 64).prefix(32)))
    }
}

@Suite struct PublicKeyTests {
    @Test func aFileAndItsSecondLineAreTheSameKey() throws {
        let key = try PublicKey(bytes(Fixture.publicKey))
        #expect(key.id.description == "17568CA2FF03A8B9" && KeyID(hex: "17568ca2ff03a8b9") == key.id)
        #expect(KeyID(hex: "5D9A7F9EAB5E27C")?.description == "05D9A7F9EAB5E27C")
        #expect(try PublicKey(bytes(key.base64)) == key)
        #expect(key.file == Fixture.publicKey)
        #expect(try PublicKey(bytes(key.file.replacing("\n", with: "\r\n"))) == key)
    }

    @Test(arguments: [
        "", "\n", "RWS5", "untrusted comment: x\n", "untrusted comment: x\nRWS5qAP\n", Fixture.secretKey,
        Fixture.prehashed,
        Fixture.publicKey + "more\n", "comment: x\nRWS5qAP/ooxWF1GBYmftVRvLEfdsGtAq8lzkjxGcAOeHCPBGrlGRfwIn\n",
        "RUS5qAP/ooxWF1GBYmftVRvLEfdsGtAq8lzkjxGcAOeHCPBGrlGRfwIn",
        "RWS5qAP/ooxWF1GBYmftVRvLEfdsGtAq8lzkjxGcAOeHCPBGrlGRfw!n",
        "untrusted comment: \u{1b}[2J\nRWS5qAP/ooxWF1GBYmftVRvLEfdsGtAq8lzkjxGcAOeHCPBGrlGRfwIn\n",
        "untrusted comment: " + String(repeating: "x", count: 1025)
            + "\nRWS5qAP/ooxWF1GBYmftVRvLEfdsGtAq8lzkjxGcAOeHCPBGrlGRfwIn\n",
        String(repeating: "A", count: 20_000),
    ])
    func whatIsNoneIsRefused(_ file: String) {
        #expect(fault { () throws(SigningFault) in try PublicKey(bytes(file)) } != nil)
    }

    @Test func bytesThatAreNoTextAreRefused() {
        #expect(fault { () throws(SigningFault) in try PublicKey([0xff, 0xfe, 0x00]) } != nil)
    }

    @Test func keysWhoseSignaturesAnybodyMakesAreRefused() throws {
        var one = [UInt8](repeating: 0, count: 32)
        #expect(
            fault { () throws(SigningFault) in try PublicKey(id: KeyID([]), key: one) }?.contains("small order") == true
        )
        one[0] = 1
        one[31] = 0x80
        #expect(
            fault { () throws(SigningFault) in try PublicKey(id: KeyID([]), key: one) }?.contains("small order") == true
        )
    }

    @Test(arguments: [
        "", "17568CA2FF03A8B99", "17568CA2FF03A8BG", "+7568CA2FF03A8B9", "１7568CA2FF03A8B",
    ])
    func otherNumbersOfKeysAreRefused(_ text: String) { #expect(KeyID(hex: text) == nil) }
}

@Suite struct SignatureTests {
    @Test(arguments: [Fixture.prehashed, Fixture.legacy]) func whatMinisignSignedIsGood(_ file: String) throws {
        let key = try PublicKey(bytes(Fixture.publicKey))
        let signature = try Signature(bytes(file))
        #expect(signature.keyID == key.id && signature.file == file)
        #expect(signature.isGood(for: Fixture.text, by: key))
        #expect(!signature.isGood(for: Fixture.text + [0], by: key) && !signature.isGood(for: [], by: key))
    }

    @Test(arguments: [Fixture.prehashed, Fixture.legacy]) func everyChangedByteIsNoticed(_ file: String) throws {
        let key = try PublicKey(bytes(Fixture.publicKey))
        let good = bytes(file)
        let original = try Signature(good)
        let comment = good.firstIndex(of: UInt8(ascii: "\n")) ?? 0
        // The untrusted comment may be anything; base64 has two characters for the unused bits of a last one.
        for index in comment + 1..<good.count - 1 {
            var changed = good
            changed[index] ^= 1
            guard let read = try? Signature(changed) else { continue }
            #expect(!read.isGood(for: Fixture.text, by: key) || read == original, "\(index)")
        }
    }

    @Test func everyCutIsRefused() {
        let file = bytes(Fixture.prehashed)
        for count in 0..<file.count - 2 {
            #expect(fault { () throws(SigningFault) in try Signature(Array(file[..<count])) } != nil, "\(count)")
        }
    }

    @Test func anAlgorithmCantBeSwapped() throws {
        let key = try PublicKey(bytes(Fixture.publicKey))
        let swapped = try Signature(bytes(Fixture.prehashed.replacing("\nRUS5", with: "\nRWS5")))
        #expect(swapped.algorithm == .legacy && !swapped.isGood(for: Fixture.text, by: key))
        // The hash itself as the text: what signed a hash must not sign what has this hash for its bytes.
        let hash = try #require(Crypto.hash(Fixture.text))
        #expect(swapped.isGood(for: hash, by: key), "as minisign: the two letters are not signed")
    }

    @Test func ofAnotherKeyOrOfTheSameNumberItIsWrong() throws {
        let secret = try SecretKey()
        let (ours, theirs) = (try secret.publicKey, try SecretKey().publicKey)
        let signature = try Signature(of: Fixture.text, by: secret, trustedComment: "c")
        #expect(signature.isGood(for: Fixture.text, by: ours))
        #expect(!signature.isGood(for: Fixture.text, by: theirs))
        let disguised = try PublicKey(id: ours.id, key: theirs.key)
        #expect(!signature.isGood(for: Fixture.text, by: disguised))
    }

    @Test func aCommentIsOneLine() throws {
        let key = try SecretKey()
        for comment in ["a\nb", "\u{7f}", "a\rb", String(repeating: "x", count: 8193)] {
            do throws(SigningFault) {
                _ = try Signature(of: [], by: key, trustedComment: comment)
                Issue.record("\(comment.prefix(3).debugDescription) was taken")
            } catch {
                #expect(error.text.contains("one line"))
            }
        }
    }
}

@Suite struct SecretKeyTests {
    /// The smallest that libsodium takes; minisign's own takes a gibibyte.
    private let cheap = ScryptCost(operations: 32_768, memory: 16 << 20)

    @Test func aKeyOfMinisignsIsReadAndSigns() throws {
        let key = try SecretKey(bytes(Fixture.secretKey))
        let (half, wanted) = (try key.publicKey, try PublicKey(bytes(Fixture.publicKey)))
        #expect(half == wanted)
        // Ed25519 has no randomness: what minisign signed, we sign.
        let signature = try Signature(of: Fixture.text, by: key, trustedComment: "timestamp:1795821880\tfile:m\thashed")
        let theirs = try Signature(bytes(Fixture.prehashed))
        #expect(signature.signature == theirs.signature && signature.globalSignature == theirs.globalSignature)
    }

    @Test func withAPasswordOnlyThePasswordOpensIt() throws {
        let key = try SecretKey()
        let file = bytes(try key.file(password: bytes("pässword"), cost: cheap))
        #expect(try SecretKey.needsPassword(file))
        let (opened, half) = (try SecretKey(file, password: bytes("pässword")).publicKey, try key.publicKey)
        #expect(opened == half)
        for wrong in ["", "password", "pässword "] {
            #expect(
                fault { () throws(SigningFault) in try SecretKey(file, password: bytes(wrong)) }
                    == "the password is wrong")
        }
        #expect(fault { () throws(SigningFault) in try SecretKey(file) } == "it needs its password")
    }

    @Test func withoutOneItIsReadAsItIs() throws {
        let key = try SecretKey()
        let file = bytes(try key.file(password: nil))
        #expect(try !SecretKey.needsPassword(file))
        let (read, half) = (try SecretKey(file).publicKey, try key.publicKey)
        #expect(read == half)
    }

    @Test func everyChangedByteOfTheKeyIsNoticed() throws {
        let key = try SecretKey()
        let file = bytes(try key.file(password: nil))
        let start = (file.firstIndex(of: UInt8(ascii: "\n")) ?? 0) + 1
        for index in start..<file.count - 1 where (index - start) / 4 * 3 >= 54 || index - start < 8 {
            var changed = file
            changed[index] = changed[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(fault { () throws(SigningFault) in try SecretKey(changed) } != nil, "\(index)")
        }
    }

    @Test func costsAreLibsodiums() {
        #expect(ScryptCost.minisign.n == 1 << 20 && ScryptCost.minisign.p == 1)
        #expect(ScryptCost(operations: 524_288, memory: 16_777_216).n == 1 << 14)
        #expect(cheap.n == 1 << 10 && cheap.p == 1)
    }

    /// A file may ask for any amount of memory.
    @Test func aFileThatAsksForTooMuchIsRefused() throws {
        let key = try SecretKey()
        var file = bytes(try key.file(password: bytes("x"), cost: cheap))
        let data = try MinisignText.bytes(
            String(decoding: file.split(separator: UInt8(ascii: "\n"))[1], as: UTF8.self), count: 158, what: "key")
        let greedy = Array(data[..<38]) + [UInt8](repeating: 0xff, count: 16) + data[54...]
        file = bytes("untrusted comment: x\n" + MinisignText.base64(greedy) + "\n")
        #expect(
            fault { () throws(SigningFault) in try SecretKey(file, password: bytes("x")) }?.contains("1 GiB") == true)
    }
}
