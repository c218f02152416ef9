// The two kinds of plugin, and how long a worker of a handler may serve.

package enum PluginKind: String, Sendable, CaseIterable {
    /// A tenant's code; answers HTTP requests.
    case handler
    /// The platform team's model engine; advances sequences step by step.
    case backend
}

/// Who may be served by a worker that has already served somebody.
package enum Reuse: String, Sendable, CaseIterable {
    /// A warm worker serves any number of requests of its function.
    case function
    /// A warm worker serves one caller-defined tenant of its function.
    case tenant
    /// Every request gets a fresh worker.
    case request

    /// What this version of the host can do; the other words are reserved.
    package var isServed: Bool { self == .function }
}
