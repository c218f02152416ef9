// Values at numbered places, found without hashing: what a loop keeps its descriptors and timers in.

/// A table that uses its places again, but no key: a late one finds nothing.
struct SlotTable<Value> {
    /// The place in the low bits, and above them how often it has been taken: never 0.
    typealias Key = UInt64

    private struct Slot {
        var key: Key
        var value: Value?
    }

    private static var placeBits: Key { 24 }

    private var slots: [Slot] = []
    private var free: [Int] = []

    var count: Int { slots.count - free.count }

    mutating func insert(_ value: Value) -> Key {
        guard let place = free.popLast() else {
            precondition(slots.count < 1 << Self.placeBits, "more descriptors or timers than a loop can name")
            let key = Key(slots.count) | 1 << Self.placeBits
            slots.append(Slot(key: key, value: value))
            return key
        }
        slots[place].key &+= 1 << Self.placeBits
        slots[place].value = value
        return slots[place].key
    }

    subscript(key: Key) -> Value? {
        guard let place = place(of: key) else { return nil }
        return slots[place].value
    }

    func contains(_ key: Key) -> Bool { place(of: key) != nil }

    mutating func remove(_ key: Key) -> Value? {
        guard let place = place(of: key) else { return nil }
        free.append(place)
        return slots[place].value.take()
    }

    private func place(of key: Key) -> Int? {
        let place = Int(key & (1 << Self.placeBits - 1))
        guard place < slots.count, slots[place].key == key, slots[place].value != nil else { return nil }
        return place
    }
}
