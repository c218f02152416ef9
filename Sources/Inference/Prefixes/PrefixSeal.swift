// What one tenant's prefixes are found by and sealed with: random, in memory only, and new on an interval.
internal import CSeal
internal import Platform

/// Names the first tokens of a text for one tenant and one model; without the tenant's salt it tells nothing.
struct PrefixDigest: Hashable, Sendable {
    let high: UInt64
    let low: UInt64
}

struct PrefixSeal: Sendable {
    /// Tokens that a digest goes on by.
    static let block = 64

    /// For digests.
    private let salt: [UInt8]
    /// For files.
    private let key: [UInt8]
    let born: MonotonicTime

    init(born: MonotonicTime) {
        self.born = born
        salt = Self.random()
        key = Self.random()
    }

    private static func random() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(CSEAL_KEY))
        // Without randomness there is no secret, and no way to go on.
        guard unsafe cseal_random(&bytes, bytes.count) == 1 else { fatalError("OpenSSL has no random bytes") }
        return bytes
    }

    /// One digest for each whole block of `tokens`: each stands for all tokens up to its end.
    func digests(of tokens: ArraySlice<Int32>, model: String) -> [PrefixDigest] {
        var last = mac(Array(model.utf8))
        var digests: [PrefixDigest] = []
        var begin = tokens.startIndex
        while tokens.endIndex - begin >= Self.block {
            var text = last
            for token in tokens[begin..<begin + Self.block] {
                for shift in stride(from: 0, to: 32, by: 8) { text.append(UInt8(truncatingIfNeeded: token >> shift)) }
            }
            last = mac(text)
            digests.append(PrefixDigest(high: Self.number(last[..<8]), low: Self.number(last[8..<16])))
            begin += Self.block
        }
        return digests
    }

    private func mac(_ bytes: [UInt8]) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: Int(CSEAL_MAC))
        guard unsafe cseal_mac(salt, bytes, bytes.count, &out) == 1 else {
            fatalError("OpenSSL has no memory for an HMAC")
        }
        return out
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }

    /// - Parameter name: what it is; it opens under the same name only.
    /// - Returns: nil when OpenSSL has no memory.
    func seal(_ state: [UInt8], name: String) -> [UInt8]? {
        let bound = Array(name.utf8)
        var sealed = [UInt8](repeating: 0, count: state.count + Int(CSEAL_OVERHEAD))
        return unsafe cseal_seal(key, bound, bound.count, state, state.count, &sealed) == 1 ? sealed : nil
    }

    /// Nil when not one bit may be trusted.
    func open(_ sealed: [UInt8], name: String) -> [UInt8]? {
        guard sealed.count >= Int(CSEAL_OVERHEAD) else { return nil }
        let bound = Array(name.utf8)
        var state = [UInt8](repeating: 0, count: sealed.count - Int(CSEAL_OVERHEAD))
        return unsafe cseal_open(key, bound, bound.count, sealed, sealed.count, &state) == 1 ? state : nil
    }
}

/// The seals of all tenants.
struct PrefixSeals {
    /// Nanoseconds.
    let lifetime: UInt64
    private var seals: [String: PrefixSeal] = [:]

    init(lifetimeNanoseconds: UInt64) { lifetime = lifetimeNanoseconds }

    /// The tenant's seal; a new one when it has none.
    mutating func seal(of tenant: String, now: MonotonicTime) -> PrefixSeal {
        if let seal = seals[tenant] { return seal }
        let seal = PrefixSeal(born: now)
        seals[tenant] = seal
        return seal
    }

    /// Tenants whose seal is past its time.
    func expired(now: MonotonicTime) -> [String] { seals.filter { now.since($0.value.born) >= lifetime }.map(\.key) }

    /// When the next one will be.
    var nextExpiry: MonotonicTime? { seals.values.map { $0.born.adding(nanoseconds: lifetime) }.min() }

    mutating func forget(_ tenant: String) { seals[tenant] = nil }
}
