// One line on a terminal that says how far long work is; nothing where stderr is a file or a pipe.
internal import Glibc
internal import Platform

final class ProgressLine {
    private let isWatched = isatty(2) == 1
    private var told: MonotonicTime?

    /// Shows the words in place of the last ones, twice a second at most.
    ///
    /// - Parameter bytes: what they are about; below 8 MiB it is over before anybody has read them.
    func tell(of bytes: UInt64, _ words: @autoclosure () -> String) {
        let now = MonotonicTime.now
        if !isWatched || bytes < 8 << 20 || told.map({ now.since($0) < 500_000_000 }) == true { return }
        told = now
        Output.bytes(Array("\r\u{1b}[K\(words())".utf8), to: 2)
    }

    /// Takes the line away, before anything else is printed.
    func clear() {
        if told.take() != nil { Output.bytes(Array("\r\u{1b}[K".utf8), to: 2) }
    }
}
