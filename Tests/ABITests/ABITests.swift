// The plugin ABI as outsiders meet it: headers that stand alone, few functions, numbers that never change.
// That no field moves is proved at compile time, in Sources/SwiftletABI/layout.c.
import SwiftletABI
import TestSupport
import Testing

private let include = String(#filePath.dropLast("Tests/ABITests/ABITests.swift".count)) + "Sources/SwiftletABI/include"

@Suite struct ABITests {
    @Test(arguments: [
        ("cc", "-std=c11 -pedantic -x c"), ("cc", "-std=c23 -x c"), ("c++", "-std=c++17 -pedantic -x c++"),
        ("clang", "-std=c11 -pedantic -Wno-nullability-extension -x c"),
    ])
    func theHeadersStandAlone(compiler: String, options: String) throws {
        guard (try? shell("command -v \(compiler)")) != nil, (try? shell("echo | \(compiler) \(options) -E -")) != nil
        else {
            print("skipped: no \(compiler) \(options) here")
            return
        }
        let scratch = try Scratch()
        for header in ["swiftlet_abi.h", "swiftlet_handler.h", "swiftlet_backend.h"] {
            let source = try scratch.write("alone.txt", "#include \"\(header)\"\n")
            try shell("\(compiler) \(options) -Wall -Wextra -Werror -fsyntax-only -I'\(include)' '\(source)'")
        }
    }

    @Test func thereAreAtMostThirtyFunctions() throws {
        let text = try shell("cat '\(include)'/*.h")
        let pointers = text.split(separator: "(*SWIFTLET_").count - 1
        #expect((20...30).contains(pointers), "\(pointers) functions in the tables")
    }

    @Test func numbersOnTheWireStay() {
        #expect(SWIFTLET_ABI_VERSION == 1 && SWIFTLET_KIND_HANDLER == 1 && SWIFTLET_KIND_BACKEND == 2)
        #expect(SWIFTLET_EVENT_DATA == 1 && SWIFTLET_EVENT_DONE == 2 && SWIFTLET_EVENT_FAILED == 3)
        #expect(SWIFTLET_OK == 0)
        let plugin = unsafe MemoryLayout<swiftlet_plugin>.size
        let handler = MemoryLayout<swiftlet_handler_v1>.size
        let host = MemoryLayout<swiftlet_host_v1>.size
        let invocation = unsafe MemoryLayout<swiftlet_invocation_v1>.size
        #expect(plugin == 40 && handler == 32 && host == 80 && invocation == 160)
    }
}
