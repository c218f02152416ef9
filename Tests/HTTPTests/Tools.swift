// Runs the protocol tools that the tests speak HTTP/2 and TLS with: curl, h2load, openssl.
import Glibc
import Testing

struct ToolRun {
    let status: CInt
    let output: String
}

/// Runs a program in /usr/bin and returns what it wrote to its standard output and error.
func run(_ tool: String, _ arguments: [String], limitSeconds: Int = 60) throws -> ToolRun {
    let command = ["/usr/bin/timeout", "\(limitSeconds)", "/usr/bin/\(tool)"] + arguments
    let line = command.map { "'\($0)'" }.joined(separator: " ")
    guard let pipe = unsafe popen("\(line) 2>&1", "r") else { throw ToolFailure(tool: tool) }
    var output: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let size = unsafe chunk.withUnsafeMutableBytes { unsafe fread($0.baseAddress, 1, $0.count, pipe) }
        guard size > 0 else { break }
        output += chunk[..<size]
    }
    return ToolRun(status: unsafe pclose(pipe), output: String(decoding: output, as: UTF8.self))
}

struct ToolFailure: Error { let tool: String }

/// A directory for one test, removed with it.
final class Scratch {
    let path: String

    init() throws {
        var name = Array("/tmp/httptests.XXXXXX".utf8CString)
        guard
            let made = unsafe name.withUnsafeMutableBufferPointer({
                unsafe $0.baseAddress.flatMap { unsafe mkdtemp($0) }
            })
        else {
            throw ToolFailure(tool: "mkdtemp")
        }
        path = unsafe String(cString: made)
    }

    deinit {
        for name in ["cert.pem", "key.pem", "body"] { _ = unsafe unlink("\(path)/\(name)") }
        unsafe rmdir(path)
    }

    /// Makes a self-signed certificate for 127.0.0.1 with this name in it.
    func makeCertificate(_ name: String) throws {
        let made = try run(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", "/CN=\(name)", "-addext", "subjectAltName=IP:127.0.0.1",
                "-keyout", "\(path)/key.pem", "-out", "\(path)/cert.pem",
            ])
        guard made.status == 0 else { throw ToolFailure(tool: "openssl: \(made.output)") }
    }
}
