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
    /// A warm worker serves all of its tenant's functions that are the same artefact.
    case tenant
    /// Every request gets a process of its own, forked from a template that has loaded the plugin.
    case request
}
