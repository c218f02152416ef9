// Does one thing of the Kit a path, so that a test can name it.
import SwiftletKit

actor Tally {
    private var sum = 0
    func add(_ value: Int) async -> Int {
        await Task.yield()
        sum += value
        return sum
    }
}

@MainActor func onMain() async -> String {
    await Task.yield()
    MainActor.assertIsolated()
    return "main"
}

struct Broken: Error {}

struct Probe: Handler {
    let greeting: String

    init(configuration: Configuration) throws {
        struct Settings: Decodable {
            let greeting: String?
            let nested: [Int]?
        }
        greeting = try configuration.decode(Settings.self).greeting ?? "hi"
    }

    func respond(to request: Request, context: Context) async throws -> Response {
        switch request.pathComponents.first ?? "" {
        case "": return Response(text: "\(greeting) \(request.query["name"] ?? "nobody")\n")
        case "request": return try describe(request, context)
        case "json": return try await sum(request)
        case "chunks": return try await chunks(request)
        case "kept": return try await kept(request)
        default: return try await tasks(request, context)
        }
    }

    private func describe(_ request: Request, _ context: Context) throws -> Response {
        context.log.warning("seen \(request.id)")
        print("printed")
        let remaining = context.deadline.map { ContinuousClock.now.duration(to: $0) > .seconds(9) } ?? false
        let facts = [
            request.method, request.path, request.pathComponents.joined(separator: "|"), request.tenant,
            request.function,
            request.headers["X-Test"] ?? "", request.query.dictionary["a b"] ?? "", "\(remaining)",
            "\(context.isCancelled)",
        ]
        return try Response(json: facts, status: 201, headers: ["X-Facts": "\(facts.count)"])
    }

    private func sum(_ request: Request) async throws -> Response {
        struct Numbers: Decodable { let numbers: [Int] }
        return try Response(json: ["sum": try await request.json(Numbers.self).numbers.reduce(0, +)])
    }

    private func chunks(_ request: Request) async throws -> Response {
        var sizes: [Int] = []
        for try await chunk in request.body { sizes.append(chunk.count) }
        return try Response(json: sizes)
    }

    /// Keeps a request's body beyond its invocation and reads it in the next one.
    private func kept(_ request: Request) async throws -> Response {
        let earlier = await Shelf.shared.swap(request.body)
        guard let earlier else { return Response(text: "kept\n") }
        do {
            return Response(text: try await earlier.text())
        } catch {
            return Response(text: "refused: \(error)\n")
        }
    }

    private func tasks(_ request: Request, _ context: Context) async throws -> Response {
        switch request.path {
        case "/concurrent":
            async let left = context.call("slow", json: Array("60".utf8))
            async let right = context.call("slow", json: Array("60".utf8))
            return Response(text: String(decoding: try await left + right, as: UTF8.self))
        case "/group":
            let tally = Tally()
            let last = await withTaskGroup(of: Int.self) { group in
                for value in 1...10 { group.addTask { await tally.add(value) } }
                return await group.reduce(0, max)
            }
            return Response(text: "\(last)")
        case "/sleep":
            let start = ContinuousClock.now
            async let short: Void = Task.sleep(for: .milliseconds(200))
            try await Task.sleep(for: .milliseconds(250))
            try await short
            try await Task.sleep(until: .now + .milliseconds(1), clock: .suspending)
            return Response(text: start.duration(to: .now) < .milliseconds(440) ? "overlapped" : "queued")
        case "/task":
            let plain = Task {
                for _ in 0..<10 { await Task.yield() }
                return "plain"
            }
            let detached = Task.detached { await onMain() }
            return Response(text: await plain.value + " " + detached.value)
        case "/left":
            Task {
                await Task.yield()
                context.log.info("left behind")
            }
            return Response(text: "answered")
        case "/timeout":
            let first = try await withThrowingTaskGroup(of: String.self) { group in
                group.addTask {
                    String(decoding: try await context.call("echo", json: Array("quick".utf8)), as: UTF8.self)
                }
                group.addTask {
                    try await Task.sleep(for: .seconds(30))
                    return "late"
                }
                defer { group.cancelAll() }
                return try await group.next() ?? ""
            }
            return Response(text: first)
        default: return try await endings(request, context)
        }
    }

    private func endings(_ request: Request, _ context: Context) async throws -> Response {
        switch request.path {
        case "/stuck":
            await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in }
            return Response(text: "never")
        case "/throw": throw Broken()
        case "/refuse": throw HTTPError(404, "no such thing")
        case "/status": return Response(text: "", status: 99)
        case "/fail": return Response(bytes: try await context.call("fail", json: []))
        case "/boom": return Response(bytes: try await context.call("boom", json: []))
        case "/drop":
            for try await _ in try context.callStream("model.chat", json: Array(#"{"stream":true}"#.utf8)) { break }
            return Response(text: "dropped")
        case "/never":
            do {
                return Response(bytes: try await context.call("never", json: []))
            } catch {
                context.log.info("tidied: \(error)")
                throw error
            }
        case "/stubborn":
            while true { await Task.yield() }
        case "/spin":
            while !context.isCancelled { await Task.yield() }
            return Response(text: "noticed")
        default: return try await models(request, context)
        }
    }

    private func models(_ request: Request, _ context: Context) async throws -> Response {
        let messages: [ChatMessage] = [.system("be brief"), .user("2+2?")]
        let model = context.model("smollm2")
        switch request.path {
        case "/chat":
            let reply = try await model.chat(messages, temperature: 0, maxTokens: 4)
            return Response(
                text: "\(reply.text) \(reply.finishReason ?? "-") \(reply.promptTokens)+\(reply.completionTokens)")
        case "/events":
            return .events { writer in
                for try await delta in try model.chatStream(messages) {
                    try await writer.event(data: delta.text, name: "token")
                }
            }
        case "/embed":
            let answer = try await context.model("minilm").embed(["one", "two"])
            return Response(text: "\(answer.vectors) \(answer.promptTokens)")
        case "/embed-one": return Response(text: "\(try await context.model("minilm").embed("one"))")
        case "/late":
            return .stream { _ in throw HTTPError(409, "before the first byte") }
        case "/torn":
            return .stream { writer in
                try await writer.write("half")
                throw Broken()
            }
        default: return Response(status: 404)
        }
    }
}

actor Shelf {
    static let shared = Shelf()
    private var body: RequestBody?

    func swap(_ new: RequestBody) -> RequestBody? {
        defer { body = new }
        return body
    }
}
