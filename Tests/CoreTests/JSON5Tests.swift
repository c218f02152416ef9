// Text to value: what JSON5 allows, what a manifest can't hold, and that no bytes crash it.
import Core
import TestSupport
import Testing

func decode(_ text: String) throws(RuntimeError) -> JSONValue { try decode(Array(text.utf8)) }
func decode(_ bytes: [UInt8]) throws(RuntimeError) -> JSONValue { try JSON5.decode(bytes, step: "text") }

private func refusal(_ text: String) -> RuntimeError? { refusal { () throws(RuntimeError) in _ = try decode(text) } }

@Suite struct JSON5Tests {
    @Test(arguments: [
        ("{}", "{}"), ("[]", "[]"), ("null", "null"), ("true", "true"), (" 'x' ", "\"x\""),
        ("{a: 1, 'b': 2, \"c\": 3,}", #"{"a":1,"b":2,"c":3}"#), ("[1, 2, ]", "[1,2]"),
        ("// one\n{ /* two\n */ a: 1 } // three", #"{"a":1}"#),
        ("[0x10, -0x10, +3, .5, 5., 1e3, -0]", "[16,-16,3,0.5,5,1000,0]"),
        ("['it\\'s', \"a\\\nb\", '\\x41', '\\u00e4', '\\ud834\\udd1e']", #"["it's","ab","A","ä","𝄞"]"#),
        ("{$a: 1, _b: 2, ä: 3}", #"{"$a":1,"_b":2,"ä":3}"#), ("\u{FEFF}{a:1}", #"{"a":1}"#),
        ("[9223372036854775807, -9223372036854775808]", "[9223372036854775807,-9223372036854775808]"),
        ("[1.5, 1e300, 9223372036854775808]", "[1.5,1e+300,9.223372036854776e+18]"),
        (#"{"\u0061": 1}"#, #"{"a":1}"#), ("[1e18, 9007199254740992.0, -0.0, 1e-400]", "[1e+18,9007199254740992,0,0]"),
        (#"['\b\f\v\q\/']"#, #"["\u0008\u000c\u000bq/"]"#), ("\u{a0}\t\u{b}[/**/]//", "[]"),
    ])
    func isRead(_ text: String, _ canonical: String) throws {
        let value = try decode(text)
        #expect(value.text == canonical)
        #expect(try decode(value.text) == value, "canonical text is read back to the same value")
        #expect(try decode(value.text).text == canonical)
    }

    @Test(arguments: [
        "", " ", "{", "}", "[", "{a}", "{a:}", "{a:1", "[1,,2]", "{,}", "{a:1 b:2}", "[1 2]", "{} {}", "{}x", "/",
        "[/]",
        "tru", "nul", "01x", "01", "1_0", "--1", "+-1", "0x", "0xg", ".", "1e", "1e+", "{1a:1}", "[\\u0041]",
        "{a:1}\u{0}",
        "undefined", "{a-b:1}", "[1;2]", "{a=1}", "'\\x4'", "'\\u00'", "True",
    ])
    func isRefusedAsNoJSON5(_ text: String) {
        let error = refusal(text)
        #expect(error?.code == .manifestInvalid && error?.step == "text")
        #expect(error?.cause.hasPrefix("the text is not JSON5: ") == true, "\(error?.cause ?? "accepted")")
    }

    @Test(arguments: [
        ("{\n  a: 1,\n  b: }\n}", "the text is not JSON5: unexpected '}' at line 3, column 6"),
        ("{\n  a: 1,\n", "the text is not JSON5: it ends too early at line 3, column 1"),
        ("{a: 1,\n 'a': 2}", "the key 'a' is given twice at line 2, column 2"),
        (#"{a: 1, "\u0061": 2}"#, "the key 'a' is given twice at line 1, column 8"),
        ("{limits: {},\n\n limits: {}}", "the key 'limits' is given twice at line 3, column 2"),
        ("[\n'a\nb']", "a string has no end at line 2, column 3"), ("['", "a string has no end at line 1, column 3"),
        ("['\\", "a string has no end at line 1, column 4"), ("{} /* *", "a comment has no end at line 1, column 4"),
        ("[NaN]", "a number is not finite at line 1, column 2"),
        ("[-Infinity]", "a number is not finite at line 1, column 3"),
        ("[1, 1e400]", "a number is too large at line 1, column 5"),
        ("[0xFFFFFFFFFFFFFFFF]", "a number is too large at line 1, column 2"),
        (#"['\u0000']"#, "a string holds the character U+0000 at line 1, column 9"),
        (#"['\1']"#, #"a number behind \ is no character at line 1, column 3"#),
        (#"['\ud800']"#, "half of a surrogate pair is missing at line 1, column 9"),
        (#"['\ud800\u0041']"#, "half of a surrogate pair is missing at line 1, column 15"),
        (#"['\udc00']"#, "half of a surrogate pair is missing at line 1, column 9"),
    ])
    func theErrorSaysWhatAndWhere(_ text: String, _ cause: String) {
        #expect(refusal(text)?.cause == cause)
    }

    @Test func brokenUTF8IsRefused() {
        for bytes: [UInt8] in [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xc0, 0x80]] {
            let error = refusal { () throws(RuntimeError) in
                _ = try decode(Array("{a:'".utf8) + bytes + Array("'}".utf8))
            }
            #expect(error?.cause == "the text is not UTF-8" && error?.next == "save the file as UTF-8")
        }
    }

    @Test func depthIsBounded() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(try decode(nested(JSON5.deepest)).text == nested(JSON5.deepest))
        #expect(refusal(nested(JSON5.deepest + 1))?.cause.contains("nested more than 16 deep") == true)
        for depth in [100, 511, 512, 513, 30_000] { #expect(refusal(nested(depth)) != nil, "\(depth)") }
        #expect(refusal(String(repeating: "{a:", count: 15_000)) != nil)
        #expect(refusal(String(repeating: "[", count: JSON5.largest)) != nil)
        #expect(refusal(String(repeating: "/*", count: JSON5.largest / 2)) != nil)
    }

    @Test func sizeIsBounded() throws {
        let padding = String(repeating: " ", count: JSON5.largest - 2)
        #expect(try decode("{}" + padding) == .object([:]))
        let error = refusal("{} " + padding)
        #expect(error?.cause == "the text has 65537 bytes, the limit is 65536")
    }

    @Test func controlCharactersAreEscaped() throws {
        let all = String(String.UnicodeScalarView((1...0x20).compactMap(Unicode.Scalar.init)))
        let text = JSONValue.string(all + "\"\\/\u{7f}\u{2028}").text
        #expect(text.utf8.allSatisfy { $0 >= 0x20 })
        #expect(try decode(text) == .string(all + "\"\\/\u{7f}\u{2028}"))
    }

    @Test func randomBytesNeverCrashIt() {
        var random = SeededGenerator(seed: 5)
        let words = [
            "{", "}", "[", "]", ":", ",", "'", "\"", "\\", "a", "1", "e", ".", "-", "0x", "/*", "*/", "//", "\n", "ä",
            "\\u", "null",
        ]
        for _ in 0..<3000 {
            let count = Int.random(in: 0...24, using: &random)
            let text = (0..<count).map { _ in words.randomElement(using: &random) ?? "" }.joined()
            guard let value = try? decode(text) else { continue }
            #expect((try? decode(value.text)) == value, "\(text)")
        }
    }
}
