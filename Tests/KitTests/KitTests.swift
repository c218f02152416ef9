// Drives built plugins in child processes: answers, streams, executors, errors, cancellation.
import TestSupport
import Testing

private func run(_ path: String, _ options: String...) throws -> Workshop.Report {
    try Workshop.drive(Workshop.probe, ["--path", path] + options)
}

@Suite struct Answers {
    @Test func aSwiftHandlerAnswersInOneWrite() throws {
        let report = try Workshop.drive(Workshop.helloSwift, ["--query", "name=Ada%20L"])
        #expect(report["plugin"] == "hello-swift 1.2.3 kind 1 abi 1 size 40")
        #expect(report["status"] == "0" && report["respond"] == "200")
        #expect(report.body == "hello Ada L\n")
        #expect(report["responds"] == "1" && report["writes"] == "1" && report["flushes"] == "0")
        #expect(report["header"] == "content-type=text/plain; charset=utf-8")
        #expect(report["log"] == "1 greeting Ada L")
    }

    @Test func aCHandlerAnswersWithTheHeaderAlone() throws {
        let report = try Workshop.drive(Workshop.helloC, ["--query", "x=1&name=ada"])
        #expect(report.body == "hello ada\n" && report["status"] == "0")
        #expect(try Workshop.drive(Workshop.helloC).body == "hello world\n")
    }

