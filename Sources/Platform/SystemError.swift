// A failed system call, with the call named; every errno in Swift is read here.
internal import Glibc

/// What the kernel said no to.
package struct SystemError: Error, Equatable, CustomStringConvertible {
    /// The call, with its object where that helps: `open(/state/lock)`.
    package let call: String
    /// The errno value.
    package let code: CInt

    package init(call: String, code: CInt) {
        self.call = call
        self.code = code
    }

    /// `open(/state/lock): Permission denied (EACCES 13)`
    package var description: String { "\(call): \(Self.text(of: code))" }

    /// The words of the C library for an errno value.
    package static func text(of code: CInt) -> String {
        guard let words = unsafe strerror(code) else { return "errno \(code)" }
        return unsafe "\(String(cString: words)) (errno \(code))"
    }
}

/// Turns the `-errno` convention of the C doors into a value or an error.
@discardableResult
package func check<Result: FixedWidthInteger & SignedInteger>(
    _ result: Result, _ call: @autoclosure () -> String
) throws(SystemError) -> Result {
    guard result < 0 else { return result }
    throw SystemError(call: call(), code: CInt(truncatingIfNeeded: -result))
}

/// Runs a libc call that answers -1 and sets errno; repeats it when a signal interrupted it.
@discardableResult
package func libc<Result: FixedWidthInteger & SignedInteger>(
    _ call: @autoclosure () -> String, _ body: () -> Result
) throws(SystemError) -> Result {
    while true {
        let result = body()
        guard result == -1 else { return result }
        let code = errno
        guard code == EINTR else { throw SystemError(call: call(), code: code) }
    }
}
