// Bytes that nobody may find later: wiped when their last owner lets go.
internal import CSeal
internal import Platform

/// Fixed once made. Its memory is overwritten before it is given back.
// SAFETY: `room` is written in `init` only, lives as long as the object, and every access is bounded by its count.
@safe package final class SecretBytes: @unchecked Sendable {
    private let room: UnsafeMutableRawBufferPointer

    package var count: Int { unsafe room.count }

    /// - Parameter fill: writes all of it; nil comes of `init` when it answers false.
    package init?(count: Int, fill: (UnsafeMutablePointer<UInt8>) -> Bool) {
        // One byte at least, so that there is an address.
        let whole = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, count), alignment: 16)
        unsafe whole.initializeMemory(as: UInt8.self, repeating: 0)
        unsafe room = UnsafeMutableRawBufferPointer(rebasing: whole[..<count])
        guard let base = whole.baseAddress, unsafe fill(base.assumingMemoryBound(to: UInt8.self)) else {
            return nil
        }
    }

    /// Takes the bytes over and wipes the array that held them.
    package convenience init(taking bytes: inout [UInt8]) {
        unsafe self.init(copying: bytes.span.bytes)
        wipe(&bytes)
    }

    package init(copying bytes: RawSpan) {
        unsafe room = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.byteCount, alignment: 16)
        unsafe bytes.withUnsafeBytes { unsafe room.copyMemory(from: $0) }
    }

    /// What nobody can guess.
    package static func random(_ count: Int) -> SecretBytes {
        guard let made = unsafe SecretBytes(count: count, fill: { unsafe cseal_random($0, count) == 1 }) else {
            // Without randomness there is no secret, and no way to go on.
            fatalError("OpenSSL has no random bytes")
        }
        return made
    }

    deinit {
        unsafe cseal_wipe(room.baseAddress, room.count)
        unsafe room.deallocate()
    }

    package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        unsafe body(UnsafeRawBufferPointer(room))
    }

    /// A copy that is the caller's to wipe.
    package var copy: [UInt8] { unsafe Array(room) }
}

/// Gathers a secret that arrives in pieces, in one place that is wiped.
// SAFETY: `room` lives as long as the object, and `append` never goes beyond it.
@safe package final class SecretGatherer {
    private let room: UnsafeMutableRawBufferPointer
    private var count = 0

    /// - Parameter limit: more bytes than this are refused.
    package init(limit: Int) { unsafe room = UnsafeMutableRawBufferPointer.allocate(byteCount: limit, alignment: 16) }

    deinit {
        unsafe cseal_wipe(room.baseAddress, room.count)
        unsafe room.deallocate()
    }

    /// False: it would be too much, and nothing was taken.
    package func append(_ bytes: RawSpan) -> Bool {
        guard unsafe bytes.byteCount <= room.count - count else { return false }
        unsafe bytes.withUnsafeBytes { piece in
            unsafe UnsafeMutableRawBufferPointer(rebasing: room[count...]).copyMemory(from: piece)
        }
        count += bytes.byteCount
        return true
    }

    package var gathered: SecretBytes {
        unsafe SecretBytes(copying: UnsafeRawBufferPointer(rebasing: room[..<count]).bytes)
    }
}
