// A model's worker that holds more of its device than its share: what clients, logs and metrics are told.
package import Core

package struct DeviceOveruse: Error, Equatable, Sendable, CustomStringConvertible {
    package static let advice = "raise limits.device_memory_mb, or lower context_tokens or max_sequences"

    package var device: Device
    package var used: UInt64
    package var budget: UInt64

    package init(device: Device, used: UInt64, budget: UInt64) {
        self.device = device
        self.used = used
        self.budget = budget
    }

    package var description: String {
        "used \(Self.words(used)) of \(device), and its budget is \(Self.words(budget))"
    }

    /// In GiB or MiB with one decimal; one above the budget never reads as the budget.
    private static func words(_ bytes: UInt64) -> String {
        let (unit, name): (UInt64, String) = bytes >= 1 << 30 ? (1 << 30, "GiB") : (1 << 20, "MiB")
        let tenths = (bytes / unit * 10) + ((bytes % unit) * 10 + unit - 1) / unit
        return "\(tenths / 10).\(tenths % 10) \(name)"
    }
}
