// The device that a model is given, as a manifest names it; what that means on a machine is Workers/DeviceNodes.swift's to find.

/// One device of the machine.
package enum Device: Hashable, Sendable, CustomStringConvertible {
    /// A GPU of NVIDIA's driver, by the number of its node.
    case gpu(Int)
    /// A GPU of a driver in the kernel, by the number of its render node: 128 is the first.
    case render(Int)

    package static let rule =
        "\"gpu:N\" (/dev/nvidiaN, N from 0 to 254) or \"render:N\" (/dev/dri/renderDN, N from 128 to 191)"

    /// Nil when it is no device's name. A number has one spelling, so that a device has one, too.
    package init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let number = Int(parts[1]), String(number) == parts[1] else { return nil }
        switch (parts[0], number) {
        case ("gpu", 0...254): self = .gpu(number)
        case ("render", 128...191): self = .render(number)
        default: return nil
        }
    }

    package var description: String {
        switch self {
        case .gpu(let number): "gpu:\(number)"
        case .render(let number): "render:\(number)"
        }
    }
}
