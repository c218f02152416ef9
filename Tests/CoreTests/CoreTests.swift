// What the tests of this room share.
import Core

/// The error of a body that must throw one.
func refusal(_ body: () throws(RuntimeError) -> Void) -> RuntimeError? {
    do throws(RuntimeError) {
        try body()
        return nil
    } catch {
        return error
    }
}
