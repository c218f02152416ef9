// Which replica of a model answers a request: the one that has read its beginning before, else the least busy. Pure.

/// Remembers where requests went, by tenant and by the beginning of what they say.
package struct ReplicaChoice {
    package enum Readiness: Int, Comparable, Sendable {
        case ready, coming
        /// Its worker keeps dying. It comes before those that sleep, so that they do not die one after the other as well.
        case blocked
        case asleep

        package static func < (a: Readiness, b: Readiness) -> Bool { a.rawValue < b.rawValue }
    }

    package struct Candidate: Equatable, Sendable {
        package var readiness: Readiness
        /// Requests that run or wait there.
        package var load: Int

        package init(_ readiness: Readiness, load: Int) {
            self.readiness = readiness
            self.load = load
        }
    }

    /// Requests more than the least busy one has, from which on what was read before counts no more.
    package static let tolerance = 4
    private static let mostHomes = 8192

    private var homes: [Int: Int] = [:]
    /// Keys in the order they came; what came first is forgotten first.
    private var order: [Int] = []

    package init() {}

    /// - Parameters:
    ///   - candidates: by the number of the replica; at least one.
    ///   - beginnings: of the request, the shortest first; see `beginnings(of:)`.
    package mutating func choose(among candidates: [Candidate], beginnings: [Int]) -> Int {
        let best = candidates.map(\.readiness).min() ?? .asleep
        let usable = candidates.indices.filter { candidates[$0].readiness == best }
        // The first of equals, so that later ones may fall asleep.
        let idlest = usable.min { (candidates[$0].load, $0) < (candidates[$1].load, $1) } ?? 0
        let longest = beginnings.last { homes[$0] != nil }
        let home = longest.flatMap { homes[$0] }
        var choice = idlest
        if let home, usable.contains(home), candidates[home].load <= candidates[idlest].load + Self.tolerance {
            choice = home
        }
        for key in beginnings { remember(key, choice) }
        return choice
    }

    private mutating func remember(_ key: Int, _ replica: Int) {
        if homes.updateValue(replica, forKey: key) != nil { return }
        order.append(key)
        guard order.count > 2 * Self.mostHomes else { return }
        for old in order.prefix(Self.mostHomes) { homes[old] = nil }
        order.removeFirst(Self.mostHomes)
    }

    // MARK: what a request begins with

    private static let mostParts = 64
    private static let textPart = 256
    private static let longestHashed = 4096

    /// One number for each beginning of a request: after each message of a chat, and after each 256 bytes of a text. The
    /// tenant is part of it, so that nobody finds out by time what another one asked.
    package static func beginnings(of request: ModelRequest) -> [Int] {
        guard case .generation(let request) = request else { return [] }
        var hasher = Hasher()
        hasher.combine(request.tenant)
        var keys: [Int] = []
        switch request.prompt {
        case .chat(let messages):
            for message in messages.prefix(mostParts) {
                hasher.combine(message.role)
                hasher.combine(message.content.utf8.count)
                for byte in message.content.utf8.prefix(longestHashed) { hasher.combine(byte) }
                keys.append(finished(hasher))
            }
        case .text(let text):
            var count = 0
            for byte in text.utf8.prefix(mostParts * textPart) {
                hasher.combine(byte)
                count += 1
                if count % textPart == 0 { keys.append(finished(hasher)) }
            }
        }
        return keys
    }

    private static func finished(_ hasher: Hasher) -> Int {
        let copy = hasher
        return copy.finalize()
    }
}
