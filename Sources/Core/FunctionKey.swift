// Who a function belongs to and what it is called; the key of every table about functions.

package struct FunctionKey: Hashable, Sendable, CustomStringConvertible {
    package let tenant: String
    package let name: String

    package init(tenant: String, name: String) {
        self.tenant = tenant
        self.name = name
    }

    package var description: String { "\(tenant)/\(name)" }
}
