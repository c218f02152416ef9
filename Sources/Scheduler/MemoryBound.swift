// What the memory limits of live workers may add up to; Dispatcher makes room before it starts one, or does not start it.
package import Core

package struct MemoryBound: Sendable, Equatable {
    /// Who says so.
    package let level: LimitLevel
    package let bytes: UInt64
    /// Whose workers count; nil: all.
    package let tenant: String?

    package init(level: LimitLevel, bytes: UInt64, tenant: String?) {
        self.level = level
        self.bytes = bytes
        self.tenant = tenant
    }

    func counts(_ key: FunctionKey) -> Bool { tenant == nil || key.tenant == tenant }

    func refusal(_ key: FunctionKey, _ limits: Limits) -> RuntimeError {
        let whose = tenant.map { "the tenant \($0)" } ?? "the platform"
        return RuntimeError(
            .rateLimited, step: "start \(key)",
            cause:
                "its worker may take \(limits.memoryBytes >> 20) MiB, and those at work leave less of the "
                + "\(bytes >> 20) MiB that \(whose) may have",
            next:
                "try again when others have ended, lower limits.memory_mb in manifests, or ask the platform team for more",
            limit: LimitHit(level, .memory, retryAfterMilliseconds: 1000))
    }
}
