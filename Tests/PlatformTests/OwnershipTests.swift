// Descriptors are closed once, by whoever owns them; errors name the call; text becomes JSON that can be read.
import Glibc
import Platform
import TestSupport
import Testing

/// A pipe whose read end tells whether the write end is still open somewhere.
private final class Pipe {
    private let read: FileDescriptor
    let write: CInt

    init() throws {
        var ends: [CInt] = [-1, -1]
        try libc("pipe") { unsafe pipe(&ends) }
        read = FileDescriptor(owning: ends[0])
        write = ends[1]
        _ = fcntl(read.raw, F_SETFL, O_NONBLOCK)
    }

    /// The number itself may be somebody else's by now; the end of the pipe is ours only.
    var isWriteEndOpen: Bool {
        var byte: UInt8 = 0
        return unsafe Glibc.read(read.raw, &byte, 1) == -1 && errno == EAGAIN
    }
}

@Suite struct FileDescriptorTests {
    @Test func theEndOfTheOwnerClosesIt() throws {
        let pipe = try Pipe()
        do {
            let owned = FileDescriptor(owning: pipe.write)
            #expect(pipe.isWriteEndOpen && owned.raw == pipe.write)
        }
        #expect(!pipe.isWriteEndOpen)
    }

    @Test func aReleasedDescriptorStaysOpen() throws {
        let pipe = try Pipe()
        let raw = FileDescriptor(owning: pipe.write).release()
        #expect(pipe.isWriteEndOpen && raw == pipe.write)
        close(raw)
        #expect(!pipe.isWriteEndOpen)
    }

    @Test func openedFilesCloseOnExecAndFailuresNameThePath() throws {
        let scratch = try Scratch()
        let path = try scratch.write("file", "x")
        let file = try FileDescriptor.open(path, flags: O_RDONLY)
        #expect(fcntl(file.raw, F_GETFD) & FD_CLOEXEC != 0)
        let missing = scratch.file("none")
        #expect(throws: SystemError(call: "open(\(missing))", code: ENOENT)) {
            _ = try FileDescriptor.open(missing, flags: O_RDONLY)
        }
        let made = try FileDescriptor.open(missing, flags: O_WRONLY | O_CREAT | O_EXCL, mode: 0o400)
        var info = stat()
        _ = unsafe fstat(made.raw, &info)
        #expect(info.st_mode & 0o777 == 0o400)
    }

    @Test func aChannelCarriesWholePacketsAndItsEndIsSeen() throws {
        let ours: FileDescriptor
        do {
            var pair = try ChannelPair()
            ours = pair.takeOurs()
            #expect(fcntl(ours.raw, F_GETFL) & O_NONBLOCK != 0 && fcntl(pair.theirs.raw, F_GETFL) & O_NONBLOCK == 0)
            for end in [ours.raw, pair.theirs.raw] { #expect(fcntl(end, F_GETFD) & FD_CLOEXEC != 0) }
            for text in ["one", "three"] { _ = unsafe send(pair.theirs.raw, text, text.utf8.count, 0) }
        }
        var room = [UInt8](repeating: 0, count: 64)
        #expect(unsafe recv(ours.raw, &room, 64, 0) == 3)
        #expect(unsafe recv(ours.raw, &room, 64, 0) == 5)
        #expect(unsafe recv(ours.raw, &room, 64, 0) == 0, "their end closed with the pair")
    }
}

@Suite struct SystemErrorTests {
    @Test func bothConventionsBecomeErrorsThatNameTheCall() throws {
        #expect(try check(7, "call") == 7 && (try check(0, "call")) == 0)
        #expect(throws: SystemError(call: "call", code: EACCES)) { try check(-Int(EACCES), "call") }
        #expect("\(SystemError(call: "open(/x)", code: ENOENT))" == "open(/x): No such file or directory (errno 2)")
        #expect(throws: SystemError(call: "c", code: EPIPE)) {
            try libc("c") { () -> CInt in
                errno = EPIPE
                return -1
            }
        }
    }

    @Test func aCallThatASignalInterruptedIsMadeAgain() throws {
        var calls = 0
        let result = try libc("call") { () -> Int in
            calls += 1
            errno = EINTR
            return calls < 4 ? -1 : 9
        }
        #expect(result == 9 && calls == 4)
    }

    @Test func textBecomesJSONThatHoldsIt() {
        var bytes: [UInt8] = []
        appendJSON("a\"\\\n\r\u{1}\u{1f}ä𝄞/", to: &bytes)
        #expect(String(decoding: bytes, as: UTF8.self) == #""a\"\\\n\u000d\u0001\u001fä𝄞/""#)
    }

    @Test func memoryOfAProcessIsKnownUntilItIsGone() {
        #expect(ProcessMemory.resident(of: getpid()) > 1 << 20)
        #expect(ProcessMemory.resident(of: 0) == 0 && ProcessMemory.resident(of: -1) == 0)
        #expect(ProcessMemory.resident(of: .max) == 0)
    }
}
