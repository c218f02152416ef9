// How often a measured value fell below each of some fixed bounds, as Prometheus counts it; ModelHistograms has them all.

/// Counts of whole numbers: nanoseconds, tokens or sequences.
package struct Histogram: Equatable, Sendable {
    /// What is counted, and the bounds that fit it.
    package enum Scale: Equatable, Sendable {
        /// Nanoseconds, from 1 ms to 10 min: what a request takes.
        case request
        /// Nanoseconds, from 0.1 ms to 10 s: what a token or a step takes.
        case step
        /// Tokens of a prompt, an answer or a step.
        case tokens
        /// Sequences of a step.
        case sequences

        package var isTime: Bool { self == .request || self == .step }

        package var bounds: [UInt64] {
            switch self {
            case .request: Self.requestBounds
            case .step: Self.stepBounds
            case .tokens: Self.tokenBounds
            case .sequences: Self.sequenceBounds
            }
        }

        private static let millisecond: UInt64 = 1_000_000
        private static let requestBounds = [
            1, 2, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000, 20_000, 40_000, 80_000,
            160_000, 600_000,
        ].map { $0 * millisecond }
        private static let stepBounds = [
            1, 2, 5, 10, 25, 50, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 2500, 5000, 10_000, 25_000, 100_000,
        ].map { $0 * millisecond / 10 }
        private static let tokenBounds: [UInt64] = [
            1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000,
        ]
        private static let sequenceBounds: [UInt64] = [1, 2, 4, 8, 16, 32, 64, 128, 256]
    }

    package let scale: Scale
    /// Values up to each bound and above the one before; the last place counts those above all bounds.
    package private(set) var counts: [UInt64]
    package private(set) var sum: UInt64 = 0

    package init(_ scale: Scale) {
        self.scale = scale
        counts = Array(repeating: 0, count: scale.bounds.count + 1)
    }

    package var count: UInt64 { counts.reduce(0, +) }

    package mutating func observe(_ value: UInt64) {
        let bounds = scale.bounds
        counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
        sum &+= value
    }

    package mutating func observe(_ value: Int) { observe(UInt64(max(0, value))) }
}
