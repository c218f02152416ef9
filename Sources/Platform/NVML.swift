// What NVIDIA's driver says about memory on its devices; the library is the driver's, and may be absent.
internal import CNVML

/// Why the driver can't be asked.
package enum NVMLError: Error, Equatable, CustomStringConvertible {
    /// The library is not on this machine, or too old.
    case absent(String)
    /// The driver said no.
    case failed(String)

    package var description: String {
        switch self {
        case .absent(let words), .failed(let words): words
        }
    }
}

/// An open door to the driver. Calls block: keep it off the loops.
// SAFETY of the door: made with this value, closed with it, and only the C door looks into it.
@safe package struct NVML: ~Copyable {
    package static let library = CNVML_LIBRARY
    private static let roomForWords = 512
    /// More than a device ever has at once.
    private static let mostProcesses: UInt32 = 1024

    package struct Use: Equatable, Sendable {
        /// In the machine's first pid namespace.
        package var pid: Int32
        package var bytes: UInt64

        package init(pid: Int32, bytes: UInt64) {
            self.pid = pid
            self.bytes = bytes
        }
    }

    private let door: OpaquePointer

    /// - Parameter library: another file in its place, for tests.
    package init(library: String = Self.library) throws(NVMLError) {
        var door: OpaquePointer?
        try unsafe Self.ask { why, room in unsafe cnvml_open(library, &door, why, room) }
        guard let door = unsafe door else { throw .failed("it gave nothing") }
        unsafe self.door = door
    }

    deinit { unsafe cnvml_close(door) }

    /// Bytes of the device whose node is /dev/nvidia`minor`.
    package func memory(ofDevice minor: Int) throws(NVMLError) -> (total: UInt64, used: UInt64) {
        var (total, used): (UInt64, UInt64) = (0, 0)
        let door = unsafe door
        try unsafe Self.ask { why, room in
            unsafe cnvml_memory(door, UInt32(minor), &total, &used, why, room)
        }
        return (total, used)
    }

    /// What each process holds of it.
    package func uses(ofDevice minor: Int) throws(NVMLError) -> [Use] {
        var uses = [cnvml_use](repeating: cnvml_use(), count: Int(Self.mostProcesses))
        var count = Self.mostProcesses
        let door = unsafe door
        try unsafe Self.ask { why, room in
            unsafe cnvml_processes(door, UInt32(minor), &uses, &count, why, room)
        }
        return uses.prefix(Int(count)).map { Use(pid: Int32(bitPattern: $0.pid), bytes: $0.bytes) }
    }

    private static func ask(_ call: (_ why: UnsafeMutablePointer<CChar>, _ room: Int) -> CInt) throws(NVMLError) {
        var why = [CChar](repeating: 0, count: roomForWords)
        let status = unsafe why.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return CInt(CNVML_FAILED) }
            return unsafe call(base, buffer.count)
        }
        guard status != 0 else { return }
        let words = String(decoding: why.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        throw status == CInt(CNVML_ABSENT) ? .absent(words) : .failed(words)
    }
}
