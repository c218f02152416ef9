// One call of a function: an HTTP exchange on one side, an invocation in a worker on the other. Loop-confined.
internal import Core
internal import HTTP
internal import Ledger
internal import Platform
internal import Scheduler
internal import Workers

final class FunctionCall: InvocationSink {
    /// Bodies up to this size are taken in before a worker is leased, so that a slow sender holds none.
    private static let smallBody: UInt64 = 32_768

    /// A body that fits into one frame of a worker's channel, whatever the head.
    private static let oneFrame = 4096

    private let exchange: HTTPExchange
    private let gateway: Gateway
    private let deployment: Deployment
    private let spec: WorkerSpec
    private let number: UInt64
    private let requestID: String
    private let path: String
    private let askedAt = MonotonicTime.now
    private var run: InvocationRun?
    private var clientGone = false
    /// A worker was asked for.
    private var isAcquiring = false
    private var received: UInt64 = 0
    /// A head and its first bytes, held until the batch ends: a small answer then goes out whole, in one write.
    private var held: (status: Int, headers: HTTPHeaders, body: [UInt8])?
    private var isCold = false
    /// While it is in a worker ahead of its turn.
    private var goAgain: (() -> Void)?
    private var openCalls: [UInt32: () -> Void] = [:]
    /// Nanoseconds inside calls of models; calls that overlap count each.
    private var modelTime: UInt64 = 0
    /// Set where its CPU time is bounded.
    private var meter: CPUMeter?
    /// Of the answer; 0: it has none yet.
    private var status = 0
    private var bytesOut: UInt64 = 0
    /// Why it was refused while it ran already.
    private var refusal: RuntimeError?
    private var isRecorded = false
    private lazy var origin = gateway.origin(of: exchange)

    init(
        _ exchange: HTTPExchange, gateway: Gateway, deployment: Deployment, spec: WorkerSpec, path: String,
        number: UInt64, requestID: String
    ) {
        self.exchange = exchange
        self.gateway = gateway
        self.deployment = deployment
        self.spec = spec
        self.path = path
        self.number = number
        self.requestID = requestID
    }

    func begin() {
        // The exchange lets go of what it calls when it is over.
        exchange.onClose = { [self] in callerLeft() }
        let limit = bodyLimit
        if let length = exchange.request.contentLength {
            if length > limit { return refuse(tooLarge()) }
            if length == 0 { return acquire(body: [], complete: true) }
            if length <= Self.smallBody {
                return exchange.collectBody(limit: Int(length)) { [self] result in
                    guard case .success(let body) = result else { return }
                    received = UInt64(body.count)
                    acquire(body: body, complete: true)
                }
            }
        }
        acquire(body: [], complete: false)
    }

    /// The tighter of what the function takes and what its caller may send.
    private var bodyLimit: UInt64 {
        min(deployment.manifest.limits.bodyBytes, exchange.caller.limits?.body?.most ?? .max)
    }

    private func acquire(body: [UInt8], complete: Bool, again: Bool = false) {
        isAcquiring = true
        let own = LoopBound(self, on: gateway.loop)
        let full = again ? nil : exchange.caller.enterQueue()
        gateway.shared.dispatcher.acquire(
            spec, idleMilliseconds: UInt64(deployment.manifest.idleTimeoutMilliseconds),
            mayGoAhead: complete && body.count <= Self.oneFrame, mayWait: full == nil, again: again, on: gateway.loop
        ) { _, result, place in
            let call = own.value
            if let full, case .failure(let error) = result, error.code == .queueFull {
                call.gateway.shared.limits.count(full)
                return call.refuse(Gateway.queueIsFull(full, call.deployment.key))
            }
            call.leased(result, place, body: body, complete: complete)
        }
    }

    private func leased(_ result: Result<Lease, RuntimeError>, _ place: Place, body: [UInt8], complete: Bool) {
        exchange.caller.leaveQueue()
        switch result {
        case .failure(let error):
            if let hit = error.limit { gateway.shared.limits.count(hit) }
            refuse(error)
        case .success(let lease):
            isCold = lease.isCold
            if clientGone {
                exchange.caller.leave()
                record("cancelled", status: 0)
                let channel: WorkerChannel?
                switch place {
                case .behind: return
                case .open(let open): channel = open
                case .first: channel = nil
                }
                // Later, because the next one in the queue may have left too: a long queue must not become a deep stack.
                return gateway.loop.afterBatch { [gateway] in
                    gateway.shared.dispatcher.release(lease.worker, channel: channel, on: gateway.loop)
                }
            }
            start(in: lease, place, body: body, complete: complete)
        }
    }

