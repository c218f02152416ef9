// What a caller may do, and which role may do what: the one table of permissions. Gateway/Route.swift says what each route needs.

package enum Permission: UInt16, Sendable, CaseIterable {
    /// Call functions.
    case invoke
    /// Call models.
    case infer
    /// See functions, keys without their secrets, limits and usage.
    case read
    /// See what functions wrote.
    case readLogs
    /// Publish and remove functions.
    case deploy
    /// Set and remove secrets; nobody reads one.
    case manageSecrets
    /// Make and revoke the tenant's keys, say whose signatures it trusts, export it.
    case manageTenant
    /// See the host: workers, models, metrics, all tenants.
    case readPlatform
    /// Publish models, name their versions, suspend and resume tenants, change their limits.
    case operate
    /// Create, import and delete tenants; make and revoke the platform's keys.
    case administer
    /// See the tenant's part of the audit log.
    case readAudit
}

/// A set of permissions in one word.
package struct Permissions: OptionSet, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package init(_ list: [Permission]) { rawValue = list.reduce(0) { $0 | 1 << $1.rawValue } }

    package static let all = Permissions(Permission.allCases)

    package func contains(_ one: Permission) -> Bool { rawValue & 1 << one.rawValue != 0 }
}

/// What a caller is. The raw value is its name in files, errors and answers.
package enum Role: String, Sendable, CaseIterable {
    case platformAdmin = "platform_admin"
    case platformOperator = "platform_operator"
    case platformViewer = "platform_viewer"
    case tenantAdmin = "tenant_admin"
    case developer
    case invoker
    case viewer

    package var isPlatform: Bool {
        switch self {
        case .platformAdmin, .platformOperator, .platformViewer: true
        case .tenantAdmin, .developer, .invoker, .viewer: false
        }
    }

    /// A platform's role holds in every tenant, a tenant's in that tenant only.
    package var permissions: Permissions {
        switch self {
        case .platformAdmin: .all
        case .platformOperator: Permissions([.read, .readLogs, .readPlatform, .operate, .readAudit])
        case .platformViewer: Permissions([.read, .readPlatform, .readAudit])
        case .tenantAdmin:
            Permissions([.invoke, .infer, .read, .readLogs, .deploy, .manageSecrets, .manageTenant, .readAudit])
        case .developer: Permissions([.invoke, .infer, .read, .readLogs, .deploy, .manageSecrets])
        case .invoker: Permissions([.invoke, .infer])
        case .viewer: Permissions([.read, .readLogs])
        }
    }
}

/// What a key may be narrowed to, within its role.
package enum Scope: String, Sendable, CaseIterable {
    case invoke, deploy, read, admin

    package var permissions: Permissions {
        switch self {
        case .invoke: Permissions([.invoke, .infer])
        case .deploy: Permissions([.deploy, .read])
        case .read: Permissions([.read, .readLogs, .readPlatform, .readAudit])
        case .admin: .all
        }
    }
}
