// Names from outside, and how an ending becomes what a caller and a log are told.
import Core
import Testing

@Suite struct NameTests {
    @Test(arguments: ["a", "0", "a-b", "a--b", "a-", String(repeating: "a", count: 63)]) func isAName(_ name: String) {
        #expect(Names.isValid(name) && refusal { () throws(RuntimeError) in try Names.validate(name) } == nil)
    }

    @Test(arguments: [
        "", "-a", "A", "a_b", "a.b", "a/b", "..", "a b", "ä", "a\u{0}", "a\n", "ａ", String(repeating: "a", count: 64),
    ]) func isNoName(_ name: String) {
        #expect(!Names.isValid(name))
        let error = refusal { () throws(RuntimeError) in try Names.validate(name, as: "tenant") }
        #expect(error?.code == .badRequest && error?.step == "name of the tenant" && error?.next == "use \(Names.rule)")
    }

    @Test func everyByteIsJudgedAsTheRuleSays() {
        for byte in UInt8(0)...127 {
            let character = Character(Unicode.Scalar(byte))
            let isLetter = character.isASCII && (character.isLetter || character.isNumber)
            #expect(
                Names.isValid("a\(character)") == (isLetter && !character.isUppercase || character == "-"), "\(byte)")
            #expect(Names.isFileName("a\(character)") == (isLetter || "._+-".contains(character)), "\(byte)")
            #expect(Names.isFileName("\(character)a") == (isLetter || "_+".contains(character)), "\(byte)")
        }
        #expect(Names.isFileName(String(repeating: "a", count: 128)))
        #expect(!Names.isFileName(String(repeating: "a", count: 129)) && !Names.isFileName(""))
    }

    @Test func whatIsShownIsSafeAndShort() {
        #expect(Names.quoted("plain ä") == "'plain ä'")
        #expect(Names.quoted("a\u{1b}[31m\n\u{202e}") == "'a\u{FFFD}[31m\u{FFFD}\u{FFFD}'")
        #expect(Names.quoted(String(repeating: "x", count: 81)) == "'" + String(repeating: "x", count: 80) + "…'")
    }
}

@Suite struct OutcomeTests {
    private static let cases: [(Outcome, String, RuntimeError.Code?, Int?, String)] = [
        (.success(status: 204), "success", nil, nil, ""),
        (.failed("no such city"), "failed", .handlerFailed, 502, "reported an error: no such city"),
        (
            .crashed(signal: 11, words: "while serving"), "crashed", .handlerCrashed, 502,
            "SIGSEGV (invalid memory access) while serving"
        ),
        (.crashed(signal: 64, words: ""), "crashed", .handlerCrashed, 502, "crashed with signal 64"),
        (.exited(code: 3, words: ""), "exited", .handlerCrashed, 502, "exit status 3"),
        (.timedOut(milliseconds: 50), "timed_out", .timeout, 504, "within 50 ms"),
        (
            .outOfMemory(limit: 128 << 20, peak: (130 << 20) + 1), "out_of_memory", .outOfMemory, 502,
            "limit of 128 MiB (peak 131 MiB)"
        ),
        (.outOfMemory(limit: 1 << 20, peak: 0), "out_of_memory", .outOfMemory, 502, "limit of 1 MiB"),
        (.cancelled, "cancelled", .timeout, 504, "the caller closed the connection"),
        (.protocolViolation("two answers"), "protocol_violation", .handlerFailed, 502, "two answers"),
    ]

    @Test func everyEndingHasItsNameStatusAndWords() {
        for (outcome, name, code, status, words) in Self.cases {
            #expect(outcome.name == name && outcome.isSuccess == (code == nil))
            #expect(outcome.error?.code == code && outcome.error?.httpStatus == status, "\(name)")
            guard let error = outcome.error else { continue }
            #expect(error.step == "invoke" && error.cause.contains(words) && !error.next.isEmpty, "\(error)")
        }
        #expect(Outcome.outOfMemory(limit: 1, peak: 0).error?.cause.contains("peak") == false)
    }

    @Test func everySignalOfACrashHasAdvice() {
        for signal: Int32 in [4, 5, 6, 7, 8, 9, 11, 13, 24, 25, 31] { #expect(Signal.words(signal).hasPrefix("SIG")) }
        for signal: Int32 in 0...64 { #expect(!Signal.words(signal).isEmpty && !Signal.advice(signal).isEmpty) }
        #expect(Signal.words(31).contains("sandbox") && Signal.advice(9).contains("limits"))
    }

    /// Clients may test for these words: they change for nobody.
    @Test func errorCodesAndTheirStatusesAreFixed() {
        let expected = [
            "bad_request": 400, "unauthorized": 401, "forbidden": 403, "not_found": 404, "method_not_allowed": 405,
            "conflict": 409, "payload_too_large": 413, "header_too_large": 431, "manifest_invalid": 422,
            "plugin_invalid": 422, "queue_full": 429, "rate_limited": 429, "tenant_suspended": 403,
            "handler_failed": 502, "handler_crashed": 502, "crash_loop": 503,
            "out_of_memory": 502,
            "unavailable": 503, "timeout": 504, "internal_error": 500, "insufficient_storage": 507,
        ]
        let actual = RuntimeError.Code.allCases.map { ($0.name, $0.httpStatus) }
        #expect(Dictionary(actual) { first, _ in first } == expected)
        let error = RuntimeError(.conflict, step: "open x", cause: "it is locked", next: "stop the other")
        #expect("\(error)" == "open x: it is locked; stop the other")
    }
}
