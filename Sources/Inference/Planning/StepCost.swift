// How long a step will take, learnt from how long steps took. Pure.

/// A step's time as a line: a fixed part, one for each sequence that gets one token, one for each prompt token.
///
/// Least squares over past steps, older ones counting less, so that it follows other tenants of the machine, longer contexts and
/// another engine. Before the first measurement it holds what a small model takes on one core.
package struct StepCost: Equatable, Sendable {
    /// Nanoseconds.
    package private(set) var fixed = 1e6
    package private(set) var perDecode = 5e6
    package private(set) var perRead = 1e6

    /// What one further step takes from the weight of all before it.
    private static let memory = 0.97
    /// Keeps the parts apart while all steps were alike.
    private static let prior = 0.05

    /// Sums over past steps of products of (1, decodes, reads), and of those with the time.
    private var squares = [SIMD3<Double>](repeating: .zero, count: 3)
    private var products = SIMD3<Double>.zero

    package init() {}

    package func nanoseconds(decodes: Int, reads: Int) -> Double {
        fixed + perDecode * Double(decodes) + perRead * Double(reads)
    }

    /// Prompt tokens that fit into a time beside so many decodes.
    package func reads(within nanoseconds: Double, decodes: Int = 0) -> Int {
        let left = nanoseconds - (decodes == 0 ? fixed : 0)
        return max(0, Int(min(left / perRead, 1e6)))
    }

    package mutating func learn(decodes: Int, reads: Int, nanoseconds: UInt64) {
        let seen = SIMD3(1, Double(decodes), Double(reads))
        products = products * Self.memory + seen * Double(nanoseconds)
        for row in 0..<3 { squares[row] = squares[row] * Self.memory + seen * seen[row] }
        solve()
    }
}

extension StepCost {
    /// Gauss on three equations, with the last solution as a weak further observation of each part.
    private mutating func solve() {
        let last = SIMD3(fixed, perDecode, perRead)
        var rows = squares
        var right = products
        for index in 0..<3 {
            let weak = Self.prior * max(1, squares[index][index])
            rows[index][index] += weak
            right[index] += weak * last[index]
        }
        for pivot in 0..<3 {
            for row in (pivot + 1)..<3 where pivot < 2 {
                let factor = rows[row][pivot] / rows[pivot][pivot]
                rows[row] -= factor * rows[pivot]
                right[row] -= factor * right[pivot]
            }
        }
        var found = last
        for row in (0..<3).reversed() {
            var rest = right[row]
            for column in (row + 1)..<3 where row < 2 { rest -= rows[row][column] * found[column] }
            found[row] = rest / rows[row][row]
        }
        // A part that noise made nothing would promise steps without end.
        (fixed, perDecode, perRead) = (max(found[0], 1e3), max(found[1], 1e3), max(found[2], 1e3))
    }
}
