// Touches what a first invocation touches, so that a zygote's children find it done; keeps nothing.
internal import SwiftletABI

/// Replaces the executors and serves a few rehearsal invocations. Leaves one thread, no open file, no state.
@c(swiftlet_kit_warm_up)
public func warmUp() {
    Executors.install()
    var host = rehearsalHost
    let body = Array(#"{"question":"What is warm?","numbers":[1,2.5,-3]}"#.utf8)
    unsafe withUnsafePointer(to: &host) { host in
        unsafe body.withUnsafeBytes { body in
            for _ in 0..<3 {
                var invocation = unsafe swiftlet_invocation_v1()
                unsafe invocation.size = UInt32(MemoryLayout<swiftlet_invocation_v1>.size)
                unsafe invocation.version = 1
                unsafe invocation.body = swiftlet_bytes(body)
                unsafe invocation.body_complete = 1
                _ = unsafe answer(invocation, with: Rehearsal(), through: Host(host))
            }
        }
    }
}

/// Does a little of everything a handler does.
private struct Rehearsal: Handler {
    struct Question: Codable {
        let question: String
        let numbers: [Double]
    }

    actor Counter {
        var count = 0
        func add() async -> Int {
            await Task.yield()
            count += 1
            return count
        }
    }

    func respond(to request: Request, context: Context) async throws -> Response {
        let question: Question = try await request.json()
        let counter = Counter()
        async let first = counter.add()
        let sum = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<2 { group.addTask { await counter.add() } }
            return await group.reduce(0, +)
        }
        _ = await first
        try await Task.sleep(for: .nanoseconds(1))
        for try await delta in try context.model("rehearsal").chatStream([.user(question.question)]) {
            context.log.debug("\(delta.text.uppercased()) \(sum) \(request.query["a"] ?? "") \(request.pathComponents)")
        }
        return try Response(json: question)
    }
}

/// A host with nobody behind it: it takes every answer and completes every call at once.
private var rehearsalHost: swiftlet_host_v1 {
    unsafe swiftlet_host_v1(
        size: UInt32(MemoryLayout<swiftlet_host_v1>.size), version: 1,
        log: { _, _ in }, fail: { _ in },
        read_body: { _, _, got in
            unsafe got.pointee = 0
            return Int32(SWIFTLET_OK)
        },
        respond: { _, _, _ in Int32(SWIFTLET_OK) }, write: { _ in Int32(SWIFTLET_OK) }, flush: { Int32(SWIFTLET_OK) },
        call: { _, _, number in
            unsafe number.pointee = 1
            return Int32(SWIFTLET_OK)
        },
        next: { _, event in
            let chunk: StaticString = #"{"choices":[{"delta":{"content":"warm"},"finish_reason":"stop"}]}"#
            unsafe event.pointee.kind = UInt32(SWIFTLET_EVENT_DONE)
            unsafe event.pointee.call = 1
            unsafe event.pointee.data = swiftlet_bytes(data: chunk.utf8Start, size: chunk.utf8CodeUnitCount)
            return Int32(SWIFTLET_OK)
        },
        cancel: { _ in Int32(SWIFTLET_OK) })
}
