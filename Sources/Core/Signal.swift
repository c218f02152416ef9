// The names of the signals a plugin dies of, in words its developer understands.

package enum Signal {
    /// "SIGSEGV (invalid memory access)"
    package static func words(_ signal: Int32) -> String {
        guard let entry = known[signal] else { return "signal \(signal)" }
        return "\(entry.name) (\(entry.meaning))"
    }

    /// What to do about it.
    package static func advice(_ signal: Int32) -> String {
        known[signal]?.advice ?? "run the handler under a debugger with the same request"
    }

    private struct Entry: Sendable {
        let name: String
        let meaning: String
        let advice: String
    }

    private static let debugger = "run the handler under a debugger or a sanitizer with the same request"

    /// Linux numbers; the same on x86_64 and aarch64.
    private static let known: [Int32: Entry] = [
        1: Entry(name: "SIGHUP", meaning: "hang-up", advice: debugger),
        2: Entry(name: "SIGINT", meaning: "interrupt", advice: debugger),
        3: Entry(name: "SIGQUIT", meaning: "quit", advice: debugger),
        4: Entry(
            name: "SIGILL", meaning: "illegal instruction or a Swift trap",
            advice: "look for a failed precondition, an overflow, or a build for another processor"),
        5: Entry(
            name: "SIGTRAP", meaning: "a trap, such as a Swift precondition",
            advice: "look for a failed precondition, a forced unwrap of nil or an overflow"),
        6: Entry(
            name: "SIGABRT", meaning: "abort, such as a failed assertion or heap corruption",
            advice: "see the function's log for the last line it wrote"),
        7: Entry(name: "SIGBUS", meaning: "bad memory access, such as a file that was cut short", advice: debugger),
        8: Entry(name: "SIGFPE", meaning: "arithmetic error, such as division by zero", advice: debugger),
        9: Entry(
            name: "SIGKILL", meaning: "killed, by a limit or by the host",
            advice: "compare the function's memory and time with the limits in its manifest"),
        11: Entry(name: "SIGSEGV", meaning: "invalid memory access", advice: debugger),
        13: Entry(name: "SIGPIPE", meaning: "write to a closed pipe", advice: debugger),
        14: Entry(name: "SIGALRM", meaning: "an alarm of its own", advice: "remove the alarm from the handler"),
        15: Entry(name: "SIGTERM", meaning: "asked to end", advice: "call the function again"),
        24: Entry(
            name: "SIGXCPU", meaning: "used up its processor time", advice: "look for an endless loop in the handler"),
        25: Entry(
            name: "SIGXFSZ", meaning: "wrote a file larger than allowed", advice: "keep what the handler writes small"),
        31: Entry(
            name: "SIGSYS", meaning: "a system call that the sandbox forbids",
            advice: "see docs/sandbox.md for what a plugin may call"),
    ]
}
