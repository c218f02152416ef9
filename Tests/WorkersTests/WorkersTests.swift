// Frames, starts and exits as values: what a hostile worker or zygote may send, and what the host makes of it.
import Core
import Glibc
import Platform
import SwiftletWire
import TestSupport
import Testing

@testable import Workers

private func head(of packet: [UInt8]) -> FrameHead? { unsafe FrameHead(packet: packet.span.bytes) }

/// Reads values in order, as the host does with a frame's payload.
private struct Cursor {
    let bytes: [UInt8]
    var offset = 0

    mutating func u16() -> UInt16? { let bytes = bytes; return unsafe bytes.span.bytes.u16(&offset) }
    mutating func u32() -> UInt32? { let bytes = bytes; return unsafe bytes.span.bytes.u32(&offset) }
    mutating func u64() -> UInt64? { let bytes = bytes; return unsafe bytes.span.bytes.u64(&offset) }
    mutating func text(_ count: UInt32) -> String? {
        let bytes = bytes; return unsafe bytes.span.bytes.text(count, &offset)
    }
    mutating func take(_ count: UInt32) -> Range<Int>? {
        let bytes = bytes; return unsafe bytes.span.bytes.take(count, &offset)
    }
}

@Suite struct FrameTests {
    @Test func whatIsBuiltIsRead() throws {
        var frame = FrameBuilder(FrameHead(Int(WIRE_DATA), flags: Int(WIRE_FLAG_END), id: 7, call: 9))
        frame.append(UInt32(0xdead_beef))
        frame.append("häh")
        let packet = frame.finish()
        let read = try #require(head(of: packet))
        #expect(read == FrameHead(Int(WIRE_DATA), flags: Int(WIRE_FLAG_END), id: 7, call: 9) && read.isEnd)
        var cursor = Cursor(bytes: packet, offset: Int(WIRE_HEAD_SIZE))
        let (number, word) = (cursor.u32(), cursor.text(4))
        #expect(number == 0xdead_beef && word == "häh" && cursor.offset == packet.count)
    }

    @Test func headerFieldsAreReadAsTheyWerePackedAndNeverPastACut() {
        var block = FieldBlock()
        for (name, value) in [("a", "1"), ("content-type", "text/plain"), ("e", "")] {
            unsafe block.append(name: name.utf8Span.span.bytes, value: value.utf8Span.span.bytes)
        }
        func read(_ bytes: [UInt8]) -> [String] {
            let span = unsafe bytes.span.bytes
            var (offset, fields) = (0, [String]())
            while let field = span.field(&offset) {
                fields.append("\(span.text(in: field.name))=\(span.text(in: field.value))")
            }
            return fields
        }
        let whole = ["a=1", "content-type=text/plain", "e="]
        #expect(block.count == 3 && read(block.bytes) == whole)
        for size in 0..<block.bytes.count { #expect(whole.starts(with: read(Array(block.bytes[..<size])))) }
        #expect(read(Array(block.bytes.dropLast())) == Array(whole.dropLast()))
    }

    @Test func aPacketWhoseSizeFieldLiesIsNoFrame() {
        var frame = FrameBuilder(FrameHead(Int(WIRE_DATA)))
        frame.append("twelve bytes")
        let packet = frame.finish()
        for count in 0..<packet.count { #expect(head(of: Array(packet[..<count])) == nil, "cut to \(count)") }
        #expect(head(of: packet + [0]) == nil)
        for wrong: UInt8 in [0, 11, 13, 255] {
            var lying = packet
            lying[4] = wrong
            #expect(head(of: lying) == nil, "size field \(wrong)")
        }
        var huge = packet
        for index in 4..<8 { huge[index] = 0xff }
        #expect(head(of: huge) == nil)
    }

    @Test func nothingIsReadBeyondTheEnd() {
        var cursor = Cursor(bytes: [1, 0, 0, 0, 0xff, 0xff, 0xff])
        let first = cursor.u32()
        let beyond = [cursor.u32() == nil, cursor.u64() == nil, cursor.take(4) == nil, cursor.take(.max) == nil]
        #expect(first == 1 && beyond == [true, true, true, true] && cursor.offset == 4, "a failed read does not move")
        let repaired = cursor.text(3)
        let (after, nothing) = (cursor.u16(), cursor.take(0))
        #expect(repaired?.unicodeScalars.count == 3 && after == nil && nothing != nil)
    }

    @Test func randomBytesNeverTrap() {
        var random = SeededGenerator(seed: 20)
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...80, using: &random)
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            _ = head(of: bytes)
            var cursor = Cursor(bytes: bytes)
            while let size = cursor.u32() { _ = cursor.text(size % 100) }
            #expect(cursor.offset <= bytes.count)
        }
    }
}

