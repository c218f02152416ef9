// Does what ModelBudget decides: hands memory to replicas that want to load, and lets idle ones go for it. Loop-confined.
internal import Core
internal import Platform
internal import Synchronization

/// What models have reserved of this node, for /metrics.
package struct MemoryReport: Equatable, Sendable {
    package var limits = ModelBudget.Limits()
    package var held = ModelBudget.Use()
    /// Replicas that wait for memory.
    package var waiting = 0
    package var evictions: UInt64 = 0
}

final class NodeMemory {
    private var budget: ModelBudget
    private var replicas: [ReplicaID: ServedModel] = [:]
    private var evictions: UInt64 = 0
    private let report: MemoryBoard

    init(limits: ModelBudget.Limits, report: MemoryBoard) {
        budget = ModelBudget(limits: limits)
        self.report = report
        publish()
    }

    func want(_ replica: ServedModel) {
        if let cause = budget.impossible(replica.need) {
            Log.error("a model can't be loaded", [("model", replica.spec.name), ("cause", cause)])
            return replica.deny(cause)
        }
        replicas[replica.id] = replica
        perform(budget.want(replica.id, replica.need))
    }

    /// Grants at once or denies: a further replica neither waits nor displaces another model.
    func wantSpare(_ replica: ServedModel) {
        guard budget.wantSpare(replica.id, replica.need) else { return replica.deny("no memory to spare") }
        replicas[replica.id] = replica
        publish()
        replica.grant()
    }

    func giveUp(_ replica: ServedModel) { perform(budget.giveUp(replica.id)) }
    func busy(_ replica: ServedModel) { budget.busy(replica.id) }
    func idle(_ replica: ServedModel) { perform(budget.idle(replica.id, now: .now)) }
    func leaving(_ replica: ServedModel) { budget.leaving(replica.id) }

    func gone(_ replica: ServedModel) {
        replicas[replica.id] = nil
        perform(budget.gone(replica.id))
    }

    private func perform(_ decisions: [ModelBudget.Decision]) {
        publish()
        for decision in decisions {
            switch decision {
            case .grant(let id): replicas[id]?.grant()
            case .evict(let id):
                evictions += 1
                replicas[id]?.evict()
            }
        }
    }

    private func publish() {
        report.set(
            MemoryReport(limits: budget.limits, held: budget.held, waiting: budget.waiting, evictions: evictions))
    }
}

/// The latest report, for any thread.
final class MemoryBoard: Sendable {
    private let value = Mutex(MemoryReport())

    var now: MemoryReport { value.withLock { $0 } }
    func set(_ report: MemoryReport) { value.withLock { $0 = report } }
}
