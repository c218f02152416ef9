// Where the parts of this installation are: beside the running program, or where a variable says.
internal import Glibc

struct Installation {
    let prefix: String

    /// PREFIX/bin/swiftlet is the program; the rest of PREFIX belongs to it.
    static var current: Installation {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = unsafe readlink("/proc/self/exe", &buffer, buffer.count - 1)
        let path = String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return Installation(prefix: path.split(separator: "/").dropLast(2).map { "/" + $0 }.joined())
    }

    var zygote: String { prefix + "/libexec/swiftlet-zygote" }
    var kit: String { prefix + "/lib/libSwiftletKit.so" }
    var rehearsal: String { prefix + "/libexec/rehearsal.so" }
    var swiftRuntime: String { prefix + "/lib/swift" }
}
