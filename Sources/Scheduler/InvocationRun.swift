// One invocation in its worker: INVOKE out, frames in as calls on a sink, one outcome at the end. Loop-confined.
internal import Core
package import Platform
internal import SwiftletWire
package import Workers

/// Runs one invocation in a leased worker and gives the worker back.
package final class InvocationRun: WorkerChannelDelegate {
    /// `ahead`: others run first.
    private enum Phase { case ahead, starting, running, stopping, done }

    private let lease: Lease
    private let dispatcher: Dispatcher
    private let loop: EventLoop
    private let id: UInt64
    /// Held until the end has been told.
    private var sink: (any InvocationSink)?
    private var channel: WorkerChannel?
    private var phase = Phase.starting
    /// Whose turn in the worker comes when this has finished.
    private var follower: InvocationRun?
    private var status = 0
    private var responseBytes: UInt64 = 0
    private var reason: Outcome?
    private var timer: TimerToken?
    private var calls = HostCalls()
    private var startedAt: MonotonicTime
    package private(set) var timings: InvocationTimings

    package init(
        _ request: InvocationRequest, lease: Lease, place: Place = .first, dispatcher: Dispatcher,
        loop: EventLoop, buffer: PacketBuffer, queued: UInt64, sink: any InvocationSink
    ) {
        id = request.id
        self.lease = lease
        self.dispatcher = dispatcher
        self.loop = loop
        self.sink = sink
        startedAt = .now
        timings = InvocationTimings()
        timings.queue = queued
        if !lease.awaitsReady { phase = .running }
        if lease.isCold {
            loop.schedule(at: startedAt.adding(milliseconds: 1)) { [dispatcher, worker = lease.worker] in
                dispatcher.settle(worker)
            }
        }
        switch place {
        case .first:
            channel = try? WorkerChannel(
                descriptor: lease.worker.channel.raw, loop: loop, buffer: buffer, delegate: self)
        case .open(let channel):
            channel.delegate = self
            self.channel = channel
        case .behind(let front):
            phase = .ahead
            channel = front.channel
            stand(behind: front, request)
            return
        }
        guard channel != nil else {
            loop.afterBatch { self.stop(.protocolViolation("its channel can't be watched")) }
            return
        }
        startTimer()
        sendInvoke(request, deadline: startedAt.adding(milliseconds: UInt64(limitMilliseconds)))
        if case .open = place { dispatcher.sendAhead(behind: self, in: lease.worker, on: loop) }
    }

    private var limitMilliseconds: Int { lease.worker.spec.limits.timeoutMilliseconds }

    private func startTimer() {
        timer = loop.schedule(at: startedAt.adding(milliseconds: UInt64(limitMilliseconds))) { [self] in
            stop(.timedOut(milliseconds: limitMilliseconds))
        }
    }

    // MARK: in turn

    /// How many stand behind this one.
    var followers: Int { follower.map { 1 + $0.followers } ?? 0 }

    private func stand(behind front: InvocationRun, _ request: InvocationRequest) {
        var last = front
        while let next = last.follower { last = next }
        last.follower = self
        channel?.hasMoreToDo = true
        sendInvoke(request, deadline: .distantFuture)
    }

    /// The one before has finished.
    private func takeTurn(on channel: WorkerChannel?) {
        channel?.delegate = self
        channel?.hasMoreToDo = follower != nil
        // The one before may have paused it with its last bytes.
        channel?.setReading(true)
        phase = .running
        let now = MonotonicTime.now
        timings.queue += now.since(startedAt)
        startedAt = now
        startTimer()
        if case .cancelled = reason {
            reason = nil
            cancel()
        }
    }

    /// The worker ends, and those that wait in it were not begun.
    private func displaceFollowers() {
        guard let next = follower.take() else { return }
        // Later, since this may be the end of another's end.
        loop.afterBatch { next.displace() }
    }

    private func displace() {
        displaceFollowers()
        channel = nil
        if case .cancelled = reason { return finish(.cancelled) }
        phase = .done
        let told = sink.take()
        told?.displaced()
    }

    // MARK: towards the worker

    private func sendInvoke(_ request: InvocationRequest, deadline: MonotonicTime) {
        let (packet, rest) = request.invokeFrame(
            deadline: deadline, limitMilliseconds: phase == .ahead ? UInt32(limitMilliseconds) : 0)
        channel?.send(packet)
        if let rest { sendBody(rest, isEnd: request.bodyComplete) }
    }

    /// Sends more of the request body. Returns false when the worker reads slowly: wait for `drained`.
    @discardableResult
    package func sendBody(_ bytes: ArraySlice<UInt8>, isEnd: Bool) -> Bool {
        var rest = bytes
        repeat {
            let part = rest.prefix(32_768)
            rest = rest.dropFirst(part.count)
            let last = isEnd && rest.isEmpty
            send(Int(WIRE_BODY), flags: last ? Int(WIRE_FLAG_END) : 0, payload: part)
        } while !rest.isEmpty
        return (channel?.queuedBytes ?? 0) < 262_144
    }

    /// Answers a host call; `isEnd` on the last part. What is a secret leaves no copy here.
    package func reply(
        _ call: UInt32, _ bytes: ArraySlice<UInt8>, isEnd: Bool, isError: Bool = false, isSecret: Bool = false
    ) {
        guard phase == .running else { return }
        var rest = bytes
        repeat {
            let part = rest.prefix(32_768)
            rest = rest.dropFirst(part.count)
            let flags = (isEnd && rest.isEmpty ? Int(WIRE_FLAG_END) : 0) | (isError ? Int(WIRE_FLAG_ERROR) : 0)
            send(Int(WIRE_HOST_REPLY), flags: flags, call: call, payload: part, isSecret: isSecret)
        } while !rest.isEmpty
        if isEnd { calls.answered(call) }
        if channel?.queuedBytes == 0 { calls.forgetAnswered() }
    }

    private func send(
        _ type: Int, flags: Int = 0, call: UInt32 = 0, payload: ArraySlice<UInt8> = [], isSecret: Bool = false
    ) {
        var frame = FrameBuilder(
            FrameHead(type, flags: flags, id: UInt32(truncatingIfNeeded: id), call: call),
            capacity: payload.count)
        frame.append(payload)
        channel?.send(frame.finish(), isSecret: isSecret)
    }

    /// Calls once the worker has taken what was queued for it.
    package var drained: (() -> Void)?

    /// Lets the worker go on after `responseBody` answered false.
    package func resume() { channel?.setReading(true) }

    /// The caller went away. The worker gets a moment to stop by itself, and is ended after that.
    package func cancel() {
        if phase == .ahead { reason = .cancelled }
        guard phase == .starting || phase == .running, reason == nil else { return }
        reason = .cancelled
        send(Int(WIRE_CANCEL))
        channel?.setReading(true)
        if let timer { loop.cancel(timer) }
        timer = loop.schedule(at: loop.now.adding(milliseconds: 250)) { [self] in stop(.cancelled) }
    }

    /// Ends the worker whole, whatever it does.
    private func stop(_ outcome: Outcome) {
        guard phase != .done, phase != .stopping else { return }
        phase = .stopping
        reason = outcome
        dispatcher.discard(lease.worker)
        channel?.detach()
        displaceFollowers()
        awaitExit()
    }

    // MARK: from the worker

    package func received(_ head: FrameHead, _ payload: RawSpan) {
        var offset = 0
        let type = Int(head.type)
        if type == Int(WIRE_READY), phase == .starting { return started(payload) }
        if type == Int(WIRE_FAILED), phase == .starting {
            reason = .failed(payload.text(in: 0..<payload.byteCount))
            return expectExit()
        }
        if type == Int(WIRE_LOG) {
            sink?.log(level: Int(head.call), text: payload.text(in: 0..<payload.byteCount))
            return
        }
        guard phase == .running, head.id == UInt32(truncatingIfNeeded: id) else {
            return stop(.protocolViolation("frame \(type) for invocation \(head.id) while it serves \(id)"))
        }
        switch type {
        case Int(WIRE_RESPONSE): response(head, payload, &offset)
        case Int(WIRE_DATA): data(head, payload, from: 0)
        case Int(WIRE_FINISHED): finished(payload, at: 0)
        case Int(WIRE_CALL): call(head, payload, &offset)
        case Int(WIRE_CALL_DATA): callData(head, payload)
        case Int(WIRE_CALL_CANCEL):
            calls.cancelled(head.call)
            sink?.cancelHostCall(head.call)
        default: stop(.protocolViolation("unknown frame type \(type)"))
        }
    }

    private func started(_ payload: RawSpan) {
        var offset = 8
        guard let confine = payload.u64(&offset), let load = payload.u64(&offset), let seal = payload.u64(&offset),
            let initialise = payload.u64(&offset)
        else { return stop(.protocolViolation("a READY frame of \(payload.byteCount) bytes")) }
        phase = .running
        lease.worker.noteReady()
        // Prepared ahead: its start is nobody's time.
        guard lease.isCold else { return }
        timings.load = load &+ seal &+ initialise
        // The frame may come with the answer only; it says when the worker was ready, and is not believed beyond now.
        offset = 56
        let ready = MonotonicTime(nanoseconds: payload.u64(&offset) ?? 0)
        let elapsed = min(ready, .now).since(startedAt)
        timings.spawn = elapsed > timings.load ? elapsed - timings.load : confine
    }

    private func response(_ head: FrameHead, _ payload: RawSpan, _ offset: inout Int) {
        guard status == 0, let code = payload.u32(&offset), (200...599).contains(code),
            let count = payload.u32(&offset),
            count <= WIRE_HEADERS_MAX
        else { return stop(.protocolViolation(status == 0 ? "a malformed answer" : "two answers to one invocation")) }
        let start = offset
        for _ in 0..<count {
            guard payload.field(&offset) != nil else {
                return stop(.protocolViolation("a header field that is cut"))
            }
        }
        status = Int(code)
        sink?.responseHead(
            status: status, fields: payload.extracting(start..<offset), isWhole: head.has(Int(WIRE_FLAG_FINISHED)),
            timings: timings)
        data(head, payload, from: offset)
    }

    private func data(_ head: FrameHead, _ payload: RawSpan, from start: Int) {
        let trailer = head.has(Int(WIRE_FLAG_FINISHED)) ? MemoryLayout<wire_finished>.size : 0
        let end = payload.byteCount - trailer
        guard status != 0, end >= start else {
            return stop(.protocolViolation("answer bytes before the answer's head"))
        }
        responseBytes += UInt64(end - start)
        guard responseBytes <= lease.worker.spec.limits.responseBytes else {
            return stop(.failed("the answer is larger than limits.response_mb allows"))
        }
        if end > start, sink?.responseBody(payload.extracting(start..<end)) == false { channel?.setReading(false) }
        if trailer > 0 { finished(payload, at: end) }
    }

    private func finished(_ payload: RawSpan, at start: Int) {
        var offset = start
        guard let code = payload.i32(&offset), payload.u32(&offset) != nil, let run = payload.u64(&offset),
            let cpu = payload.u64(&offset)
        else { return stop(.protocolViolation("a FINISHED frame that is cut")) }
        timings.run = run
        timings.cpu = lease.worker.noteCPU(told: cpu)
        let text = payload.text(in: offset..<payload.byteCount)
        let outcome: Outcome = reason ?? (code == 0 ? .success(status: status == 0 ? 200 : status) : .failed(text))
        if code == 0, reason == nil, status == 0 {
            sink?.responseHead(status: 200, fields: payload.extracting(0..<0), isWhole: true, timings: timings)
        }
        // From here on the channel may be another invocation's.
        let free = channel.take()
        free?.delegate = nil
        let isAwaited = dispatcher.isAwaited(lease.worker, afterRun: timings.run)
        if let next = follower.take() {
            next.takeTurn(on: free)
            if isAwaited, free?.isClear == true { dispatcher.sendAhead(behind: next, in: lease.worker, on: loop) }
            return finish(outcome)
        }
        if isAwaited {
            dispatcher.release(lease.worker, channel: free, on: loop)
            return finish(outcome)
        }
        finish(outcome)
        // Nobody waits for the worker, and somebody for the answer, which leaves when the batch ends.
        loop.afterBatch { [dispatcher, loop, worker = lease.worker] in
            dispatcher.release(worker, channel: free, on: loop)
        }
    }

    private func call(_ head: FrameHead, _ payload: RawSpan, _ offset: inout Int) {
        guard let size = payload.u32(&offset), let name = payload.text(size, &offset),
            calls.begin(head.call, name, payload.bytes(in: offset..<payload.byteCount))
        else { return stop(.protocolViolation("a malformed host call, or more at once than it reads answers of")) }
        completeCall(head)
    }

    private func callData(_ head: FrameHead, _ payload: RawSpan) {
        guard calls.append(payload, to: head.call) else {
            return stop(.protocolViolation("host call data without a call, or over 4 MiB"))
        }
        completeCall(head)
    }

    private func completeCall(_ head: FrameHead) {
        guard head.isEnd, let whole = calls.complete() else { return }
        sink?.hostCall(whole.number, name: whole.name, payload: whole.payload)
    }

    package func channelDrained() {
        calls.forgetAnswered()
        drained?()
    }

    package func channelEnded(_ end: ChannelEnd) {
        if case .violation(let text) = end {
            reason = .protocolViolation(text)
            dispatcher.discard(lease.worker)
        }
        expectExit()
        displaceFollowers()
        awaitExit()
    }

    /// The worker has nothing left to say. One that goes on living all the same is ended.
    private func expectExit() {
        phase = .stopping
        if let timer { loop.cancel(timer) }
        timer = loop.schedule(at: loop.now.adding(milliseconds: 250)) { [self] in
            if reason == nil { reason = .protocolViolation("it closed its channel and went on") }
            dispatcher.discard(lease.worker)
        }
    }

    /// Why a worker ended is known once its zygote has reaped it.
    private func awaitExit() {
        let own = LoopBound(self, on: loop)
        let remote = loop.remote
        let worker = lease.worker
        worker.whenExited { exit in
            remote.submit { _ in
                own.value.timings.cpu = worker.cpu(untold: exit)
                if exit.memoryPeak > 0 { own.value.timings.memoryPeak = exit.memoryPeak }
                let reason = own.value.reason.map(exit.explaining)
                own.value.finish(reason ?? exit.outcome(limits: worker.spec.limits))
            }
        }
    }

    private func finish(_ outcome: Outcome) {
        guard phase != .done else { return }
        phase = .done
        if let timer { loop.cancel(timer) }
        drained = nil
        let told = sink.take()
        told?.ended(outcome, timings: timings)
    }
}
