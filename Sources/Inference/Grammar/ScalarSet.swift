// A set of characters as ranges of Unicode scalars; GrammarExpression.swift builds on it.

/// Ranges in order that neither overlap nor touch.
struct ScalarSet: Hashable, Sendable {
    private(set) var ranges: [ClosedRange<UInt32>]

    init(_ ranges: [ClosedRange<UInt32>]) {
        self.ranges = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = self.ranges.last, range.lowerBound <= last.upperBound &+ 1 {
                self.ranges[self.ranges.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                self.ranges.append(range)
            }
        }
    }

    /// The characters of a text.
    init(_ text: String) { self.init(text.unicodeScalars.map { $0.value...$0.value }) }

    static let digits = ScalarSet([0x30...0x39])
    static let everything = ScalarSet([0...0xD7FF, 0xE000...0x10FFFF])
    /// What stands in a JSON string as it is; a character is left out that JSON wants escaped or that can't be seen.
    static let plain = ScalarSet([
        0x20...0x21, 0x23...0x5B, 0x5D...0x7E, 0xA0...0xD7FF, 0xE000...0xFFFD, 0x10000...0x10FFFF,
    ])

    var isEmpty: Bool { ranges.isEmpty }

    func contains(_ scalar: UInt32) -> Bool { ranges.contains { $0.contains(scalar) } }

    func union(_ other: ScalarSet) -> ScalarSet { ScalarSet(ranges + other.ranges) }

    func intersection(_ other: ScalarSet) -> ScalarSet {
        var common: [ClosedRange<UInt32>] = []
        for one in ranges {
            for two in other.ranges where one.overlaps(two) { common.append(one.clamped(to: two)) }
        }
        return ScalarSet(common)
    }

    func intersects(_ other: ScalarSet) -> Bool {
        ranges.contains { one in other.ranges.contains(where: one.overlaps) }
    }

    func subtracting(_ other: ScalarSet) -> ScalarSet {
        var gaps: [ClosedRange<UInt32>] = []
        var next: UInt32 = 0
        for range in other.ranges {
            if range.lowerBound > next { gaps.append(next...range.lowerBound - 1) }
            next = range.upperBound + 1
        }
        if next <= 0x10FFFF { gaps.append(next...0x10FFFF) }
        return intersection(ScalarSet(gaps))
    }
}
