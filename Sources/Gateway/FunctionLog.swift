// What functions and models wrote lately: a bounded ring a function, read by `swiftlet logs`.
package import Core
internal import Platform
internal import Synchronization

/// One line.
package struct LogLine: Sendable {
    package let sequence: UInt64
    package let unixMilliseconds: Int64
    package let level: Int
    package let requestID: String
    package let text: String
}

/// The lines of all functions. The oldest go first; a chatty function can't push out another's.
package final class FunctionLog: Sendable {
    private struct State {
        var lines: [FunctionKey: [LogLine]] = [:]
        var next: UInt64 = 1
    }

    private let state = Mutex(State())
    private let bound: Int

    package init(linesPerFunction bound: Int = 500) { self.bound = bound }

    package func append(_ key: FunctionKey, level: Int, requestID: String, text: String) {
        let time = WallClock.milliseconds
        state.withLock { state in
            let line = LogLine(
                sequence: state.next, unixMilliseconds: time, level: level, requestID: requestID,
                text: Self.cut(text))
            state.next += 1
            // In place: a copy of the ring for each line would make a flood of lines the host's problem. For the same
            // reason they are dropped in blocks.
            state.lines[key, default: []].append(line)
            if state.lines[key, default: []].count > bound + 64 { state.lines[key]?.removeFirst(64) }
        }
    }

    /// In bytes: a single character may be as long as its writer likes.
    private static func cut(_ text: String) -> String {
        text.utf8.count <= 8192 ? text : String(decoding: text.utf8.prefix(8192), as: UTF8.self)
    }

    /// The lines of a function after a sequence number.
    package func lines(_ key: FunctionKey, after sequence: UInt64) -> [LogLine] {
        state.withLock { ($0.lines[key] ?? []).filter { $0.sequence > sequence } }
    }

    package func forget(_ key: FunctionKey) { state.withLock { $0.lines[key] = nil } }
}
