// swiftlet-fuzz TARGET [libFuzzer's arguments]: one program for all targets; scripts/fuzz calls it.
import CFuzzer
import Glibc

let named = CommandLine.arguments.dropFirst().first ?? ""
guard let target = Target.all.first(where: { $0.name == named }) else {
    print("usage: swiftlet-fuzz \(Target.all.map(\.name).joined(separator: "|")) [-OPTION=VALUE…] [FOLDER|FILE…]")
    exit(2)
}
unsafe Target.chosen = target

// The name is taken out: libFuzzer would take it for a folder of inputs.
var argumentCount = CommandLine.argc - 1
var arguments = unsafe CommandLine.unsafeArgv + 1
unsafe arguments[0] = CommandLine.unsafeArgv[0]
exit(
    unsafe LLVMFuzzerRunDriver(&argumentCount, &arguments) { data, size in
        unsafe Target.chosen?.run(unsafe Array(UnsafeBufferPointer(start: data, count: size)))
        return 0
    })
