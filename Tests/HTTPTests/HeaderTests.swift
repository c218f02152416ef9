// Header fields as values: what is stored, what is refused, what is shown.
import HTTP
import Testing

@Suite struct HeaderTests {
    private static let tokens = Set(
        "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)

    private func append(_ name: [UInt8], _ value: [UInt8]) -> HTTPHeaders {
        var headers = HTTPHeaders()
        unsafe headers.append(name.span.bytes, value.span.bytes)
        return headers
    }

    @Test func aNameIsATokenInLowerCase() {
        for byte: UInt8 in 0...255 {
            let headers = append([0x41, byte], [0x76])
            #expect((headers.count == 1) == Self.tokens.contains(byte), "byte \(byte)")
            #expect(headers.refused == 1 - headers.count)
            guard headers.count == 1 else { continue }
            #expect(headers.name(at: 0) == "a" + String(UnicodeScalar(byte)).lowercased())
        }
        #expect(append([], [0x76]).refused == 1)
    }

    @Test(arguments: [1, 16, 33]) func aValueHoldsNoControlCharacter(_ length: Int) {
        for byte: UInt8 in 0...255 {
            for place in 0..<length {
                var value = [UInt8](repeating: 0x76, count: length)
                value[place] = byte
                let isFine = byte >= 0x20 && byte != 0x7f || byte == 0x09
                #expect((append([0x6e], value).count == 1) == isFine, "byte \(byte) at \(place)")
            }
        }
    }

    @Test func brokenTextIsRepairedAndWhiteSpaceAtTheEndCut() {
        #expect(append([0x6e], [0x61, 0xff, 0x62]).first("n") == "a\u{fffd}b")
        #expect(append([0x6e], Array("h\u{e4}h \t".utf8)).first("n") == "h\u{e4}h")
    }

    @Test func fieldsAreShownAsTheyAreRead() {
        var headers: HTTPHeaders = ["Content-Type": "text/plain", "empty": "", "x": "h\u{e4}h"]
        #expect(unsafe headers.append(known: "x-own", [0x31 as UInt8].span.bytes))
        #expect(unsafe !headers.append(known: "x-own", [0x0d as UInt8].span.bytes) && headers.refused == 1)
        var shown: [String] = []
        headers.forEachField { shown.append("\(text($0)): \(text($1))") }
        #expect(shown == headers.map { "\($0.name): \($0.value)" })
        #expect(shown == ["content-type: text/plain", "empty: ", "x: h\u{e4}h", "x-own: 1"])
        #expect(headers.contains("x") && !headers.contains("y") && headers.all("x-own") == ["1"])
    }

    private func text(_ bytes: RawSpan) -> String {
        unsafe bytes.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
    }
}
