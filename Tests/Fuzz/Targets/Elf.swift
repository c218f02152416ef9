// The look at a library before anything loads it.
import Core
import PluginHost

extension Target {
    static let elf = Target(name: "elf") { bytes in
        let asPlugin = accepts(bytes, isPlugin: true)
        let asLibrary = accepts(bytes, isPlugin: false)
        require(!asPlugin || asLibrary, "a plugin is a library too")
        guard asLibrary else { return }
        let headers = ProgramHeaders(bytes)
        let loads = headers.all.filter { $0.type == 1 }
        for one in loads {
            require(
                one.offset.addingReportingOverflow(one.size).partialValue <= bytes.count, "segments lie in the file")
            require(one.flags & 3 != 3, "no segment is writable and executable")
        }
        require(headers.all.count { $0.type == 2 } == 1, "there is one dynamic section")
        require(headers.all.allSatisfy { $0.type != 0x6474_e551 || $0.flags & 1 == 0 }, "the stack is not executable")
        // The loader maps whole pages, later segments over earlier ones: what was read must be what it sees.
        for (one, next) in zip(loads, loads.dropFirst()) {
            require(one.address + one.memory <= next.address & ~4095, "segments don't lie over each other")
        }
    }

    private static func accepts(_ bytes: [UInt8], isPlugin: Bool) -> Bool {
        do throws(RuntimeError) {
            try ElfCheck.check(bytes, name: "fuzz.so", isPlugin: isPlugin, beside: ["libbeside.so"])
            return true
        } catch {
            require(!error.cause.isEmpty && !error.next.isEmpty, "a refusal says why and what to do")
            return false
        }
    }
}

/// A second reading of the program headers, which knows that the file was accepted.
private struct ProgramHeaders {
    struct One {
        let type, flags, offset, address, size, memory: Int
    }

    private(set) var all: [One] = []

    init(_ bytes: [UInt8]) {
        func number(_ at: Int, _ width: Int) -> Int { (0..<width).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) } }
        let table = number(32, 8)
        for index in 0..<number(56, 2) {
            let at = table + 56 * index
            all.append(
                One(
                    type: number(at, 4), flags: number(at + 4, 4), offset: number(at + 8, 8),
                    address: number(at + 16, 8), size: number(at + 32, 8), memory: number(at + 40, 8)))
        }
    }
}
