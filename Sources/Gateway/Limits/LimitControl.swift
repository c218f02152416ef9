// The limits in force: the operator's file and the registry's, the accounts, and how often each limit refused. For all loops.
package import Core
package import Limits
internal import Platform
package import Registry
package import Scheduler
internal import Synchronization

/// Where the time comes from.
struct LimitClock {
    let monotonic: MonotonicTime

    /// - Parameter withDate: false leaves the date out, which most limits don't ask for.
    func now(withDate: Bool) -> LimitTime {
        LimitTime(monotonic: monotonic.nanoseconds, unix: withDate ? WallClock.milliseconds : 0)
    }
}

package final class LimitControl: Sendable {
    private struct Refused: Hashable {
        let level: LimitLevel
        let kind: LimitKind
    }

    private let registry: Registry
    private let file: Mutex<PlatformLimits>
    /// Changes whenever the file does.
    private let version = Atomic<UInt64>(0)
    private let refusals = Mutex<[Refused: UInt64]>([:])
    let table = LimitTable()

    package init(registry: Registry, _ limits: PlatformLimits = PlatformLimits()) {
        self.registry = registry
        file = Mutex(limits)
    }

    var generation: UInt64 { version.load(ordering: .acquiring) }
    var platform: PlatformLimits { file.withLock { $0 } }

    /// What the file says of the models: for all together, and for each key.
    package var modelQuotas: (platform: ModelQuotas, key: ModelQuotas) { file.withLock(\.models) }

    /// What the file says from the next request on.
    package func replace(_ limits: PlatformLimits) {
        file.withLock { $0 = limits }
        version.wrappingAdd(1, ordering: .acquiringAndReleasing)
    }

    // MARK: what is not a request's

    /// What bounds the memory of a tenant's workers together, and of all; for the dispatcher.
    package func memoryBounds(of tenant: String) -> [MemoryBound] {
        let (platform, own) = (platform, registry.snapshot.tenants[tenant]?.settings.limits)
        var bounds: [MemoryBound] = []
        if let most = platform.tenant.tightened(by: own).memoryBytes {
            bounds.append(MemoryBound(level: .tenant, bytes: most, tenant: tenant))
        }
        if let most = platform.platform.memoryBytes {
            bounds.append(MemoryBound(level: .platform, bytes: most, tenant: nil))
        }
        return bounds
    }

    /// What is left of a tenant's storage when everything but `key` is kept; nil: no bound. The platform's artefacts are its own.
    func storageLeft(of tenant: String, without key: FunctionKey?) -> (level: LimitLevel, most: UInt64, left: UInt64)? {
        guard tenant != Deployment.platform else { return nil }
        let (platform, snapshot) = (platform, registry.snapshot)
        let own = platform.tenant.tightened(by: snapshot.tenants[tenant]?.settings.limits).storageBytes
        func left(_ level: LimitLevel, _ most: UInt64?, where counts: (FunctionKey) -> Bool)
            -> (level: LimitLevel, most: UInt64, left: UInt64)?
        {
            guard let most else { return nil }
            let kept = snapshot.functions.filter { $0.key != key && counts($0.key) }
            let held = kept.values.reduce(0) { $0 + $1.storedBytes }
            return (level, most, most > held ? most - held : 0)
        }
        return [
            left(.tenant, own) { $0.tenant == tenant },
            left(.platform, platform.platform.storageBytes) { $0.tenant != Deployment.platform },
        ].compactMap(\.self).min { $0.left < $1.left }
    }

    // MARK: metrics

    func count(_ hit: LimitHit) {
        refusals.withLock { $0[Refused(level: hit.level, kind: hit.kind), default: 0] += 1 }
    }

    /// In the order of the levels and of the limits.
    var refused: [(level: LimitLevel, kind: LimitKind, count: UInt64)] {
        let counts = refusals.withLock { $0 }
        return LimitLevel.allCases.flatMap { level in
            LimitKind.allCases.compactMap { kind in
                counts[Refused(level: level, kind: kind)].map { (level, kind, $0) }
            }
        }
    }
}

extension Deployment {
    /// What its files take on the disk.
    var storedBytes: UInt64 { files.reduce(0) { $0 + $1.stamp.bytes } }
}
