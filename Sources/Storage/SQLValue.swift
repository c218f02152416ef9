// What goes into a statement and comes out of a row: SQLite's five storage classes.

/// One bound parameter.
package enum SQLValue: Sendable, Equatable {
    case null
    case integer(Int64)
    case real(Double)
    case text(String)
    case blob([UInt8])

    package init(_ text: String?) { self = text.map { .text($0) } ?? .null }
    package init(_ integer: Int64?) { self = integer.map { .integer($0) } ?? .null }
    /// SQLite's integers are signed: a count that doesn't fit is stored as the greatest that does.
    package init(_ count: UInt64?) { self = count.map { .integer(Int64(clamping: $0)) } ?? .null }
    package init(_ flag: Bool) { self = .integer(flag ? 1 : 0) }
}

extension SQLValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
    package init(stringLiteral text: String) { self = .text(text) }
    package init(integerLiteral integer: Int64) { self = .integer(integer) }
}
