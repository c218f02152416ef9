// Which models compute on one device now, and which one next: by what each got, divided by its weight. Pure.
package import Platform

/// The models that share a device: a GPU, which computes for one at a time, or the processor, as many threads as it has cores.
///
/// A model holds its part from one step to that step's result. What it had counts as time × threads ÷ weight; of those that wait
/// the lowest is next. So two models that always have more to do differ, in that measure, by no more than their longest
/// steps. A model that had nothing to do comes back no lower than the lowest of those that had: idling earns no credit.
///
/// Whoever fits is served while the first in turn needs more threads than are free, so that no core idles. That ends when the first
/// has waited for `patience`: from then on nobody goes before it. A model that wants more threads than there are gets all.
package struct DeviceShares: Sendable {
    /// One model's worker.
    package struct Party: Hashable, Sendable {
        fileprivate let number: UInt64
    }

    private enum State: Equatable {
        case resting
        case waiting(since: MonotonicTime)
        case holding(since: MonotonicTime)
    }

    private struct Account {
        var threads: Int
        var weight = 0.0
        /// Nanoseconds × threads ÷ weight.
        var counter: Double
        var state = State.resting
    }

    /// How long others may fill the gap before a model that needs more threads than are free, in nanoseconds.
    package static let patience: UInt64 = 100_000_000

    package let capacity: Int
    package private(set) var free: Int
    private var accounts: [Party: Account] = [:]
    private var joined: UInt64 = 0
    /// No model that comes back stands below this.
    private var floor = 0.0

    /// - Parameter capacity: threads that may compute at the same time; 1 for a GPU.
    package init(capacity: Int) {
        self.capacity = max(1, capacity)
        free = self.capacity
    }

    package var isFree: Bool { free == capacity }
    package var waiting: Int { accounts.values.count { if case .waiting = $0.state { true } else { false } } }
    package func holds(_ party: Party) -> Bool { since(holding: party) != nil }

    // MARK: coming and going

    /// A model was loaded. It has no work yet.
    package mutating func join(threads: Int) -> Party {
        joined += 1
        let party = Party(number: joined)
        accounts[party] = Account(threads: min(max(1, threads), capacity), counter: floor)
        return party
    }

    /// The model's worker is gone; what it held is free.
    package mutating func leave(_ party: Party, now: MonotonicTime) {
        _ = giveBack(party, now: now)
        accounts[party] = nil
        raiseFloor()
    }

    /// - Parameter weight: of all tenants that have work in the model now; 0: nobody has.
    package mutating func setWeight(_ weight: Double, of party: Party) {
        guard let old = accounts[party]?.weight, old != weight else { return }
        raiseFloor()
        accounts[party]?.weight = weight
        if old == 0, let counter = accounts[party]?.counter { accounts[party]?.counter = max(counter, floor) }
    }

    // MARK: turns

    /// Asks for the device. True: the model holds it now. False: it waits, and a later `next` names it.
    package mutating func take(_ party: Party, now: MonotonicTime) -> Bool {
        guard let state = accounts[party]?.state else { return false }
        if case .holding = state { return true }
        if state == .resting { accounts[party]?.state = .waiting(since: now) }
        guard turns(now).contains(party) else { return false }
        grant(party, now)
        return true
    }

    /// The model's step is over, or it asked for nothing. Returns how long it held the device, in nanoseconds.
    package mutating func giveBack(_ party: Party, now: MonotonicTime) -> UInt64 {
        guard let account = accounts[party] else { return 0 }
        accounts[party]?.state = .resting
        guard case .holding(let since) = account.state else { return 0 }
        let held = now.since(since)
        free += account.threads
        // Work for nobody counts too, as if for one tenant of weight 1.
        let weight = account.weight > 0 ? account.weight : 1
        accounts[party]?.counter += Double(held) * Double(account.threads) / weight
        return held
    }

    /// Gives what is free to those that wait for it. They hold it now.
    package mutating func next(now: MonotonicTime) -> [Party] {
        let parties = turns(now)
        for party in parties { grant(party, now) }
        return parties
    }

    /// Who of those that wait would get the device.
    private func turns(_ now: MonotonicTime) -> [Party] {
        var left = free
        var parties: [Party] = []
        let order = accounts.compactMap { party, account -> (counter: Double, since: MonotonicTime, party: Party)? in
            guard case .waiting(let since) = account.state else { return nil }
            return (account.counter, since, party)
        }
        .sorted { ($0.counter, $0.since, $0.party.number) < ($1.counter, $1.since, $1.party.number) }
        for (_, since, party) in order where left > 0 {
            guard let threads = accounts[party]?.threads else { continue }
            if threads <= left {
                parties.append(party)
                left -= threads
            } else if now.since(since) >= Self.patience {
                break
            }
        }
        return parties
    }

    private mutating func grant(_ party: Party, _ now: MonotonicTime) {
        free -= accounts[party]?.threads ?? 0
        accounts[party]?.state = .holding(since: now)
    }

    private func since(holding party: Party) -> MonotonicTime? {
        guard case .holding(let since) = accounts[party]?.state else { return nil }
        return since
    }

    private mutating func raiseFloor() {
        floor = max(floor, accounts.values.lazy.filter { $0.weight > 0 }.map(\.counter).min() ?? floor)
    }
}
