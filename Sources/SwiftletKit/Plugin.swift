// The C face of a Swift handler: the tables the worker reads, and one invocation from C to Swift and back.
@unsafe @preconcurrency internal import Glibc
internal import SwiftletABI

/// What the glue that `swiftlet build` generates talks to.
public enum Plugin {
    /// Changes with every change of a public type's shape. A plugin carries the number it was built with (it is emitted
    /// into the plugin), because Swift modules built without library evolution have no other way to notice.
    @_alwaysEmitIntoClient
    public static var revision: Int { 1 }

    /// Makes a handler type a plugin; the answer is what `swiftlet_plugin_entry` returns.
    public static func entry<H: Handler>(
        _ type: H.Type, name: String, version: String, revision: Int, hostABI: UInt32
    ) -> UnsafeRawPointer? {
        guard hostABI >= SWIFTLET_ABI_VERSION else { return nil }
        Executors.install()
        unsafe Registration.make = { configuration in
            guard revision == Plugin.revision else { throw RevisionMismatch(plugin: revision) }
            return try H(configuration: configuration)
        }
        return unsafe UnsafeRawPointer(describe(name: name, version: version))
    }

    /// The tables live as long as the process: nobody unloads a plugin.
    private static func describe(name: String, version: String) -> UnsafePointer<swiftlet_plugin> {
        let table = UnsafeMutablePointer<swiftlet_handler_v1>.allocate(capacity: 1)
        unsafe table.initialize(
            to: swiftlet_handler_v1(
                size: UInt32(MemoryLayout<swiftlet_handler_v1>.size), version: 1,
                init: { unsafe prepare(host: $0, config: $1, state: $2) },
                invoke: { unsafe serve(state: $0, invocation: $1, host: $2) },
                shutdown: { unsafe release($0) }))
        let plugin = UnsafeMutablePointer<swiftlet_plugin>.allocate(capacity: 1)
        unsafe plugin.initialize(
            to: swiftlet_plugin(
                size: UInt32(MemoryLayout<swiftlet_plugin>.size), abi: SWIFTLET_ABI_VERSION,
                kind: UInt32(SWIFTLET_KIND_HANDLER),
                reserved: 0, name: UnsafePointer(strdup(name)), version: UnsafePointer(strdup(version)),
                table: UnsafeRawPointer(table)))
        return unsafe UnsafePointer(plugin)
    }
}

/// How to make the handler that `entry` was given; one plugin a process.
private enum Registration {
    /// SAFETY: written by `entry` and read by `init`, both on the worker's thread.
    nonisolated(unsafe) static var make: ((Configuration) throws -> any Handler)?
}

/// What the C side carries as `state`.
private final class Box {
    let handler: any Handler
    init(_ handler: any Handler) { self.handler = handler }
}

private struct RevisionMismatch: Error, CustomStringConvertible {
    let plugin: Int
    var description: String {
        "the plugin was built with SwiftletKit revision \(plugin), this host has \(Plugin.revision): build it again with `swiftlet build`"
    }
}

private func prepare(
    host: UnsafePointer<swiftlet_host_v1>, config: swiftlet_bytes, state: UnsafeMutablePointer<UnsafeMutableRawPointer?>
) -> Int32 {
    // A line printed before a crash is worth more than a full buffer: standard output is a pipe here.
    unsafe setvbuf(stdout, nil, _IOLBF, 0)
    do {
        guard let make = unsafe Registration.make else { return Int32(SWIFTLET_INVALID) }
        let handler = try make(Configuration(json: unsafe [UInt8](config.buffer)))
        unsafe state.pointee = Unmanaged.passRetained(Box(handler)).toOpaque()
        return Int32(SWIFTLET_OK)
    } catch {
        unsafe Host(host).fail("init: \(describe(error))")
        return Int32(SWIFTLET_FAILED)
    }
}

private func release(_ state: UnsafeMutableRawPointer?) {
    guard let state = unsafe state else { return }
    unsafe Unmanaged<Box>.fromOpaque(state).release()
}

private func serve(
    state: UnsafeMutableRawPointer?, invocation: UnsafePointer<swiftlet_invocation_v1>,
    host: UnsafePointer<swiftlet_host_v1>
) -> Int32 {
    guard let state = unsafe state else { return Int32(SWIFTLET_INVALID) }
    let handler = unsafe Unmanaged<Box>.fromOpaque(state).takeUnretainedValue().handler
    return unsafe answer(invocation.pointee, with: handler, through: Host(host))
}

/// One invocation: start the handler's task, turn the loop, say how it ended.
func answer(_ lent: swiftlet_invocation_v1, with handler: any Handler, through host: Host) -> Int32 {
    let invocation = unsafe Invocation(host: host, deadline: lent.deadline_ns)
    let body = unsafe BodySource(lent: lent.body.buffer, isComplete: lent.body_complete != 0, invocation: invocation)
    let request = unsafe Request(lent, body: body)
    invocation.task = Task { invocation.finish(await outcome(of: handler, request, invocation)) }
    let ending = RunLoop.shared.run(invocation)
    let status = report(ending, invocation)
    body.close()
    invocation.close()
    // After the close, because it ends the calls that work left behind may still wait for.
    RunLoop.shared.runAfterwork()
    RunLoop.shared.shedTimers()
    return status
}

private func outcome(of handler: any Handler, _ request: Request, _ invocation: Invocation) async -> Result<
    Void, any Error
> {
    do {
        try await deliver(
            try await handler.respond(to: request, context: Context(invocation: invocation)), to: invocation)
    } catch let refusal as HTTPError where !invocation.hasResponded {
        do { try await deliver(refusal.response(), to: invocation) } catch { return .failure(error) }
    } catch {
        return .failure(error)
    }
    return .success(())
}

private func deliver(_ response: Response, to invocation: Invocation) async throws {
    invocation.prepareHead(response.status, response.headers)
    switch response.body {
    case .text(let text): if !text.isEmpty { try invocation.write(text) }
    case .bytes(let bytes): if !bytes.isEmpty { try unsafe bytes.withUnsafeBytes { try unsafe invocation.write($0) } }
    case .stream(let write): try await write(ResponseWriter(invocation: invocation))
    }
    try invocation.sendHead()
}

private func report(_ ending: RunLoop.Ending, _ invocation: Invocation) -> Int32 {
    if case .success = invocation.result { return Int32(SWIFTLET_OK) }
    if invocation.isCancelled { return Int32(invocation.isBroken ? SWIFTLET_BROKEN : SWIFTLET_CANCELLED) }
    switch invocation.result {
    case .failure(let error): invocation.host.fail("respond: \(describe(error))")
    default:
        invocation.host.fail(
            "respond: the handler waits for something that can never come: no host call is open, no timer is set, no task "
                + "can run; look for a continuation that nobody resumes or a stream that nobody finishes")
    }
    return Int32(SWIFTLET_FAILED)
}

extension Request {
    fileprivate init(_ lent: swiftlet_invocation_v1, body: BodySource) {
        unsafe self.init(
            id: lent.request_id.text, tenant: lent.tenant.text, function: lent.function.text, method: lent.method.text,
            path: lent.path.text, query: Query(lent.query.text),
            headers: Headers(
                UnsafeBufferPointer(start: lent.headers, count: lent.header_count).map {
                    unsafe Headers.Field($0.name.text, $0.value.text)
                }), body: RequestBody(source: body))
    }
}
