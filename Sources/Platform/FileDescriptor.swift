// Owns open descriptors, so that the compiler and not a convention closes each exactly once.
internal import CLinux
internal import Glibc

/// One open descriptor.
package struct FileDescriptor: ~Copyable, Sendable {
    package let raw: CInt

    /// Takes over a descriptor that somebody else opened.
    package init(owning raw: CInt) { self.raw = raw }

    /// Hands the descriptor to someone else; this value no longer closes it.
    package consuming func release() -> CInt {
        let raw = self.raw
        discard self
        return raw
    }

    deinit { _ = Glibc.close(raw) }

    /// Opens a file. `flags` are the O_ flags; O_CLOEXEC is always added.
    package static func open(_ path: String, flags: CInt, mode: UInt32 = 0o600) throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try libc("open(\(path))") { unsafe Glibc.open(path, flags | O_CLOEXEC, mode) })
    }
}

/// The two ends of a SOCK_SEQPACKET channel: ours does not block and lives in a loop, theirs goes to a worker.
package struct ChannelPair: ~Copyable {
    package let theirs: FileDescriptor
    private var ours: FileDescriptor?

    package init() throws(SystemError) {
        var pair: (CInt, CInt) = (-1, -1)
        try check(unsafe clinux_channel(&pair.0, &pair.1), "socketpair")
        ours = FileDescriptor(owning: pair.0)
        theirs = FileDescriptor(owning: pair.1)
    }

    /// Hands over our end; their end closes with this value. A second call is a mistake and traps.
    package mutating func takeOurs() -> FileDescriptor {
        guard let taken = ours.take() else { preconditionFailure("our end of the channel was taken twice") }
        return taken
    }
}
