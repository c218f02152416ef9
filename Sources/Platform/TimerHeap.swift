// The timers of one loop: a binary heap by time, with lazy removal.

/// Names a timer of one loop.
package struct TimerToken: Hashable, Sendable {
    fileprivate let value: SlotTable<() -> Void>.Key
}

/// Timers by time. A removed timer leaves its place in the heap until its time comes, or until half the heap is dead.
package struct TimerHeap {
    private struct Entry {
        let time: MonotonicTime
        let token: SlotTable<() -> Void>.Key
    }

    private var heap: [Entry] = []
    private var actions = SlotTable<() -> Void>()

    package init() {}

    package var count: Int { actions.count }

    /// When the next timer is due; nil when there is none.
    package var earliest: MonotonicTime? { heap.first?.time }

    package mutating func insert(at time: MonotonicTime, _ action: @escaping () -> Void) -> TimerToken {
        let token = actions.insert(action)
        heap.append(Entry(time: time, token: token))
        siftUp(heap.count - 1)
        return TimerToken(value: token)
    }

    package mutating func remove(_ token: TimerToken) {
        guard actions.remove(token.value) != nil else { return }
        if heap.first?.token == token.value { dropDeadRoots() }
        if heap.count > 64, heap.count > 2 * actions.count { rebuild() }
    }

    /// Takes out the next timer that is due. The caller runs it, so that it may insert and remove timers itself.
    package mutating func popDue(_ now: MonotonicTime) -> (() -> Void)? {
        dropDeadRoots()
        guard let first = heap.first, first.time <= now else { return nil }
        removeRoot()
        let action = actions.remove(first.token)
        dropDeadRoots()
        return action
    }

    private mutating func dropDeadRoots() {
        while let first = heap.first, !actions.contains(first.token) { removeRoot() }
    }

    private mutating func rebuild() {
        heap.removeAll { !actions.contains($0.token) }
        heap.sort { $0.time < $1.time }
    }

    private mutating func removeRoot() {
        let last = heap.removeLast()
        guard !heap.isEmpty else { return }
        heap[0] = last
        siftDown(0)
    }

    private mutating func siftUp(_ start: Int) {
        var index = start
        while index > 0 {
            let parent = (index - 1) / 2
            guard heap[index].time < heap[parent].time else { return }
            heap.swapAt(index, parent)
            index = parent
        }
    }

    private mutating func siftDown(_ start: Int) {
        var index = start
        while true {
            var smallest = index
            for child in (2 * index + 1)...(2 * index + 2)
            where child < heap.count && heap[child].time < heap[smallest].time {
                smallest = child
            }
            guard smallest != index else { return }
            heap.swapAt(index, smallest)
            index = smallest
        }
    }
}