    private func start(in lease: Lease, _ place: Place, body: [UInt8], complete: Bool) {
        let request = exchange.request
        var fields = FieldBlock(capacity: 512)
        let caller = exchange.caller.principal
        request.headers.forEachField { name, value in
            if !Self.isBetweenUs(name, caller) { fields.append(name: name, value: value) }
        }
        let name = "x-swiftlet-principal"
        unsafe fields.append(name: name.utf8Span.span.bytes, value: caller.id.utf8Span.span.bytes)
        let invocation = InvocationRequest(
            id: number, requestID: requestID, function: spec.key, method: request.method, path: path,
            query: request.query, fields: fields, body: body, bodyComplete: complete)
        let run = InvocationRun(
            invocation, lease: lease, place: place, dispatcher: gateway.shared.dispatcher, loop: gateway.loop,
            buffer: gateway.packets,
            queued: MonotonicTime.now.since(askedAt), sink: self)
        if case .behind = place { goAgain = { [unowned self] in acquire(body: body, complete: true, again: true) } }
        self.run = run
        if exchange.caller.limits?.boundsCPU == true { meter = CPUMeter(lease.worker, place, isCold: lease.isCold) }
        guard !complete else { return }
        run.drained = { [exchange] in exchange.resumeBody() }
        exchange.onBody = { [self] bytes, isEnd in forward(bytes, isEnd: isEnd) }
    }

    private func forward(_ bytes: RawSpan, isEnd: Bool) {
        received += UInt64(bytes.byteCount)
        guard received <= bodyLimit else {
            let error = tooLarge()
            refusal = error
            gateway.answer(exchange, error, requestID: requestID)
            run?.cancel()
            return
        }
        if run?.sendBody(bytes.bytes(in: 0..<bytes.byteCount)[...], isEnd: isEnd) == false { exchange.pauseBody() }
    }

    private func callerLeft() {
        clientGone = true
        run?.cancel()
        // Nobody asks for a worker before the body is there. Later, who waits is counted out when its turn comes, and who runs
        // when its worker is done.
        guard !isAcquiring else { return }
        exchange.caller.leave()
        record("cancelled", status: 0)
    }

    private func refuse(_ error: RuntimeError) {
        // While it runs in a worker it is counted.
        if run == nil { exchange.caller.leave() }
        record(clientGone ? "cancelled" : UsageRow.refused, status: clientGone ? 0 : error.httpStatus)
        gateway.answer(exchange, error, requestID: requestID)
    }

    private func tooLarge() -> RuntimeError {
        if let body = exchange.caller.limits?.body, body.most < deployment.manifest.limits.bodyBytes {
            let hit = LimitHit(body.level, .body)
            gateway.shared.limits.count(hit)
            return Gateway.tooLarge(hit, body.most)
        }
        return RuntimeError(
            .payloadTooLarge, step: "read the body for \(deployment.key)",
            cause: "it is larger than \(deployment.manifest.limits.bodyBytes) bytes",
            next: "send less, or raise limits.body_mb in the manifest")
    }

    // MARK: the worker's side

    func responseHead(status: Int, fields: RawSpan, isWhole: Bool, timings: InvocationTimings) {
        self.status = status
        var headers = HTTPHeaders()
        headers.reserve(fields: 10, bytes: 384)
        var offset = 0
        while let field = fields.field(&offset) {
            let name = fields.extracting(field.name)
            if Self.isOurs(name) || headers.append(name, fields.extracting(field.value)) { continue }
            log(
                level: 2,
                text: "header field \(fields.text(in: field.name)) was refused: it holds characters that HTTP forbids")
        }
        _ = unsafe headers.append(known: "x-request-id", requestID.utf8Span.span.bytes)
        held = (status, headers, [])
        // The end of a whole answer sends it, and the end is next.
        if !isWhole { gateway.loop.afterBatch { [self] in sendHeld(timings) } }
    }

    func responseBody(_ bytes: RawSpan) -> Bool {
        bytesOut += UInt64(bytes.byteCount)
        if held?.body.append(bytes) != nil { return true }
        let hasRoom = exchange.write(bytes)
        if !hasRoom { exchange.onDrain = { [self] in run?.resume() } }
        return hasRoom || clientGone
    }

    private func sendHeld(_ timings: InvocationTimings) {
        guard var head = held.take() else { return }
        ServerTiming(timings, isCold: isCold).append(to: &head.headers)
        exchange.start(status: head.status, headers: head.headers)
        if !head.body.isEmpty { exchange.write(head.body) }
    }

    func log(level: Int, text: String) {
        gateway.shared.log.append(deployment.key, level: level, requestID: requestID, text: text)
    }

