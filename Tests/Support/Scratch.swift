// A folder of one test, and the compiler that fills it.
internal import Glibc

package struct Broken: Error {
    package let what: String
    package init(what: String) { self.what = what }
}

/// A directory that lives as long as this object.
package final class Scratch: Sendable {
    package let path: String

    package init() throws(Broken) {
        var name = Array("/tmp/swiftlet-tests.XXXXXX".utf8CString)
        let made = unsafe name.withUnsafeMutableBufferPointer { buffer -> String? in
            guard let base = buffer.baseAddress, let made = unsafe mkdtemp(base) else { return nil }
            return unsafe String(cString: made)
        }
        guard let made else { throw Broken(what: "mkdtemp: errno \(errno)") }
        path = made
    }

    deinit { _ = try? shell("rm -rf '\(path)'") }

    package func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes a file and returns its path.
    @discardableResult
    package func write(_ name: String, _ bytes: [UInt8]) throws(Broken) -> String {
        let path = file(name)
        guard let stream = unsafe fopen(path, "w") else { throw Broken(what: "fopen \(path): errno \(errno)") }
        let count = unsafe fwrite(bytes, 1, bytes.count, stream)
        guard unsafe fclose(stream) == 0, count == bytes.count else { throw Broken(what: "write \(path)") }
        return path
    }

    @discardableResult
    package func write(_ name: String, _ text: String) throws(Broken) -> String { try write(name, Array(text.utf8)) }

    package func read(_ name: String) throws(Broken) -> [UInt8] {
        guard let stream = unsafe fopen(file(name), "r") else { throw Broken(what: "fopen \(name): errno \(errno)") }
        defer { unsafe fclose(stream) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while case let count = unsafe fread(&chunk, 1, chunk.count, stream), count > 0 { bytes += chunk[..<count] }
        return bytes
    }

    /// The names in a folder below, in order.
    package func names(in folder: String = "") throws(Broken) -> [String] {
        try shell("ls -A '\(file(folder))'").split(separator: "\n").map(String.init)
    }

    /// Compiles C text to a shared object, or to a program when `options` say so; returns its path.
    package func compile(
        _ name: String, _ source: String, options: String = "-shared -fPIC", compiler: String = "cc"
    ) throws(Broken) -> String {
        let text = try write("\(name).c", source)
        try shell("'\(compiler)' -O1 -Wall -Werror \(options) '\(text)' -o '\(file(name))'")
        return file(name)
    }
}

/// Runs a line of shell; throws with its output when it fails.
@discardableResult
package func shell(_ command: String) throws(Broken) -> String {
    guard let pipe = unsafe popen("exec 2>&1; " + command, "r") else { throw Broken(what: "popen") }
    var output: [UInt8] = []
    while case let byte = unsafe fgetc(pipe), byte != EOF { output.append(UInt8(truncatingIfNeeded: byte)) }
    let text = String(decoding: output, as: UTF8.self)
    guard unsafe pclose(pipe) == 0 else { throw Broken(what: command + "\n" + text) }
    return text
}
