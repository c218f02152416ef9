// Real threads for tests of what many threads share.
internal import Glibc

/// Runs `body` on `count` threads at once and waits for all of them.
package func withThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) throws(Broken) {
    var threads: [pthread_t] = []
    defer { for thread in threads { _ = pthread_join(thread, nil) } }
    for index in 0..<count {
        var thread = pthread_t()
        let job = unsafe Unmanaged.passRetained(Job { body(index) })
        let code = unsafe pthread_create(
            &thread, nil,
            { raw in
                guard let raw = unsafe raw else { return nil }
                unsafe Unmanaged<Job>.fromOpaque(raw).takeRetainedValue().run()
                return nil
            }, job.toOpaque())
        guard code == 0 else {
            unsafe job.release()
            throw Broken(what: "pthread_create: \(code)")
        }
        threads.append(thread)
    }
}

private final class Job {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}
