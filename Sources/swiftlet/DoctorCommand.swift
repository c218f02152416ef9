// swiftlet doctor: asks the zygote program what this machine gives; it finds out by trying.
internal import CLinux
internal import Core
internal import Glibc
internal import Platform

enum DoctorCommand {
    static func run(_ arguments: Arguments) throws -> Int32 {
        let zygote = Installation.current.zygote
        var words = [zygote, "layers"]
        if arguments.has("--json") { words.append("--json") }
        if let required = arguments.value("--require") { words += ["--require", required] }
        // The program takes this process's place: its output and exit code are the answer.
        try unsafe withCStrings(words) { argv throws(SystemError) in _ = unsafe execv(zygote, argv) }
        throw RuntimeError(
            .unavailable, step: "run \(zygote)", cause: SystemError.text(of: errno), next: "build it with `make build`")
    }
}
