// Takes a command's words apart; unknown words are errors, never ignored.

/// The caller's words can't be understood.
struct UsageError: Error {
    let text: String
}

struct Arguments {
    private(set) var positional: [String] = []
    private var values: [String: String] = [:]
    private var present: Set<String> = []

    /// - Parameters:
    ///   - options: names that take a value, `--name VALUE` or `--name=VALUE`.
    ///   - flags: names that take none.
    init(_ words: [String], options: [String], flags: [String]) throws {
        var rest = words[...]
        while let word = rest.popFirst() {
            if word == "--" {
                positional += rest
                return
            }
            guard word.hasPrefix("-"), word.count > 1 else {
                positional.append(word)
                continue
            }
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            if flags.contains(word) {
                present.insert(word)
            } else if options.contains(parts[0]) {
                guard let value = parts.count == 2 ? parts[1] : rest.popFirst() else {
                    throw UsageError(text: "\(parts[0]) needs a value")
                }
                values[parts[0]] = value
            } else {
                throw UsageError(text: "unknown option \(parts[0])")
            }
        }
    }

    func has(_ flag: String) -> Bool { present.contains(flag) }
    func value(_ option: String) -> String? { values[option] }

    func number(_ option: String, in range: ClosedRange<Int>) throws -> Int? {
        guard let text = values[option] else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw UsageError(
                text: "\(option) takes a whole number from \(range.lowerBound) to \(range.upperBound), not \(text)")
        }
        return number
    }

    /// The one positional word, when exactly one is wanted.
    func only(_ what: String) throws -> String {
        guard positional.count == 1 else { throw UsageError(text: "exactly one \(what) is needed") }
        return positional[0]
    }
}
