// When keys are got again, and how long the old ones hold: a pure value, told of what happened and when.
internal import Platform

struct KeySchedule: Sendable {
    /// What a file or an address asks for, in milliseconds.
    struct Rules: Sendable {
        /// Between two refreshes that unknown keys ask for; nil: they ask for none.
        var unknownKeyPause: UInt64?
        /// The longest time between tries that fail.
        var longestPause: UInt64
        /// For how long old keys are used after they should have been replaced.
        var keep: UInt64
    }

    private let rules: Rules
    private(set) var isFetching = false
    /// When the next try is due.
    private(set) var due: MonotonicTime
    private var goodUntil: MonotonicTime?
    private var lastAsked: MonotonicTime?
    private(set) var failures = 0

    init(_ rules: Rules, now: MonotonicTime) {
        self.rules = rules
        due = now
    }

    /// Whether keys that were got once may still be used.
    func isUsable(_ now: MonotonicTime) -> Bool { goodUntil.map { now < $0 } ?? false }

    /// True: fetch now, and say how it went.
    mutating func begin(_ now: MonotonicTime) -> Bool {
        guard !isFetching, now >= due else { return false }
        isFetching = true
        return true
    }

    /// A token names a key that is not here. True: a fetch is due because of it.
    mutating func missed(_ now: MonotonicTime) -> Bool {
        guard let pause = rules.unknownKeyPause, !isFetching else { return false }
        if let lastAsked, now < lastAsked.adding(milliseconds: pause) { return false }
        lastAsked = now
        due = min(due, now)
        return true
    }

    /// Whether a fetch that may bring an unknown key runs or is about to.
    func isAwaited(_ now: MonotonicTime) -> Bool { rules.unknownKeyPause != nil && (isFetching || due <= now) }

    mutating func succeeded(_ now: MonotonicTime, lifetime: UInt64) {
        isFetching = false
        failures = 0
        due = now.adding(milliseconds: lifetime)
        goodUntil = due.adding(milliseconds: rules.keep)
    }

    mutating func failed(_ now: MonotonicTime) {
        isFetching = false
        failures += 1
        due = now.adding(milliseconds: min(rules.longestPause, 1000 << UInt64(min(failures - 1, 16))))
    }
}
