// The frame that brings an invocation to its worker.
internal import Core
internal import Platform
internal import SwiftletWire
internal import Workers

extension InvocationRequest {
    /// - Parameter limitMilliseconds: for one that is sent ahead of its turn, whose time begins with it; else 0.
    /// - Returns: the packet, and what of the body is to follow; nil: nothing, the packet says that it ends.
    func invokeFrame(deadline: MonotonicTime, limitMilliseconds: UInt32) -> (packet: [UInt8], rest: ArraySlice<UInt8>?)
    {
        func size(_ text: String) -> UInt32 { UInt32(text.utf8.count) }
        let invoke = wire_invoke(
            id: id, deadline_ns: deadline.nanoseconds, method_size: size(method), path_size: size(path),
            query_size: size(query), tenant_size: size(function.tenant), function_size: size(function.name),
            request_id_size: size(requestID), header_count: fields.count, limit_ms: limitMilliseconds)
        var frame = FrameBuilder(FrameHead(Int(WIRE_INVOKE), id: UInt32(truncatingIfNeeded: id)), capacity: 512)
        frame.append(invoke)
        frame.append(method)
        frame.append(path)
        frame.append(query)
        frame.append(function.tenant)
        frame.append(function.name)
        frame.append(requestID)
        frame.append(fields.bytes)
        let room = Int(WIRE_FRAME_MAX) - Int(WIRE_HEAD_SIZE) - frame.payloadSize
        let first = min(body.count, room)
        frame.append(body[..<first])
        var packet = frame.finish()
        guard bodyComplete, first == body.count else { return (packet, body[first...]) }
        packet[2] |= UInt8(WIRE_FLAG_END)
        return (packet, nil)
    }
}
