// HTTP/2 clients that make work without end: bounded memory, and goodbye.
import Glibc
import HTTP
import Platform
import Testing

@Suite struct FloodTests {
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + frame(type: 4, flags: 0, stream: 0, [])
    /// :method GET, :scheme http, :path /, :authority h
    static let get: [UInt8] = [0x82, 0x86, 0x84, 0x41, 0x01, 0x68]

    static func frame(type: UInt8, flags: UInt8, stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
        let size = payload.count
        var bytes: [UInt8] = [UInt8(size >> 16), UInt8(size >> 8 & 255), UInt8(size & 255), type, flags]
        for shift in [24, 16, 8, 0] { bytes.append(UInt8(stream >> UInt32(shift) & 255)) }
        return bytes + payload
    }

    /// Sends pieces until the server hangs up; returns the code of the GOAWAY that it said, if any.
    private func flood(_ server: TestServer, _ piece: (UInt32) -> [UInt8]) throws -> UInt8? {
        let client = try RawClient(port: server.port)
        client.send(Self.preface)
        for turn in 0..<100_000 where !client.send(piece(UInt32(turn))) { break }
        let heard = client.readToEnd()
        return goodbye(heard)
    }

    private func goodbye(_ bytes: [UInt8]) -> UInt8? {
        var at = 0
        while at + 9 <= bytes.count {
            let size = Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
            if bytes[at + 3] == 7, at + 9 + size <= bytes.count { return bytes[at + 16] }
            at += 9 + size
        }
        return nil
    }

    private static let enhanceYourCalm: UInt8 = 11

    @Test func rapidResetsEndTheConnection() throws {
        let server = try TestServer { _ in }
        defer { server.stop() }
        let code = try flood(server) { turn in
            let id = 2 * turn + 1
            return Self.frame(type: 1, flags: 5, stream: id, Self.get)
                + Self.frame(type: 3, flags: 0, stream: id, [0, 0, 0, 8])
        }
        #expect(code == Self.enhanceYourCalm || code == nil)
        #expect(server.onLoop { $0.statistics.requests } < 1_500)
        #expect(server.onLoop { $0.statistics.connections } == 0)
    }

    @Test func pingsAndSettingsEndTheConnection() throws {
        let server = try TestServer { _ in }
        defer { server.stop() }
        for frame in [
            Self.frame(type: 6, flags: 0, stream: 0, [UInt8](repeating: 1, count: 8)),
            Self.frame(type: 4, flags: 0, stream: 0, []),
        ] {
            let many = Array(repeating: frame, count: 100).flatMap { $0 }
            _ = try flood(server) { _ in many }
            #expect(server.onLoop { $0.statistics.connections } == 0)
        }
    }

    @Test func continuationsEndTheConnection() throws {
        let server = try TestServer { _ in }
        defer { server.stop() }
        // A head that never ends: literal fields without indexing, one after another.
        let field: [UInt8] = [0x00, 0x01, 0x61, 0x7f, 0x81, 0x1e] + [UInt8](repeating: 0x62, count: 4_000)
        _ = try flood(server) { turn in
            turn == 0
                ? Self.frame(type: 1, flags: 1, stream: 1, Self.get) : Self.frame(type: 9, flags: 0, stream: 1, field)
        }
        #expect(server.onLoop { $0.statistics.requests } == 0)
        #expect(server.onLoop { $0.statistics.connections } == 0)
    }

    @Test func aHeadThatStaysOpenIsCut() throws {
        var limits = HTTPLimits()
        limits.headTimeout = 300
        let server = try TestServer(limits: limits) { _ in }
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        client.send(Self.preface + Self.frame(type: 1, flags: 1, stream: 1, Self.get))
        _ = client.readToEnd()
        #expect(server.onLoop { $0.statistics.connections } == 0)
    }

    @Test func connectionFieldsAreRefused() throws {
        let server = try TestServer(describe)
        defer { server.stop() }
        let client = try RawClient(port: server.port)
        // connection: close, as a literal
        let field = [0x00, 0x0a] + Array("connection".utf8) + [0x05] + Array("close".utf8)
        client.send(Self.preface + Self.frame(type: 1, flags: 5, stream: 1, Self.get + field))
        client.finishSending()
        _ = client.readToEnd()
        #expect(server.onLoop { $0.statistics.requests } == 0)
    }
}
