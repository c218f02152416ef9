// A JSON object read key by key: each wrong type, range or unknown key becomes an error that names the key.

/// Lends the members of one object and remembers which keys the caller knows.
package struct ManifestReader {
    package let step: String
    /// "limits." for the members of `limits`.
    package let prefix: String
    package let members: [String: JSONValue]
    private let docs: String

    package init(
        _ value: JSONValue, prefix: String = "", known: [String], step: String, docs: String = "docs/manifest.md"
    ) throws(RuntimeError) {
        self.step = step
        self.docs = docs
        self.prefix = prefix
        guard case .object(let members) = value else {
            let what = prefix.isEmpty ? "the manifest" : "'\(prefix.dropLast())'"
            throw RuntimeError(
                .manifestInvalid, step: step, cause: "\(what) must be an object, found \(value.kind)",
                next: "write { … }; see \(docs)")
        }
        self.members = members
        for key in members.keys.sorted() where !known.contains(key) {
            let nearest = Self.nearest(to: key, in: known)
            throw RuntimeError(
                .manifestInvalid, step: step, cause: "unknown key \(Names.quoted(prefix + key))",
                next: nearest.map { "did you mean '\(prefix)\($0)'? Known keys are in \(docs)" }
                    ?? "remove it; the known keys are \(known.sorted().joined(separator: ", "))")
        }
    }

    package func failure(_ key: String, expected: String, found: JSONValue?) -> RuntimeError {
        guard let found else {
            return RuntimeError(
                .manifestInvalid, step: step, cause: "the key '\(prefix)\(key)' is missing",
                next: "add it: \(expected)")
        }
        return RuntimeError(
            .manifestInvalid, step: step, cause: "'\(prefix)\(key)' must be \(expected), found \(found.kind)",
            next: "correct '\(prefix)\(key)'; see \(docs)")
    }

    /// The string at `key`, nil when there is none.
    package func string(_ key: String, _ expected: String = "a string", where isValid: (String) -> Bool)
        throws(RuntimeError)
        -> String?
    {
        guard let value = members[key] else { return nil }
        guard case .string(let text) = value, isValid(text) else {
            throw failure(key, expected: expected, found: value)
        }
        return text
    }

    package func requiredString(_ key: String, _ expected: String, where isValid: (String) -> Bool) throws(RuntimeError)
        -> String
    {
        guard let text = try string(key, expected, where: isValid) else {
            throw failure(key, expected: expected, found: nil)
        }
        return text
    }

    package func choice<Choice: RawRepresentable & CaseIterable>(_ key: String, _: Choice.Type) throws(RuntimeError)
        -> Choice?
    where Choice.RawValue == String {
        guard let value = members[key] else { return nil }
        guard case .string(let text) = value, let choice = Choice(rawValue: text) else {
            throw failure(key, expected: Self.words(Choice.self), found: value)
        }
        return choice
    }

    package static func words<Choice: RawRepresentable & CaseIterable>(_: Choice.Type) -> String
    where Choice.RawValue == String {
        Choice.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: " or ")
    }

    package func integer(_ key: String, in range: ClosedRange<Int64>) throws(RuntimeError) -> Int64? {
        guard let value = members[key] else { return nil }
        guard case .integer(let number) = value, range.contains(number) else {
            throw failure(
                key, expected: "a whole number from \(range.lowerBound) to \(range.upperBound)", found: value)
        }
        return number
    }

    package func bool(_ key: String) throws(RuntimeError) -> Bool? {
        guard let value = members[key] else { return nil }
        guard case .bool(let truth) = value else { throw failure(key, expected: "true or false", found: value) }
        return truth
    }

    /// Seconds, which may have a fraction, as whole milliseconds.
    package func milliseconds(_ key: String, upTo seconds: Int64) throws(RuntimeError) -> Int? {
        try number(key, in: 0...Double(seconds), "a number of seconds from 0 to \(seconds)").map {
            Int(($0 * 1000).rounded())
        }
    }

    package func number(_ key: String, in range: ClosedRange<Double>, _ expected: String) throws(RuntimeError)
        -> Double?
    {
        guard let value = members[key] else { return nil }
        let number: Double? =
            switch value {
            case .integer(let number): Double(number)
            case .number(let number): number
            default: nil
            }
        guard let number, range.contains(number) else { throw failure(key, expected: expected, found: value) }
        return number
    }

    package func strings(_ key: String, atMost count: Int, _ expected: String, where isValid: (String) -> Bool)
        throws(RuntimeError) -> [String]?
    {
        guard let value = members[key] else { return nil }
        guard case .array(let items) = value, items.count <= count else {
            throw failure(key, expected: "a list of at most \(count) strings, each \(expected)", found: value)
        }
        var texts: [String] = []
        for (index, item) in items.enumerated() {
            guard case .string(let text) = item, isValid(text) else {
                throw failure("\(key)[\(index)]", expected: expected, found: item)
            }
            guard !texts.contains(text) else {
                throw failure("\(key)[\(index)]", expected: "named once", found: item)
            }
            texts.append(text)
        }
        return texts
    }
}

extension ManifestReader {
    /// The known key that a typing mistake most likely meant.
    static func nearest(to key: String, in known: [String]) -> String? {
        guard key.utf8.count <= 64 else { return nil }
        let ranked = known.map { (name: $0, distance: distance(key.lowercased(), $0)) }
        guard let best = ranked.min(by: { ($0.distance, $0.name) < ($1.distance, $1.name) }) else { return nil }
        return best.distance <= max(2, best.name.utf8.count / 3) ? best.name : nil
    }

    /// Levenshtein's distance, over bytes.
    private static func distance(_ left: String, _ right: String) -> Int {
        let (left, right) = (Array(left.utf8), Array(right.utf8))
        var row = Array(0...right.count)
        for (i, byte) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, other) in right.enumerated() {
                let replaced = diagonal + (byte == other ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(replaced, row[j] + 1, diagonal + 1)
            }
        }
        return row[right.count]
    }
}
