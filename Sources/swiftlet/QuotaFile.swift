// quotas.db behind the keeper of quotas: its owners and meters as words, and back.
internal import Core
internal import Inference
internal import Registry

/// Used from the models' loop, once that runs.
struct QuotaFile: QuotaStore {
    private let table: QuotaTable

    /// - Parameter stateDirectory: one that the registry has claimed.
    init(stateDirectory: String) throws { table = try QuotaTable(stateDirectory: stateDirectory) }

    /// What an earlier life of the host wrote.
    ///
    /// - Parameter accounts: of the keys that there are; a host may have ended before it forgot what others took.
    func load(accounts: Set<String>) throws -> [QuotaRow] {
        let rows = try table.load().compactMap { row in
            Self.owner(row.level, row.owner).flatMap { owner in
                QuotaMeter(rawValue: row.meter).map {
                    QuotaRow(owner: owner, meter: $0, window: row.window, taken: row.taken)
                }
            }
        }
        let gone = rows.map(\.owner).filter { owner in
            if case .key(let account) = owner { !accounts.contains(account) } else { false }
        }
        try forget(Set(gone))
        return rows.filter { !gone.contains($0.owner) }
    }

    func write(_ rows: [QuotaRow]) throws(RuntimeError) {
        try table.write(
            rows.map { row in
                let (level, owner) = Self.words(row.owner)
                return (level, owner, row.meter.rawValue, row.window, row.taken)
            })
    }

    func forget(_ owners: Set<QuotaOwner>) throws(RuntimeError) {
        guard !owners.isEmpty else { return }
        try table.remove(owners.map(Self.words))
    }

    private static func words(_ owner: QuotaOwner) -> (level: String, owner: String) {
        switch owner {
        case .platform: (owner.level.rawValue, "")
        case .tenant(let name), .key(let name): (owner.level.rawValue, name)
        }
    }

    private static func owner(_ level: String, _ name: String) -> QuotaOwner? {
        switch LimitLevel(rawValue: level) {
        case .platform: .platform
        case .tenant: .tenant(name)
        case .key: .key(name)
        default: nil
        }
    }
}
