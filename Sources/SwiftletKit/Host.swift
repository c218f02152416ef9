// The one door from Swift to the host's C table: every pointer into it is made here; next: Invocation.swift.
internal import SwiftletABI

/// SAFETY: `@unchecked` because the table is static for the life of the process and a worker calls it on one thread.
@safe struct Host: @unchecked Sendable {
    private let table: UnsafePointer<swiftlet_host_v1>

    init(_ table: UnsafePointer<swiftlet_host_v1>) { unsafe self.table = table }

    enum Level: Int32 { case debug, info, warning, error }

    func log(_ level: Level, _ line: String) {
        unsafe withBytes(of: line) { unsafe table.pointee.log(level.rawValue, $0) }
    }

    /// Gives the words for the failure that is about to be returned.
    func fail(_ text: String) { unsafe withBytes(of: text) { unsafe table.pointee.fail($0) } }

    func readBody(upTo capacity: Int) throws(HostFailure) -> [UInt8] {
        var status = Int32(SWIFTLET_OK)
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            guard let base = buffer.baseAddress else { return }
            unsafe status = table.pointee.read_body(base, capacity, &count)
            if status != SWIFTLET_OK { count = 0 }
        }
        try check("read_body", status)
        return bytes
    }

    /// Starts the answer. One buffer holds all names and values, so that the C views into it stay still.
    func respond(_ status: Int, _ fields: [Headers.Field]) throws(HostFailure) {
        var text: [UInt8] = []
        for field in fields {
            text.append(contentsOf: field.name.utf8)
            text.append(contentsOf: field.value.utf8)
        }
        let status = Int32(clamping: status)
        let result = unsafe text.withUnsafeBytes { all -> Int32 in
            var views: [swiftlet_header] = unsafe []
            unsafe views.reserveCapacity(fields.count)
            var at = 0
            for field in fields {
                let name = unsafe swiftlet_bytes(slice(all, &at, field.name.utf8.count))
                let value = unsafe swiftlet_bytes(slice(all, &at, field.value.utf8.count))
                unsafe views.append(swiftlet_header(name: name, value: value))
            }
            return unsafe table.pointee.respond(status, views, views.count)
        }
        try check("respond", result)
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws(HostFailure) {
        try check("write", unsafe table.pointee.write(swiftlet_bytes(bytes)))
    }

    func write(_ text: String) throws(HostFailure) {
        try check("write", unsafe withBytes(of: text) { unsafe table.pointee.write($0) })
    }

    func flush() throws(HostFailure) { try check("flush", unsafe table.pointee.flush()) }

    func call(_ name: String, _ payload: [UInt8]) throws(HostFailure) -> UInt32 {
        var number: UInt32 = 0
        let status = unsafe withBytes(of: name) { name in
            unsafe payload.withUnsafeBytes { unsafe table.pointee.call(name, swiftlet_bytes($0), &number) }
        }
        try check("call", status)
        return number
    }

    func cancel(_ call: UInt32) { _ = unsafe table.pointee.cancel(call) }

    enum Event {
        case data(UInt32, [UInt8])
        case done(UInt32, [UInt8])
        case failed(UInt32, [UInt8])
        case nothing
    }

    /// Waits for an event of any open call; its bytes are copied because the next host function frees them.
    func next(timeout: UInt64) throws(HostFailure) -> Event {
        var event = unsafe swiftlet_event_v1()
        unsafe event.size = UInt32(MemoryLayout<swiftlet_event_v1>.size)
        unsafe event.version = 1
        let status = unsafe table.pointee.next(timeout, &event)
        if status == SWIFTLET_TIMEOUT { return .nothing }
        try check("next", status)
        let bytes = unsafe [UInt8](UnsafeRawBufferPointer(start: event.data.data, count: event.data.size))
        switch unsafe event.kind {
        case UInt32(SWIFTLET_EVENT_DATA): return unsafe .data(event.call, bytes)
        case UInt32(SWIFTLET_EVENT_DONE): return unsafe .done(event.call, bytes)
        case UInt32(SWIFTLET_EVENT_FAILED): return unsafe .failed(event.call, bytes)
        default: return .nothing
        }
    }

    private func check(_ step: StaticString, _ status: Int32) throws(HostFailure) {
        if status != SWIFTLET_OK { throw HostFailure(step: step, status: status) }
    }
}

/// A host function said no.
struct HostFailure: Error, CustomStringConvertible {
    let step: StaticString
    let status: Int32

    var isCancelled: Bool { status == SWIFTLET_CANCELLED }
    var isBroken: Bool { status == SWIFTLET_BROKEN }

    var description: String {
        switch status {
        case Int32(SWIFTLET_INVALID):
            "\(step): refused as invalid: check that the status is 200 to 599, header fields are legal, and the answer starts once"
        case Int32(SWIFTLET_LIMIT): "\(step): a limit of this invocation is reached: wait for open calls or send less"
        case Int32(SWIFTLET_UNSUPPORTED): "\(step): this host does not offer it"
        case Int32(SWIFTLET_BROKEN): "\(step): the channel to the host broke"
        case Int32(SWIFTLET_CANCELLED): "\(step): the caller went away or the deadline passed"
        default: "\(step): the host answered \(status)"
        }
    }
}

extension swiftlet_bytes {
    init(_ bytes: UnsafeRawBufferPointer) { unsafe self.init(data: bytes.baseAddress, size: bytes.count) }

    var buffer: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: data, count: size) }
    var text: String { unsafe String(decoding: buffer, as: UTF8.self) }
}

private func slice(_ all: UnsafeRawBufferPointer, _ at: inout Int, _ count: Int) -> UnsafeRawBufferPointer {
    defer { at += count }
    return unsafe UnsafeRawBufferPointer(rebasing: all[at..<at + count])
}

private func withBytes<Result>(of text: String, _ body: (swiftlet_bytes) -> Result) -> Result {
    var text = text
    return text.withUTF8 { unsafe body(swiftlet_bytes(UnsafeRawBufferPointer($0))) }
}