@Suite struct StartTests {
    @Test func theStartPacketHasTheLayoutOfTheWire() throws {
        var limits = Limits(defaultsFor: .backend)
        limits.memoryBytes = 12345 << 20
        limits.threads = 3
        limits.cpuPercent = 250
        limits.cpuWeight = 400
        limits.files = 77
        limits.deviceMemoryBytes = 8 << 30
        func spec(_ device: Device?, makesCode: Bool = false) -> WorkerSpec {
            WorkerSpec(
                purpose: .backend, key: FunctionKey(tenant: "platform", name: "m"), trust: "platform:m", root: "/r",
                directory: "dir", library: "lib.so", model: "m.gguf", config: #"{"a":1}"#, limits: limits,
                device: device, contextTokens: 4096, maxSequences: 8, maxStepTokens: 512,
                makesCode: makesCode)
        }
        let node = DeviceNode(path: "nvidia1", major: 195, minor: 1)
        let packet = spec(.gpu(1)).with([node]).startPacket(worker: 42)
        #expect(head(of: packet)?.type == UInt16(WIRE_START))
        let start = unsafe packet.withUnsafeBytes {
            unsafe $0.loadUnaligned(fromByteOffset: Int(WIRE_HEAD_SIZE), as: wire_start.self)
        }
        #expect(start.worker == 42 && start.kind == UInt32(WIRE_KIND_BACKEND) && start.memory_bytes == 12345 << 20)
        // The driver's own threads are the group's, and not the engine's to use.
        #expect(start.pids == 3 + 16 && start.threads == 3 && start.cpu_percent == 250 && start.files == 77)
        #expect(start.cpu_weight == 400)
        #expect(start.context_tokens == 4096 && start.max_sequences == 8 && start.max_step_tokens == 512)
        #expect([start.directory_size, start.library_size, start.model_size, start.config_size] == [3, 6, 6, 7])
        #expect(start.device_bytes == 8 << 30 && start.device_count == 1)
        let without = unsafe spec(nil).startPacket(worker: 42).withUnsafeBytes {
            unsafe $0.loadUnaligned(fromByteOffset: Int(WIRE_HEAD_SIZE), as: wire_start.self)
        }
        #expect(without.device_bytes == 0, "a budget without a device is no device to an engine")
        let code = unsafe spec(nil, makesCode: true).startPacket(worker: 42).withUnsafeBytes {
            unsafe $0.loadUnaligned(fromByteOffset: Int(WIRE_HEAD_SIZE), as: wire_start.self)
        }
        #expect(code.kind == UInt32(WIRE_KIND_JIT))
        let strings = packet[(Int(WIRE_HEAD_SIZE) + MemoryLayout<wire_start>.size)...]
        #expect(String(decoding: strings, as: UTF8.self) == #"dirlib.som.gguf{"a":1}"#)
    }

    @Test func workersAreInterchangeableOnlyWithinOneDeploymentOfOneTrustKey() {
        func pool(_ trust: String, _ name: String, _ directory: String) -> WorkerSpec.Pool {
            WorkerSpec(
                purpose: .handler, key: FunctionKey(tenant: "t", name: name), trust: trust, root: "/",
                directory: directory,
                library: "p.so", limits: Limits(defaultsFor: .handler)
            ).pool
        }
        let pools = [pool("a", "f", "1"), pool("b", "f", "1"), pool("a", "g", "1"), pool("a", "f", "2")]
        #expect(Set(pools).count == 4 && pool("a", "f", "1") == pools[0])
    }
}

@Suite struct ChannelTests {
    private final class Heard: WorkerChannelDelegate {
        var frames: [String] = []
        var ended: ChannelEnd?
        func received(_ head: FrameHead, _ payload: RawSpan) {
            frames.append("\(head.type) \(payload.text(in: 0..<payload.byteCount))")
        }
        func channelDrained() {}
        func channelEnded(_ end: ChannelEnd) { ended = end }
    }

    /// What a loop hears of one packet.
    private func hear(_ packet: [UInt8]) throws -> Heard {
        var ends: [CInt] = [0, 0]
        let kind = CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        try #require(unsafe socketpair(AF_UNIX, kind, 0, &ends) == 0)
        defer { for end in ends { close(end) } }
        let heard = Heard()
        let loop = try EventLoop(index: 0)
        let channel = try WorkerChannel(descriptor: ends[0], loop: loop, buffer: PacketBuffer(), delegate: heard)
        #expect(unsafe packet.withUnsafeBytes { unsafe send(ends[1], $0.baseAddress, $0.count, 0) } == packet.count)
        channel.handle(events: 1)  // EPOLLIN
        channel.detach()
        return heard
    }

    private func frame(_ type: Int, _ text: String) -> [UInt8] {
        var frame = FrameBuilder(FrameHead(type))
        frame.append(text)
        return frame.finish()
    }

    @Test func anAnswerMayComeInThePacketOfReadyAndNothingElseMay() throws {
        let ready = frame(Int(WIRE_READY), "r"), log = frame(Int(WIRE_LOG), "l")
        #expect(try hear(ready).frames == ["96 r"])
        #expect(try hear(ready + log).frames == ["96 r", "98 l"])
        #expect(try hear(ready + log).ended == nil)
        for wrong in [
            log + log, ready + log + log, ready + ready + log, ready + log.dropLast(), ready + [0],
            Array(ready.dropLast()),
            Array(ready.prefix(7)),
        ] {
            guard case .violation = try hear(wrong).ended else {
                Issue.record("a packet of \(wrong.count) bytes was taken")
                continue
            }
        }
    }
}

@Suite struct ExitTests {
    private let limits = Limits(defaultsFor: .handler)

    @Test func aWaitStatusBecomesAnOutcome() {
        #expect(WorkerExit(status: nil).outcome(limits: limits) == .lost)
        #expect(WorkerExit(status: 7 << 8).outcome(limits: limits) == .exited(code: 7, words: ""))
        #expect(WorkerExit(status: 11).outcome(limits: limits) == .crashed(signal: 11, words: ""))
        var crash = WorkerExit(status: 6 | 0x80)
        crash.lastWords = "boom"
        #expect(crash.outcome(limits: limits) == .crashed(signal: 6, words: "; its last words: boom"))
    }

    @Test func theMemoryLimitIsNamedBeforeTheSignalThatItSent() {
        var exit = WorkerExit(status: 9)
        exit.outOfMemory = true
        exit.memoryPeak = 130 << 20
        #expect(exit.outcome(limits: limits) == .outOfMemory(limit: 128 << 20, peak: 130 << 20))
    }
}
