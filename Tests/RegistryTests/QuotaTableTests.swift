// What was taken of quotas, on the disk: tables of older programs are read, owners apart, and what is gone is gone.
import Core
import Storage
import TestSupport
import Testing

@testable import Registry

@Suite struct QuotaTableTests {
    @Test func theTableOfTenantsAloneIsStillRead() throws {
        let scratch = try Scratch()
        defer { withExtendedLifetime(scratch) {} }
        do {
            let database = try Database(path: scratch.file("quotas.db"))
            try database.run(
                """
                CREATE TABLE quota (
                    tenant TEXT NOT NULL, meter TEXT NOT NULL, window INTEGER NOT NULL, taken INTEGER NOT NULL,
                    PRIMARY KEY (tenant, meter)) STRICT, WITHOUT ROWID
                """)
            try database.run("INSERT INTO quota VALUES ('acme','tokens_total',0,77)")
        }
        let rows = try QuotaTable(stateDirectory: scratch.path).load()
        #expect(
            rows.map { "\($0)" } == [#"(level: "tenant", owner: "acme", meter: "tokens_total", window: 0, taken: 77)"#])
        #expect(try QuotaTable(stateDirectory: scratch.path).load().count == 1, "opened again")
    }

    @Test func ownersOfOneNameAreApartAndGoOneByOne() throws {
        let scratch = try Scratch()
        defer { withExtendedLifetime(scratch) {} }
        let table = try QuotaTable(stateDirectory: scratch.path)
        try table.write([
            ("tenant", "a", "m", 1, 5), ("key", "a", "m", 1, 6), ("key", "a", "n", 1, 7), ("platform", "", "m", 1, 8),
        ])
        try table.write([("key", "a", "m", 2, 9)])
        #expect(try table.load().map(\.taken).sorted() == [5, 7, 8, 9])
        try table.remove([("key", "a"), ("key", "nobody")])
        #expect(try table.load().map(\.taken).sorted() == [5, 8])
    }
}

@Suite struct KeyAccountTests {
    private func key(_ number: UInt64, quotas: ModelQuotas? = nil) -> KeyRecord {
        KeyRecord(
            hash: KeyHash((number, 2, 3, 4)), tenant: "acme", role: .invoker, quotas: quotas, createdAt: 1)
    }

    @Test func aKeysQuotasAndWhoseAccountItGoesOnWithAreKept() throws {
        let scratch = try Scratch()
        defer { withExtendedLifetime(scratch) {} }
        let first = key(
            1, quotas: ModelQuotas([.tokensPerDay: 1000, .deviceSecondsPerDay: 1_500_000_000], requestsAtOnce: 3))
        let second = first.replaced(byHash: KeyHash((9, 2, 3, 4)), now: 5)
        let third = second.replaced(byHash: KeyHash((10, 2, 3, 4)), now: 6)
        do {
            let registry = try Registry(stateDirectory: scratch.path)
            try registry.createTenant(Tenant(name: "acme", createdAt: 1))
            try registry.addKey(first)
            try registry.replaceKey(first, by: second)
            try registry.replaceKey(second, by: third)
            try registry.revokeKey(first)
        }
        let keys = try Registry(stateDirectory: scratch.path).snapshot.keys(of: "acme")
        #expect(keys == [second, third] && keys.allSatisfy { $0.account == first.id && $0.quotas == first.quotas })
    }

    @Test func aChangeOfLimitsIsKeptAndTakenBack() throws {
        let scratch = try Scratch()
        defer { withExtendedLifetime(scratch) {} }
        var one = key(1)
        let registry = try Registry(stateDirectory: scratch.path)
        try registry.createTenant(Tenant(name: "acme", createdAt: 1))
        try registry.addKey(one)
        try one.bound(.object(["tokens_total": .integer(5), "concurrency": .integer(2)]), step: "s")
        try registry.changeKey(one)
        let principal = registry.snapshot.keys[one.hash]?.principal
        #expect(principal?.quotas == ModelQuotas([.tokensTotal: 5]) && principal?.limits?.concurrency == 2)
        try one.bound(.object([:]), step: "s")
        try registry.changeKey(one)
        #expect(registry.snapshot.keys[one.hash]?.principal.quotas == nil)
        #expect(registry.snapshot.keys[one.hash]?.principal.limits == nil)
    }

    @Test(arguments: [
        ("memory_mb", "memory_mb"), ("weight", "weight"), ("tokens", "tokens"), ("storage_mb", "storage_mb"),
    ]) func whatNoKeyHasIsNamed(_ member: String, _ word: String) {
        var one = key(1)
        do throws(RuntimeError) {
            try one.bound(.object([member: .integer(1)]), step: "s")
            Issue.record("\(member) was taken")
        } catch {
            #expect(error.description.contains(word) && !error.next.isEmpty && one.quotas == nil)
        }
    }
}
