// One thread for work that blocks, so that no loop ever does.
package import Platform

/// Runs jobs one after another on a thread of its own, which is a loop without descriptors.
package final class BackgroundQueue: Sendable {
    private let remote: LoopRemote

    /// - Parameter remote: of a loop that does nothing else.
    package init(_ remote: LoopRemote) { self.remote = remote }

    package func run(_ job: @escaping @Sendable () -> Void) { remote.submit { _ in job() } }
}
