// Keys as text: what is made is read back, and nothing else is.
import Core
import Identity
import Testing

@Suite struct APIKeyTests {
    @Test(arguments: APIKey.Kind.allCases) func aKeyIsReadAsItWasMade(_ kind: APIKey.Kind) throws {
        let made = try APIKey(kind: kind)
        let read = try #require(APIKey(made.text))
        #expect(read.kind == kind && read.text == made.text)
        #expect(made.text.hasPrefix("swl_\(kind.rawValue)_"))
        #expect(try APIKey(kind: kind).text != made.text)
    }

    @Test func aHashIsTheSHA256AndReadsItsOwnDigits() throws {
        // FIPS 180-4's example.
        let hash = try #require(APIKey.hash(of: "abc"))
        #expect(hash.hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(KeyHash(hex: hash.hex) == hash)
        for bad in ["", String(hash.hex.dropLast()), hash.hex.uppercased(), hash.hex + "0", "+" + hash.hex.dropFirst()]
        {
            #expect(KeyHash(hex: bad) == nil)
        }
    }

    @Test func noOtherTextIsAKey() throws {
        let text = try APIKey(kind: .tenant).text
        for length in 0..<text.count { #expect(APIKey(String(text.prefix(length))) == nil, "cut to \(length)") }
        for other in [
            text + text, text + " ", " " + text, text + "\0", text.uppercased(), "swl_other_" + text.dropFirst(11),
            text + "é", "ſ" + text.dropFirst(), text.replacing("swl_tenant", with: "swl_platform"), "swl_tenant_",
        ] { #expect(APIKey(String(other)) == nil, "\(other.debugDescription)") }
    }

    @Test func aMistypedLetterIsNoticed() throws {
        let text = Array(try APIKey(kind: .tenant).text.utf8)
        for index in text.indices {
            var other = text
            other[index] = other[index] == UInt8(ascii: "x") ? UInt8(ascii: "y") : UInt8(ascii: "x")
            #expect(APIKey(String(decoding: other, as: UTF8.self)) == nil, "at \(index)")
        }
    }

    @Test func wrongAttemptsAreCountedByAddress() {
        var limiter = AttemptLimiter()
        let allowed = (0..<100).count { _ in limiter.fail("a", now: 1000) }
        #expect(allowed == 20)
        let other = limiter.fail("b", now: 1000)
        #expect(other)
        #expect(limiter.wait("a", now: 1000) == 2000)
        let (early, later) = (limiter.fail("a", now: 2900), limiter.fail("a", now: 3000))
        #expect(!early && later)
        // A clock that stands still or jumps back gives nothing.
        let before = limiter.fail("a", now: 0)
        #expect(!before)
    }

    @Test func manyAddressesTakeBoundedMemoryAndFreeNobody() {
        var limiter = AttemptLimiter()
        for _ in 0..<20 { _ = limiter.fail("last", now: 5) }
        for number in 0..<20_000 { _ = limiter.fail("address \(number)", now: UInt64(number / 100)) }
        #expect(limiter.count <= 8192)
    }
}