    @Test func configurationReachesTheHandler() throws {
        #expect(try run("/", "--config", #"{"greeting":"moin"}"#).body == "moin nobody\n")
        let wrong = try run("/", "--config", #"{"nested":[1,"x"]}"#)
        #expect(wrong["init"] == "-1")
        #expect(wrong["fail"] == "init: config: nested.[1] is not Int: correct `config` in swiftlet.json5")
    }

    @Test func requestsCarryEverything() throws {
        let report = try run("/request/a%2Fb", "--query", "a+b=c%26", "--method", "PUT")
        #expect(
            report.body == #"["PUT","/request/a%2Fb","request|a/b","acme","probe","yes","c&","true","false"]"#)
        #expect(report["respond"] == "201")
        #expect(report.all("header") == ["X-Facts=9", "content-type=application/json"])
        #expect(report["log"] == "2 seen req-1" && report.text.contains("\nprinted\n"))
    }

    @Test func bodiesArriveWholeOrInChunks() throws {
        #expect(try run("/json", "--body", #"{"numbers":[1,2,39]}"#).body == #"{"sum":42}"#)
        #expect(try run("/json", "--body", #"{"numbers":[1,"#, "--rest", "2,39]}").body == #"{"sum":42}"#)
        #expect(try run("/chunks", "--body", "abcdef", "--rest", "ghijklmnop").body == "[6,4,4,2]")
        let wrong = try run("/json", "--body", #"{"numbers":[1,null]}"#)
        #expect(wrong["respond"] == "400" && wrong["status"] == "0")
        #expect(wrong.body?.contains("numbers.[1]") == true)
    }

    @Test func aBodyKeptTooLongIsRefused() throws {
        let report = try run("/kept", "--body", "secret", "--repeat", "4")
        #expect(report.body == "kept\n")
        #expect(report["last"] == "refused: the invocation is over: await every task before respond(to:) returns")
    }

    @Test func modelsAnswerWholeAndInPieces() throws {
        #expect(try run("/chat").body == "four stop 7+1")
        let stream = try run("/events")
        #expect(
            stream.body
                == "event: token\ndata: two \n\nevent: token\ndata: plus \n\nevent: token\ndata: two \n\nevent: token\ndata: \n\n"
        )
        #expect(stream["flushes"] == "4" && stream["open"] == "0")
        #expect(stream.all("header").contains("content-type=text/event-stream; charset=utf-8"))
    }

    @Test func textsBecomeVectorsOrAnErrorSaysWhy() throws {
        #expect(try run("/embed").body == "[[0.5, -0.001], [1.0, 0.0]] 5")
        let wrong = try run("/embed-one")
        #expect(wrong["status"] != "0")
        #expect(wrong["fail"]?.contains("2 vectors for 1 texts") == true)
    }

    @Test func theChatExampleStreams() throws {
        let config = #"{"model":"smollm2","system":"be kind","max_tokens":8}"#
        let report = try Workshop.drive(
            Workshop.chat, ["--config", config, "--method", "POST", "--body", #"{"question":"2+2?"}"#])
        #expect(report.body?.hasPrefix("data: {\"text\":\"two \"}\n\n") == true)
        #expect(report.body?.hasSuffix("data: [DONE]\n\n") == true)
        #expect(try Workshop.drive(Workshop.chat, ["--config", config])["respond"] == "400")
    }
}

@Suite struct Executor {
    @Test(arguments: [
        ("/concurrent", "6060"), ("/group", "55"), ("/sleep", "overlapped"), ("/task", "plain main"),
        ("/left", "answered"),
        ("/timeout", "quick"),
    ])
    func concurrencyRunsOnOneThread(path: String, answer: String) throws {
        let report = try run(path)
        #expect(report.body == answer && report["status"] == "0" && report["threads"] == "1")
    }

    @Test func hostCallsOverlap() throws {
        #expect(try run("/concurrent")["max_open"] == "2")
    }

    @Test func workLeftBehindRunsBeforeTheEnd() throws {
        #expect(try run("/left")["log"] == "1 left behind")
    }

    @Test(arguments: ["/", "/group", "/events", "/task", "/throw", "/drop"])
    func aThousandInvocationsDoNotGrow(path: String) throws {
        let report = try run(path, "--repeat", "1000")
        #expect(report["threads"] == "1")
        #expect(
            report.number("growth_bytes") < 4096,
            "\(path) grew by \(report.number("growth_bytes")) bytes in 750 invocations")
    }

    @Test func cancelledSleepsAreBounded() throws {
        #expect(try run("/timeout", "--repeat", "8000").number("growth_bytes") < 65536)
    }

    @Test func warmingUpLeavesOneThreadAndNoFile() throws {
        let cold = try Workshop.drive(Workshop.helloSwift)
        let warm = try Workshop.drive(Workshop.helloSwift, ["--warm", "1"])
        #expect(warm["kit_threads"] == "1" && warm["kit_fds"] == cold["kit_fds"])
        #expect(warm.body == "hello world\n" && warm["threads"] == "1")
    }

    @Test func childrenOfAWarmProcessWork() throws {
        let report = try run("/task", "--warm", "1", "--fork", "50")
        #expect(report.all("status") == Array(repeating: "0", count: 50))
        #expect(report.all("threads") == Array(repeating: "1", count: 50) && report["child"] == nil)
    }
}

@Suite struct Failures {
    @Test(arguments: [
        ("/throw", "respond: Broken()"),
        ("/status", "respond: respond: refused as invalid: check that the status is 200 to 599"),
        ("/fail", "respond: fail: there is none (no_such_thing)"), ("/boom", "respond: boom: not json (unknown)"),
        ("/stuck", "respond: the handler waits for something that can never come"), ("/torn", "respond: Broken()"),
    ])
    func errorsBecomeWords(path: String, words: String) throws {
        let report = try run(path)
        #expect(report["status"] == "-1" && report["fail"]?.hasPrefix(words) == true)
    }

    @Test func refusalsBecomeStatuses() throws {
        let report = try run("/refuse")
        #expect(report["status"] == "0" && report["respond"] == "404")
        #expect(report.body == #"{"error":{"message":"no such thing","type":"function_refused"}}"#)
        #expect(try run("/late")["respond"] == "409")
    }

    @Test func aDroppedStreamGivesUpItsCall() throws {
        let report = try run("/drop")
        #expect(report.body == "dropped" && report["cancelled_calls"] == "1" && report["open"] == "0")
    }

    @Test func cancellationReachesTheHandler() throws {
        let waiting = try run("/never", "--cancel-after-ms", "30")
        #expect(waiting["status"] == "-2" && waiting["log"] == "1 tidied: CancellationError()")
        let spinning = try run("/spin", "--cancel-after-ms", "30")
        #expect(spinning["status"] == "-2" && spinning.number("elapsed_ms") < 2000)
    }

    @Test func aStubbornHandlerIsGivenUp() throws {
        let report = try run("/stubborn", "--cancel-after-ms", "30")
        #expect(report["status"] == "-2")
        #expect(report.number("elapsed_ms") > 120 && report.number("elapsed_ms") < 5000)
    }
}
