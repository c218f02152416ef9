// Jobs that wait for a moment, earliest first; a pure heap with `now` passed in.

package struct Timers<Job> {
    private struct Entry {
        let due: UInt64
        let order: UInt64
        let job: Job

        func isBefore(_ other: Entry) -> Bool { due != other.due ? due < other.due : order < other.order }
    }

    private var heap: [Entry] = []
    private var nextOrder: UInt64 = 0

    package init() {}

    package var count: Int { heap.count }
    package var earliest: UInt64? { heap.first?.due }

    package mutating func insert(_ job: Job, due: UInt64) {
        heap.append(Entry(due: due, order: nextOrder, job: job))
        nextOrder += 1
        var child = heap.count - 1
        while child > 0, heap[child].isBefore(heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// Takes the earliest job when its moment has come.
    package mutating func popDue(now: UInt64) -> Job? {
        guard let first = heap.first, first.due <= now else { return nil }
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while let child = earlierChild(of: parent), heap[child].isBefore(heap[parent]) {
            heap.swapAt(child, parent)
            parent = child
        }
        return first.job
    }

    private func earlierChild(of parent: Int) -> Int? {
        let left = 2 * parent + 1
        guard left < heap.count else { return nil }
        return left + 1 < heap.count && heap[left + 1].isBefore(heap[left]) ? left + 1 : left
    }
}