    func hostCall(_ call: UInt32, name: String, payload: [UInt8]) {
        var isOver = false
        let calledAt = MonotonicTime.now
        let isModel = name.hasPrefix("model.")
        let isSecret = name == "secret.get"
        let giveUp = gateway.hostCall(name, payload: payload, caller: deployment, origin: origin) {
            [weak self] bytes, isEnd, isError in
            isOver = isOver || isEnd
            if isEnd {
                self?.openCalls[call] = nil
                if isModel { self?.modelTime += MonotonicTime.now.since(calledAt) }
            }
            self?.run?.reply(call, bytes[...], isEnd: isEnd, isError: isError, isSecret: isSecret)
        }
        if !isOver { openCalls[call] = giveUp }
    }

    func cancelHostCall(_ call: UInt32) { openCalls.removeValue(forKey: call)?() }

    func displaced() {
        run = nil
        goAgain?()
    }

    func ended(_ outcome: Outcome, timings: InvocationTimings) {
        let now = WallClock.milliseconds
        if let meter { exchange.caller.limits?.useCPU(meter.used(), now: now) }
        // Before the answer: whoever has read it finds the place free.
        leave(outcome, now)
        if !openCalls.isEmpty {
            for giveUp in openCalls.values { giveUp() }
            openCalls = [:]
        }
        // Before the answer leaves: a host that is killed then knows of the call.
        if let refusal {
            record(UsageRow.refused, status: refusal.httpStatus, timings, now: now)
        } else {
            let told = outcome.error.map { exchange.hasStarted ? status : $0.httpStatus } ?? status
            record(outcome.name, status: clientGone && !exchange.hasStarted ? 0 : told, timings, now: now)
        }
        if let error = outcome.error, !clientGone {
            log(level: 3, text: error.description)
            if exchange.hasStarted { exchange.abort() } else { gateway.answer(exchange, error, requestID: requestID) }
        } else if var head = held.take() {
            var timing = ServerTiming(timings, isCold: isCold)
            timing.add("run", timings.run)
            if modelTime > 0 { timing.add("model", modelTime) }
            timing.addTotal(exchange)
            timing.append(to: &head.headers)
            exchange.adornNow(&head.headers)
            exchange.respond(status: head.status, headers: head.headers, body: head.body)
        } else {
            exchange.finish()
        }
        held = nil
    }

    /// Counts it out. An answer that goes out whole is counted with it: its limits are locked once, not twice.
    private func leave(_ outcome: Outcome, _ now: Int64) {
        guard exchange.onSent != nil, let held, outcome.error == nil, !clientGone else {
            return exchange.caller.leave()
        }
        exchange.onSent = nil
        exchange.caller.leave(sending: UInt64(held.body.count), now: now)
    }

    /// The call is over: the ledger hears of it here, and /metrics from the ledger.
    private func record(
        _ outcome: String, status: Int, _ timings: InvocationTimings? = nil, now: Int64 = WallClock.milliseconds
    ) {
        guard !isRecorded else { return }
        isRecorded = true
        var row = UsageRow()
        row.time = now
        row.requestID = requestID
        row.tenant = deployment.tenant
        row.principal = exchange.caller.principal.id
        row.name = deployment.name
        row.version = deployment.manifest.version
        row.route = "fn"
        row.outcome = outcome
        row.status = status
        row.isCold = isCold
        row.queuedNanoseconds = timings?.queue ?? MonotonicTime.now.since(askedAt)
        row.runNanoseconds = timings?.run ?? 0
        row.cpuNanoseconds = timings?.cpu
        row.memoryPeakBytes = timings?.memoryPeak
        row.bytesIn = received
        row.bytesOut = bytesOut
        gateway.shared.usage.record(row, from: gateway.loop.index)
    }

    /// What a caller shows the host is not the handler's: it could call others with it. And nobody else says who called.
    private static func isBetweenUs(_ name: RawSpan, _ caller: Principal) -> Bool {
        switch name.byteCount {
        case 9: name.holds("x-api-key") && caller.hasCredential
        case 13: name.holds("authorization") && caller.hasCredential
        case 17: name.holds("x-swiftlet-tenant")
        case 20: name.holds("x-swiftlet-principal")
        default: false
        }
    }

    private static func isOurs(_ name: RawSpan) -> Bool {
        switch name.byteCount {
        case 4: name.holds("date")
        case 7: name.holds("upgrade")
        case 10: name.holds("connection") || name.holds("keep-alive")
        case 12: name.holds("x-request-id")
        case 13: name.holds("server-timing")
        case 14: name.holds("content-length")
        case 17: name.holds("transfer-encoding")
        default: false
        }
    }
}
