// The host's end of a worker's channel while a loop holds it: frames out (queued when the socket is full), frames in.
internal import CLinux
internal import Glibc
package import Platform
internal import SwiftletWire

/// Receives what a worker says, on the loop's thread.
package protocol WorkerChannelDelegate: AnyObject {
    /// One frame. `payload` dies when this returns.
    func received(_ head: FrameHead, _ payload: RawSpan)
    /// Everything that was queued for the worker is sent.
    func channelDrained()
    /// The worker's end is closed, or broke the protocol. Called once; nothing follows.
    func channelEnded(_ end: ChannelEnd)
}

/// Why a channel carries no more.
package enum ChannelEnd: Equatable, Sendable {
    /// The worker's process closed it, mostly by ending.
    case closed
    /// The worker sent what no worker may send.
    case violation(String)
}

/// A worker's channel, registered with one loop. Not registered means not read: an idle worker costs the loop nothing.
package final class WorkerChannel: EventHandler {
    /// Held until `detach`, or until whoever hands the channel on takes it out.
    package var delegate: (any WorkerChannelDelegate)?
    private let descriptor: CInt
    private let loop: EventLoop
    private let buffer: PacketBuffer
    private var token: EventToken?
    private var queue: [(packet: [UInt8], isSecret: Bool)] = []
    private var queueHead = 0
    private var interest: UInt32 = 0
    private var readingPaused = false

    /// - Parameter descriptor: open for as long as the channel is; the worker owns it.
    package init(descriptor: CInt, loop: EventLoop, buffer: PacketBuffer, delegate: any WorkerChannelDelegate)
        throws(SystemError)
    {
        self.descriptor = descriptor
        self.loop = loop
        self.buffer = buffer
        self.delegate = delegate
        interest = EPOLLIN.rawValue
        token = try loop.add(descriptor, events: interest, handler: self)
    }

    /// Stops watching; the descriptor stays open for the next lease.
    package func detach() {
        guard let token else { return }
        loop.remove(descriptor, token: token)
        self.token = nil
        delegate = nil
    }

    /// True when it may carry the next invocation as it is.
    package var isClear: Bool { token != nil && queue.isEmpty && !readingPaused }

    /// Bytes that wait because the worker doesn't read.
    package private(set) var queuedBytes = 0

    /// True while the worker holds more than the one invocation that it serves.
    package var hasMoreToDo = false

    /// Sends one packet, or queues it behind others. What is a secret is overwritten when it is sent.
    package func send(_ packet: consuming [UInt8], isSecret: Bool = false) {
        guard token != nil else { return }
        guard queueHead == queue.count, trySend(packet) else { return enqueue(packet, isSecret) }
        if isSecret { wipe(&packet) }
    }

    /// Stops or resumes reading: how a slow client slows its worker.
    package func setReading(_ reading: Bool) {
        guard readingPaused == reading else { return }
        readingPaused = !reading
        updateInterest()
    }

    package func handle(events: UInt32) {
        if events & EPOLLOUT.rawValue != 0 { flush() }
        if events & (EPOLLIN.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 { receive() }
    }

    private func receive() {
        // Bounded, so that one chatty worker can't hold the loop.
        for _ in 0..<16 {
            guard token != nil, !readingPaused else { return }
            switch buffer.receive(from: descriptor) {
            case .wouldBlock: return
            case .closed: return end(.closed)
            case .tooLong: return end(.violation("a packet over \(WIRE_FRAME_MAX) bytes"))
            case .packet(let count):
                var isWhole = true
                buffer.withPacket(count) { isWhole = deliver($0) }
                if !isWhole { return end(.violation("a packet of \(count) bytes whose size field doesn't match")) }
                // Most invocations are one frame; asking again would be a wasted call.
                if count < 4096, !hasMoreToDo { return }
            }
        }
    }

    /// - Returns: false when the packet is not a frame, or READY and a frame.
    private func deliver(_ packet: RawSpan) -> Bool {
        var begin = 0
        if let (head, end) = FrameHead.ready(before: packet) {
            delegate?.received(head, packet.extracting(Int(WIRE_HEAD_SIZE)..<end))
            begin = end
        }
        let last = packet.extracting(begin..<packet.byteCount)
        guard let head = FrameHead(packet: last) else { return false }
        // Nobody, where READY gave offence.
        delegate?.received(head, last.extracting(Int(WIRE_HEAD_SIZE)..<last.byteCount))
        return true
    }

    private func end(_ reason: ChannelEnd) {
        let delegate = delegate
        detach()
        delegate?.channelEnded(reason)
    }

    private func trySend(_ packet: [UInt8]) -> Bool {
        let sent = unsafe packet.withUnsafeBytes { bytes in
            unsafe Glibc.send(descriptor, bytes.baseAddress, bytes.count, CInt(MSG_NOSIGNAL | MSG_DONTWAIT))
        }
        if sent >= 0 { return true }
        // A dead worker is noticed by reading; what is sent to it is lost either way.
        return errno != EAGAIN && errno != ENOBUFS && errno != EINTR
    }

    private func enqueue(_ packet: [UInt8], _ isSecret: Bool) {
        queue.append((packet, isSecret))
        queuedBytes += packet.count
        updateInterest()
    }

    private func flush() {
        while queueHead < queue.count {
            guard trySend(queue[queueHead].packet) else { return }
            queuedBytes -= queue[queueHead].packet.count
            if queue[queueHead].isSecret { wipe(&queue[queueHead].packet) }
            queue[queueHead].packet = []
            queueHead += 1
        }
        queue.removeAll(keepingCapacity: false)
        queueHead = 0
        updateInterest()
        delegate?.channelDrained()
    }

    private func updateInterest() {
        guard let token else { return }
        let wanted = (readingPaused ? 0 : EPOLLIN.rawValue) | (queueHead < queue.count ? EPOLLOUT.rawValue : 0)
        guard wanted != interest else { return }
        interest = wanted
        loop.modify(descriptor, events: wanted, token: token)
    }
}

/// One loop's room for a packet, shared by all its channels because a packet is handled before the next is read.
// SAFETY: `room` is allocated once and lives as long as the object; every access is bounded by its count.
@safe package final class PacketBuffer {
    package enum Received {
        case packet(Int)
        case wouldBlock, closed, tooLong
    }

    private let room: UnsafeMutableRawBufferPointer

    package init() {
        unsafe room = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(WIRE_FRAME_MAX), alignment: 16)
    }

    deinit { unsafe room.deallocate() }

    package func receive(from descriptor: CInt) -> Received {
        guard let base = unsafe room.baseAddress else { return .closed }
        var count = unsafe clinux_recv_packet(descriptor, base, room.count)
        // A peer that ended without reading what we sent: the kernel says so before it hands over the peer's last packets.
        if count == -Int(ECONNRESET) { count = unsafe clinux_recv_packet(descriptor, base, room.count) }
        switch count {
        case 1...: return .packet(count)
        case 0: return .closed
        case -Int(EAGAIN): return .wouldBlock
        case -Int(EMSGSIZE): return .tooLong
        default: return .closed
        }
    }

    /// From a trusted peer: with the descriptor that came along, or -1.
    func receive(from descriptor: CInt, passed: inout CInt) -> Received {
        guard let base = unsafe room.baseAddress else { return .closed }
        let count = unsafe clinux_recv_packet_with_fd(descriptor, base, room.count, &passed)
        switch count {
        case 1...: return .packet(count)
        case -Int(EAGAIN): return .wouldBlock
        case -Int(EMSGSIZE): return .tooLong
        default: return .closed
        }
    }

    package func withPacket(_ count: Int, _ body: (RawSpan) -> Void) {
        let packet = unsafe UnsafeRawBufferPointer(rebasing: room[0..<count])
        unsafe body(packet.bytes)
    }
}
