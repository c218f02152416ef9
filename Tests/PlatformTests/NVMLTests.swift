// The door to NVIDIA's library: absent, too old, answering; Tests/Doubles/nvml.c stands in for it.
import Platform
import TestSupport
import Testing

@Suite struct NVMLTests {
    private func double(_ scratch: Scratch, _ facts: String, _ options: String = "") throws -> String {
        let source = #filePath.split(separator: "/").dropLast(2).map { "/" + $0 }.joined() + "/Doubles/nvml.c"
        let facts = try scratch.write("facts", facts)
        let library = scratch.file("libnvml.so")
        try shell("cc -shared -fPIC -Wall -Werror \(options) '-DFACTS=\"\(facts)\"' '\(source)' -o '\(library)'")
        return library
    }

    private func failure(_ body: () throws(NVMLError) -> Void) -> NVMLError? {
        do throws(NVMLError) {
            try body()
            return nil
        } catch {
            return error
        }
    }

    private func isAbsent(_ error: NVMLError?, _ words: String) -> Bool {
        guard case .absent(let text) = error else { return false }
        return text.contains(words)
    }

    @Test func aMachineWithoutTheDriverSaysSo() throws {
        let error = failure { () throws(NVMLError) in _ = try NVML(library: "libno-such-driver.so.1") }
        #expect(isAbsent(error, "libno-such-driver.so.1"))
        let scratch = try Scratch()
        let empty = try scratch.compile("empty", "int nothing; ")
        #expect(isAbsent(failure { () throws(NVMLError) in _ = try NVML(library: empty) }, "nvmlInit_v2"))
    }

    @Test func devicesAreFoundByTheirNodesAndNotByTheirOrder() throws {
        let scratch = try Scratch()
        let library = try double(scratch, "minors 3 0\n0 41 1000\n3 42 2000\n3 43 3000\n")
        let driver = try NVML(library: library)
        #expect(try driver.uses(ofDevice: 0) == [NVML.Use(pid: 41, bytes: 1000)])
        #expect(try driver.uses(ofDevice: 3) == [NVML.Use(pid: 42, bytes: 2000), NVML.Use(pid: 43, bytes: 3000)])
        #expect(try driver.memory(ofDevice: 3).total == 80 << 30)
        let error = failure { () throws(NVMLError) in _ = try driver.uses(ofDevice: 1) }
        #expect(error == .failed("find the device: none of 2 has the node /dev/nvidia1"))
    }

    @Test func memoryThatTheDriverDoesNotTellIsNotCounted() throws {
        let scratch = try Scratch()
        let library = try double(scratch, "minors 0\n0 41 \(UInt64.max)\n0 42 5\n", "-DOLD")
        #expect(try NVML(library: library).uses(ofDevice: 0) == [NVML.Use(pid: 42, bytes: 5)])
    }

    @Test func moreProcessesThanWereExpectedAreAllSeen() throws {
        let scratch = try Scratch()
        let many = (1...50).map { "0 \($0) \($0)" }.joined(separator: "\n")
        let library = try double(scratch, "minors 0\n\(many)\n")
        #expect(try NVML(library: library).uses(ofDevice: 0).map(\.pid) == (1...50).map { Int32($0) })
    }

    @Test func aDriverThatFailsIsNotAbsent() throws {
        let scratch = try Scratch()
        let library = try double(scratch, "minors 0\n")
        try shell("rm '\(scratch.file("facts"))'")
        let error = failure { () throws(NVMLError) in _ = try NVML(library: library) }
        #expect(error == .failed("nvmlInit_v2: Unknown Error"))
    }
}
