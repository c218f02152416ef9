// swiftlet doctor: what this machine gives; the zygote program finds out about layers by trying, and we ask for devices.
internal import Core
internal import Platform

enum DoctorCommand {
    static func run(_ arguments: Arguments) throws -> Int32 {
        var words = ["layers"]
        if arguments.has("--json") { words.append("--json") }
        if let required = arguments.value("--require") { words += ["--require", required] }
        let (status, layers) = try Subprocess.run(Installation.current.zygote, words)
        let devices = DeviceReport.ofThisMachine
        guard status <= 1 else {
            Output.bytes(Array(layers.utf8), to: 2)
            return status
        }
        if arguments.has("--json") {
            // One object: ours goes in before its last brace.
            let open = layers.lastIndex(of: "}").map { layers[..<$0] } ?? "{"
            Output.line("\(open),\"devices\":\(devices.json)}")
        } else {
            Output.bytes(Array(layers.utf8))
            for line in devices.lines { Output.line(line) }
        }
        return status
    }
}
