// Stopping without dropping: every request that was sent is answered.
import Glibc
import HTTP
import Platform
import Testing

@Suite(.serialized) struct DrainTests {
    @Test func runningRequestsFinishAndIdleClientsAreClosed() throws {
        let server = try TestServer { exchange in
            exchange.loop.schedule(at: .now.adding(milliseconds: 300)) {
                exchange.respond(status: 200, body: Array("late".utf8))
            }
        }
        defer { server.stop() }
        let busy = try RawClient(port: server.port)
        let idle = try RawClient(port: server.port)
        busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        usleep(50_000)
        let done = server.drain(milliseconds: 10_000)
        let answer = try #require(busy.answer())
        #expect(answer.text == "late" && answer.fields["connection"] == "close")
        #expect(idle.readToEnd().isEmpty && idle.lastError == 0)
        #expect(done.take(seconds: 20) == true)
        #expect(throws: SystemError.self) { try RawClient(port: server.port) }
    }

    @Test func aRequestOnItsWayFindsSomebodyHome() throws {
        let server = try TestServer(describe)
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(client.answer()?.status == 200)
        let done = server.drain(milliseconds: 10_000)
        usleep(50_000)
        client.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(client.answer()?.fields["connection"] == "close")
        #expect(done.take(seconds: 20) == true)
    }

    @Test func theDeadlineCutsWhatHangs() throws {
        let server = try TestServer { _ in }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        usleep(50_000)
        let done = server.drain(milliseconds: 200)
        #expect(done.take(seconds: 20) == false)
        #expect(client.answer() == nil)
    }

    /// h2load counts every stream: a dropped one would be failed or errored, unless it was never accepted (GOAWAY).
    @Test(arguments: [["--h1"], []]) func drainUnderLoadFailsNothing(_ options: [String]) throws {
        let server = try TestServer { exchange in
            exchange.loop.schedule(at: .now.adding(milliseconds: 2)) {
                exchange.respond(status: 200, body: Array("ok".utf8))
            }
        }
        defer { server.stop() }
        let drained = Mailbox<Bool?>()
        let thread = try LoopThread {
            usleep(500_000)
            drained.put(server.drain(milliseconds: 10_000).take(seconds: 20))
        }
        let load = try run(
            "h2load", options + ["-c", "8", "-m", "4", "-n", "200000", "http://127.0.0.1:\(server.port)/"])
        thread.join()
        #expect(drained.take() == true)
        // Every answer that came was whole; h2load books what it could no longer send as failed, which is not the server's.
        let begun = server.onLoop { $0.statistics.requests }
        let status = try #require(load.output.split(separator: "\n").first { $0.hasPrefix("status codes:") })
        let answered = try #require(status.split(separator: " ").dropFirst(2).first.flatMap { UInt64($0) })
        #expect(answered == begun, "\(load.output)")
    }
}
