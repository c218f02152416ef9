// Gets the text of a key set from its file or its address. It blocks, so it runs on the loop of keys only.
internal import Core
internal import Glibc
internal import Platform

/// What a try gave.
enum KeyText {
    /// The file is the one that was read.
    case same
    /// `lifetime`: milliseconds until it should be got again.
    case text([UInt8], lifetime: UInt64)
}

/// Remembers which file it read last. One thread at a time.
struct KeyReader: Sendable {
    /// Milliseconds between two looks at a file.
    static let filePause: UInt64 = 1000
    static let usualLifetime: UInt64 = 600_000
    private static let lifetimes: ClosedRange<UInt64> = 60_000...86_400_000
    private static let timeout = 10_000

    private let source: KeySource
    private var last: FileStamp?

    init(_ source: KeySource) { self.source = source }

    /// - Parameter isClosed: asked at least once a second while an address is waited for.
    mutating func read(isClosed: @escaping @Sendable () -> Bool) throws(KeySet.Fault) -> KeyText {
        switch source {
        case .file(let path): return try read(file: path)
        case .url(let url, let authorities): return try Self.fetch(url, authorities, isClosed)
        }
    }

    /// What was read last was no key set: read it again.
    mutating func forget() { last = nil }

    private mutating func read(file path: String) throws(KeySet.Fault) -> KeyText {
        let found: (stamp: FileStamp, bytes: [UInt8]?)
        do throws(SystemError) {
            found = try Self.contents(of: path, unless: last)
        } catch {
            throw KeySet.Fault(words: "\(error)")
        }
        if found.stamp == last { return .same }
        last = nil
        guard found.stamp.isFile else { throw KeySet.Fault(words: "\(path) is not a file") }
        guard let bytes = found.bytes else {
            throw KeySet.Fault(words: "\(path) is larger than \(KeySet.largest) bytes")
        }
        // A file that was written just now may be written again within the same tick of its clock.
        if found.stamp.isSettled { last = found.stamp }
        return .text(bytes, lifetime: Self.filePause)
    }

    private static func contents(of path: String, unless known: FileStamp?) throws(SystemError) -> (FileStamp, [UInt8]?)
    {
        // O_NONBLOCK: a FIFO of that name must not hold the thread.
        let file = try FileDescriptor.open(path, flags: O_RDONLY | O_NONBLOCK)
        let stamp = try FileStamp(file.raw)
        guard stamp != known, stamp.isFile else { return (stamp, nil) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while bytes.count <= KeySet.largest {
            let count = try libc("read(\(path))") { unsafe Glibc.read(file.raw, &chunk, chunk.count) }
            guard count > 0 else { return (stamp, bytes) }
            bytes += chunk[..<count]
        }
        return (stamp, nil)
    }
}

// MARK: addresses

extension KeyReader {
    private static func fetch(
        _ url: String, _ authorities: String?, _ isClosed: @escaping @Sendable () -> Bool
    ) throws(KeySet.Fault) -> KeyText {
        let answer = KeyAnswer(url, authorities: authorities, timeout: timeout, isClosed: isClosed)
        if answer.status == 200 { return .text(answer.body, lifetime: answer.lifetime ?? usualLifetime) }
        if answer.status == 0 { throw KeySet.Fault(words: answer.words) }
        let isRedirect = (300..<400).contains(answer.status)
        throw KeySet.Fault(
            words: "status \(answer.status)"
                + (isRedirect ? ": redirects are not followed; name the address it leads to" : ""))
    }

    /// What a `cache-control` line says, within bounds; nil: it is another line.
    static func lifetime(ofHeader line: String) -> UInt64? {
        let parts = line.split(separator: ":", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "cache-control" else { return nil }
        let words = parts[1].lowercased().split { $0 == "," || $0.isWhitespace }
        if words.contains("no-store") || words.contains("no-cache") { return lifetimes.lowerBound }
        for word in words where word.hasPrefix("max-age=") {
            guard let seconds = UInt32(word.dropFirst(8)) else { continue }
            return min(max(UInt64(seconds) * 1000, lifetimes.lowerBound), lifetimes.upperBound)
        }
        return usualLifetime
    }
}

/// Which file it is, and which state of it.
private struct FileStamp: Equatable, Sendable {
    let isFile: Bool
    let isSettled: Bool
    private let numbers: [UInt64]

    init(_ file: CInt) throws(SystemError) {
        var info = stat()
        try libc("fstat") { unsafe fstat(file, &info) }
        isFile = info.st_mode & S_IFMT == S_IFREG
        var now = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &now)
        isSettled = now.tv_sec - info.st_mtim.tv_sec >= 2
        numbers = [
            UInt64(info.st_dev), UInt64(info.st_ino), UInt64(bitPattern: Int64(info.st_size)),
            UInt64(bitPattern: Int64(info.st_mtim.tv_sec)), UInt64(info.st_mtim.tv_nsec),
            UInt64(bitPattern: Int64(info.st_ctim.tv_sec)), UInt64(info.st_ctim.tv_nsec),
        ]
    }

    static func == (a: Self, b: Self) -> Bool { a.numbers == b.numbers }
}
