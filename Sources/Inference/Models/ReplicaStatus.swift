// What one replica does at the moment; written by the models' loop, read by any thread.
package import Platform
internal import Synchronization

package struct ReplicaStatus: Equatable, Sendable {
    package enum Phase: String, Sendable {
        case cold
        /// It waits for memory of the node.
        case queued
        case loading, ready, unloading
        /// Its worker keeps dying, so that it is not loaded before `incident.nextTry`.
        case backingOff = "backing_off"
    }

    package var phase = Phase.cold
    /// Requests that run.
    package var active = 0
    /// Requests that wait: for it to be loaded, or for a place.
    package var waiting = 0
    package var incident: ModelLifecycle.Incident?
    /// When it came into this phase.
    package var since = MonotonicTime(nanoseconds: 0)

    package init() {}
}

/// All replicas of one version.
package struct ModelStatus: Equatable, Sendable {
    package var replicas: [ReplicaStatus] = []

    package init(replicas: [ReplicaStatus] = []) { self.replicas = replicas }

    /// The one word for all: that of the replica which is nearest to an answer.
    package func phase(now: MonotonicTime) -> ReplicaStatus.Phase {
        let phases = replicas.map { $0.phase(now: now) }
        return [.ready, .loading, .queued, .unloading, .backingOff].first(where: phases.contains) ?? .cold
    }

    package var waiting: Int { replicas.reduce(0) { $0 + $1.waiting } }
    package var active: Int { replicas.reduce(0) { $0 + $1.active } }
    package var loaded: Int { replicas.count { $0.phase == .ready } }
    package var incident: ModelLifecycle.Incident? {
        replicas.compactMap(\.incident).max { $0.nextTry < $1.nextTry }
    }
}

extension ReplicaStatus {
    func phase(now: MonotonicTime) -> Phase {
        guard phase == .cold, let incident, now < incident.nextTry else { return phase }
        return .backingOff
    }
}

/// Where one replica writes it.
package final class StatusCell: Sendable {
    private let value = Mutex(ReplicaStatus())

    package var now: ReplicaStatus { value.withLock { $0 } }
    func set(_ status: ReplicaStatus) { value.withLock { $0 = status } }
}
