// serve --limits FILE: the platform's limits, read at the start and again on SIGHUP.
internal import Core
internal import FoundationEssentials
internal import Gateway
internal import Limits
internal import Platform

enum LimitsFile {
    /// - Parameter file: nil: nothing is bounded.
    static func read(_ file: String?) throws -> PlatformLimits {
        guard let file else { return PlatformLimits() }
        guard let data = try? Data(contentsOf: URL(filePath: file)) else {
            throw RuntimeError(
                .badRequest, step: "read the limits file \(file)", cause: "the file can't be read",
                next: "give --limits a file that the user of the host may read")
        }
        return try PlatformLimits(json5: Array(data), file: file)
    }

    /// SIGHUP: holds from the next request on; a file that can't be read changes nothing.
    static func reload(_ file: String?, _ limits: LimitControl) {
        guard let file else { return }
        do {
            limits.replace(try read(file))
            Log.info("SIGHUP: the limits file was read again")
        } catch {
            Log.error("SIGHUP: the old limits stay in force", [("cause", "\(error)")])
        }
    }
}
