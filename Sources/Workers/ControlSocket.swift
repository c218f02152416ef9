// A control socket to a forker or zygote: any thread sends, the control loop reads.
internal import CLinux
internal import Glibc
internal import Platform
internal import SwiftletWire

/// One end of a SEQPACKET control socket. Sending is one atomic system call, so it needs no lock.
final class ControlSocket: Sendable {
    private let descriptor: FileDescriptor
    private let name: String

    init(_ descriptor: consuming FileDescriptor, name: String) {
        self.descriptor = descriptor
        self.name = name
    }

    /// Sends one packet with descriptors beside it. The peer gets copies; ours stay ours.
    func send(_ packet: [UInt8], descriptors: [CInt] = []) throws(SystemError) {
        let sent = unsafe packet.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return Int(-EINVAL) }
            return unsafe descriptors.withUnsafeBufferPointer { fds in
                unsafe clinux_send_with_fds(descriptor.raw, base, bytes.count, fds.baseAddress, fds.count)
            }
        }
        try check(sent, "send(\(name))")
    }

    /// Tells the peer to end: its next read says end of file. Ours too, which ends the reader.
    func hangUp() { _ = shutdown(descriptor.raw, CInt(SHUT_RDWR)) }

    /// Reads packets on the control loop until the peer is gone; then calls `ended` once.
    func read(
        on loop: EventLoop, buffer: PacketBuffer,
        received: @escaping (FrameHead, RawSpan, consuming FileDescriptor?) -> Void,
        ended: @escaping () -> Void
    ) throws(SystemError) {
        let reader = Reader(descriptor.raw, loop, buffer, received, ended)
        reader.token = try loop.add(descriptor.raw, events: EPOLLIN.rawValue, handler: reader)
        // The reader holds the socket, so the descriptor outlives its registration.
        reader.socket = self
    }

    private final class Reader: EventHandler {
        var token: EventToken?
        var socket: ControlSocket?
        private let descriptor: CInt
        private let loop: EventLoop
        private let buffer: PacketBuffer
        private let received: (FrameHead, RawSpan, consuming FileDescriptor?) -> Void
        private let ended: () -> Void

        init(
            _ descriptor: CInt, _ loop: EventLoop, _ buffer: PacketBuffer,
            _ received: @escaping (FrameHead, RawSpan, consuming FileDescriptor?) -> Void, _ ended: @escaping () -> Void
        ) {
            self.descriptor = descriptor
            self.loop = loop
            self.buffer = buffer
            self.received = received
            self.ended = ended
        }

        func handle(events: UInt32) {
            for _ in 0..<64 {
                var passed: CInt = -1
                switch buffer.receive(from: descriptor, passed: &passed) {
                case .packet(let count): deliver(count, passed)
                case .wouldBlock: return
                case .closed, .tooLong: return finish()
                }
            }
        }

        private func deliver(_ count: Int, _ passed: CInt) {
            buffer.withPacket(count) { packet in
                let owned = passed < 0 ? nil : FileDescriptor(owning: passed)
                guard let head = FrameHead(packet: packet) else { return }
                received(head, packet.extracting(Int(WIRE_HEAD_SIZE)..<count), owned)
            }
        }

        private func finish() {
            guard let token else { return }
            loop.remove(descriptor, token: token)
            self.token = nil
            socket = nil
            ended()
        }
    }
}
