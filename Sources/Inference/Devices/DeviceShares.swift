// Which models compute on one device now, and which one next: by what each got, divided by its weight. Pure.
package import Platform

/// The models that share a device: a GPU, which computes for one at a time, or the processor, as many threads as it has cores.
///
/// A model holds its part from one step to that step's result. What it had counts as time × threads ÷ weight; of those that wait
/// the lowest is next. So two models that always have more to do differ, in that measure, by no more than their longest
/// steps. A model that had nothing to do comes back no lower than the lowest of those that had: idling earns no credit.
///
/// Whoever fits is served while the first in turn needs more threads than are free, so that no core idles. That ends when it
/// has been first for `patience`: from then on nobody goes before it. A model that wants more threads than there are gets all.
///
/// Who holds the device for `longest` keeps it from nobody any more: a worker that hangs must not hang its neighbours, too.
package struct DeviceShares: Sendable {
    /// One model's worker.
    package struct Party: Hashable, Sendable {
        fileprivate let number: UInt64
    }

    private enum State: Equatable {
        case resting
        case waiting(since: MonotonicTime)
        case holding(since: MonotonicTime)
        /// For so long that others no longer wait for it.
        case overdue(since: MonotonicTime)
    }

    private struct Account {
        var threads: Int
        var weight = 0.0
        /// Nanoseconds × threads ÷ weight.
        var counter: Double
        var state = State.resting
    }

    /// How long others may fill the gap before the first in turn, in nanoseconds.
    package static let patience: UInt64 = 100_000_000

    /// How long a model may keep others from the device, in nanoseconds; planned steps take a fraction of that.
    package static let longest: UInt64 = 2_000_000_000

    package let capacity: Int
    package private(set) var free: Int
    private var accounts: [Party: Account] = [:]
    private var joined: UInt64 = 0
    /// Who is first in turn and does not fit, and since when.
    private var blocked: (party: Party, since: MonotonicTime)?
    /// No model that comes back stands below this.
    private var floor = 0.0

    /// - Parameter capacity: threads that may compute at the same time; 1 for a GPU.
    package init(capacity: Int) {
        self.capacity = max(1, capacity)
        free = self.capacity
    }

    package var isFree: Bool { free == capacity }
    package var waiting: Int { accounts.values.count { if case .waiting = $0.state { true } else { false } } }
    package func holds(_ party: Party) -> Bool { accounts[party].map { isHeld($0.state) } ?? false }

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
        if isHeld(state) { return true }
        if state == .resting { accounts[party]?.state = .waiting(since: now) }
        guard turns(now).contains(party) else { return false }
        grant(party, now)
        return true
    }

    /// The model's step is over, or it asked for nothing. Returns how long it held the device, in nanoseconds.
    package mutating func giveBack(_ party: Party, now: MonotonicTime) -> UInt64 {
        guard let account = accounts[party] else { return 0 }
        accounts[party]?.state = .resting
        let held: UInt64
        switch account.state {
        case .holding(let since):
            free += account.threads
            held = now.since(since)
        case .overdue(let since): held = now.since(since)
        case .resting, .waiting: return 0
        }
        charge(party, held)
        return held
    }

    /// The model's step is over, and another one was sent behind it while nobody waited: it holds the device on, and what it had counts.
    /// Returns how long it held the device, in nanoseconds.
    package mutating func renew(_ party: Party, now: MonotonicTime) -> UInt64 {
        guard case .holding(let since) = accounts[party]?.state else { return 0 }
        accounts[party]?.state = .holding(since: now)
        charge(party, now.since(since))
        return now.since(since)
    }

    private mutating func charge(_ party: Party, _ nanoseconds: UInt64) {
        guard let account = accounts[party] else { return }
        // Work for nobody counts too, as if for one tenant of weight 1.
        let weight = account.weight > 0 ? account.weight : 1
        accounts[party]?.counter += Double(nanoseconds) * Double(account.threads) / weight
    }

    /// Gives what is free to those that wait for it. They hold it now.
    package mutating func next(now: MonotonicTime) -> [Party] {
        for (party, account) in accounts {
            guard case .holding(let since) = account.state, now.since(since) >= Self.longest else { continue }
            accounts[party]?.state = .overdue(since: since)
            free += account.threads
        }
        let parties = turns(now)
        for party in parties { grant(party, now) }
        return parties
    }

    /// When `next` may name somebody although nothing was given back; nil while nobody waits.
    package var nextOverdue: MonotonicTime? {
        guard waiting > 0 else { return nil }
        return accounts.values.compactMap {
            if case .holding(let since) = $0.state { since.adding(nanoseconds: Self.longest) } else { nil }
        }
        .min()
    }

    /// Who of those that wait would get the device.
    private mutating func turns(_ now: MonotonicTime) -> [Party] {
        var left = free
        var parties: [Party] = []
        let order = accounts.compactMap { party, account -> (counter: Double, since: MonotonicTime, party: Party)? in
            guard case .waiting(let since) = account.state else { return nil }
            return (account.counter, since, party)
        }
        .sorted { ($0.counter, $0.since, $0.party.number) < ($1.counter, $1.since, $1.party.number) }
        if let first = order.first?.party, (accounts[first]?.threads ?? 0) > left {
            if blocked?.party != first { blocked = (first, now) }
            if let blocked, now.since(blocked.since) >= Self.patience { return [] }
        } else {
            blocked = nil
        }
        for (_, _, party) in order where left > 0 {
            guard let threads = accounts[party]?.threads, threads <= left else { continue }
            parties.append(party)
            left -= threads
        }
        return parties
    }

    private mutating func grant(_ party: Party, _ now: MonotonicTime) {
        free -= accounts[party]?.threads ?? 0
        accounts[party]?.state = .holding(since: now)
    }

    private func isHeld(_ state: State) -> Bool {
        switch state {
        case .holding, .overdue: true
        case .resting, .waiting: false
        }
    }

    private mutating func raiseFloor() {
        floor = max(floor, accounts.values.lazy.filter { $0.weight > 0 }.map(\.counter).min() ?? floor)
    }
}
