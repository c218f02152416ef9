// Holds a state directory while a command changes it: no host may run meanwhile.
internal import CLinux
internal import Core
internal import Glibc
internal import Platform

func holdingState<Value>(_ state: String, _ body: () throws -> Value) throws -> Value {
    guard unsafe access("\(state)/registry.db", F_OK) == 0 else {
        throw RuntimeError(
            .notFound, step: "use the state directory \(state)", cause: "there is no \(state)/registry.db",
            next: "name the host's state directory with --state")
    }
    let file = try FileDescriptor.open("\(state)/lock", flags: O_RDWR | O_CREAT, mode: 0o644)
    guard clinux_try_lock(file.raw) == 0 else {
        throw RuntimeError(
            .conflict, step: "use the state directory \(state)", cause: "a host uses it", next: "stop that host first")
    }
    let value = try body()
    _ = file.raw
    return value
}
