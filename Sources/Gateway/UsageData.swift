// What the usage ledger holds of a tenant, as deleting the tenant sees it.
package import Core
package import Ledger

package struct UsageData: TenantData {
    private let ledger: UsageLedger

    package init(_ ledger: UsageLedger) { self.ledger = ledger }

    package var name: String { "usage" }
    package func erase(_ tenant: String) throws(RuntimeError) -> Int { try ledger.erase(tenant) }
}
