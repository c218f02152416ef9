// Which devices models may be given here, and whether what they take of a GPU can be watched.
internal import Core
internal import Platform
internal import Workers

struct DeviceReport {
    let devices: [Device]
    /// Why there is no watch; nil: there is one.
    let unwatched: String?

    static var ofThisMachine: DeviceReport { DeviceReport(devices: Device.all(), unwatched: whyUnwatched) }

    private static var whyUnwatched: String? {
        do throws(NVMLError) {
            _ = try NVML()
        } catch {
            switch error {
            case .absent(let words): return "\(NVML.library) not found (\(words)); it comes with NVIDIA's driver"
            case .failed(let words): return "NVIDIA's driver does not answer: \(words)"
            }
        }
        return PidNamespace.isFirst
            ? nil : "this is a pid namespace of its own, and the driver counts in the machine's: run the host there"
    }

    var lines: [String] {
        [
            "devices: " + (devices.isEmpty ? "none" : devices.map(\.description).joined(separator: ", ")),
            "gpu-memory-watch: " + (unwatched.map { "absent: \($0)" } ?? "there (\(NVML.library))"),
        ]
    }

    var json: String {
        JSONValue.object([
            "names": .array(devices.map { .string($0.description) }),
            "gpu_memory_watch": .object([
                "in_force": .bool(unwatched == nil), "reason": .string(unwatched ?? ""),
            ]),
        ]).text
    }
}
