// The matrix of routes and roles: a route without a row fails, and so does a row that the code doesn't follow.
import Core
import Testing

@testable import Gateway

/// Who may use a route of tenant "a": by role, at home in "a" when it is a tenant's.
private let everyRole = Set(Role.allCases)
private let tenantRoles: Set<Role> = [.tenantAdmin, .developer, .invoker, .viewer]
private let platformRoles: Set<Role> = [.platformAdmin, .platformOperator, .platformViewer]
private let callers: Set<Role> = [.platformAdmin, .tenantAdmin, .developer, .invoker]
private let readers: Set<Role> = platformRoles.union([.tenantAdmin, .developer, .viewer])
private let logReaders: Set<Role> = [.platformAdmin, .platformOperator, .tenantAdmin, .developer, .viewer]
private let deployers: Set<Role> = [.platformAdmin, .tenantAdmin, .developer]
private let tenantManagers: Set<Role> = [.platformAdmin, .tenantAdmin]
private let operators: Set<Role> = [.platformAdmin, .platformOperator]
private let admins: Set<Role> = [.platformAdmin]

private let matrix: [Route: Set<Role>] = [
    .health: everyRole, .ready: everyRole, .tensorHealth: everyRole, .openAPI: everyRole, .whoAmI: everyRole,
    .chatCompletions: callers, .completions: callers, .embeddings: callers, .rerank: callers, .tokenize: callers,
    .detokenize: callers, .messages: callers, .countTokens: callers, .otherMessages: callers, .responses: callers,
    .otherResponses: callers, .models: callers, .tensors: callers, .function: callers,
    .listFunctions: readers, .showTenant: readers, .listKeys: readers, .readLog: logReaders, .showUsage: readers,
    .deploy: deployers, .deployNamed: deployers, .removeFunction: deployers,
    .createKey: tenantManagers, .changeKey: tenantManagers, .rotateKey: tenantManagers, .revokeKey: tenantManagers,
    .listTrustedKeys: readers, .readBillOfMaterials: readers, .trustKey: tenantManagers, .distrustKey: tenantManagers,
    .setUnsigned: tenantManagers, .listPlatformTrustedKeys: platformRoles, .trustPlatformKey: admins,
    .distrustPlatformKey: admins,
    .listSecrets: readers, .listFunctionSecrets: readers, .setSecret: deployers, .removeSecret: deployers,
    .setFunctionSecret: deployers, .removeFunctionSecret: deployers, .rotateDataKey: tenantManagers,
    .metrics: platformRoles, .listWorkers: platformRoles, .describeHost: platformRoles, .listModels: platformRoles,
    .listAudit: platformRoles, .showAuditHead: platformRoles, .verifyAudit: platformRoles,
    .listTenantAudit: platformRoles.union([.tenantAdmin]),
    .listTenants: platformRoles, .listPlatformKeys: platformRoles,
    .setAlias: operators, .removeAlias: operators, .changeTenant: operators,
    .createTenant: admins, .deleteTenant: admins, .importTenant: admins, .exportTenant: tenantManagers,
    .createPlatformKey: admins, .changePlatformKey: admins, .rotatePlatformKey: admins, .revokePlatformKey: admins,
]

/// Routes that touch nobody's things but the caller's own: a caller of another tenant uses them as well.
private let own: Set<Route> = [
    .health, .ready, .tensorHealth, .openAPI, .whoAmI, .chatCompletions, .completions, .embeddings, .rerank, .tokenize,
    .detokenize, .messages, .countTokens, .otherMessages,
    .responses, .otherResponses, .models, .tensors, .listFunctions, .showUsage,
]

private func principal(_ role: Role, of tenant: String) -> Principal {
    Principal(id: "key:test", tenant: role.isPlatform ? nil : tenant, role: role)
}

private func refusal(_ route: Route, _ principal: Principal, tenant: String) -> RuntimeError? {
    if route == .function {
        return Authorization.refusal(FunctionKey(tenant: tenant, name: "f"), .key, principal)
    }
    return Authorization.refusal(route, principal, tenant: route.shape.path.contains("{tenant}") ? tenant : nil)
}

@Suite struct RouteTests {
    @Test(arguments: Route.allCases) func eachRoleMayWhatTheMatrixSays(_ route: Route) throws {
        let allowed = try #require(matrix[route], "\(route) has no row in the matrix")
        for role in Role.allCases {
            let refusal = refusal(route, principal(role, of: "a"), tenant: "a")
            #expect(
                (refusal == nil) == allowed.contains(role),
                "\(role) at \(route): \(refusal.map { "\($0)" } ?? "let in")")
            if let refusal { #expect(refusal.code == .forbidden) }
        }
    }

    @Test(arguments: Route.allCases) func nobodyOfAnotherTenantIsLetIn(_ route: Route) {
        for role in tenantRoles {
            let isAllowed = refusal(route, principal(role, of: "b"), tenant: "a") == nil
            #expect(!isAllowed || own.contains(route), "\(role) of b at \(route) of a")
        }
    }

    @Test(arguments: Route.allCases) func whoIsUnknownIsAskedForAKey(_ route: Route) {
        let code = refusal(route, .anonymous, tenant: "a")?.code
        #expect(code == ([.health, .ready, .tensorHealth, .openAPI].contains(route) ? nil : .unauthorized))
    }

    @Test func noTenantTouchesThePlatformsOwn() {
        for role in tenantRoles {
            for route in Route.allCases where route.shape.path.contains("{tenant}") && route != .function {
                #expect(
                    refusal(route, principal(role, of: "a"), tenant: Deployment.platform) != nil, "\(role) \(route)")
            }
        }
        // Models are the operator's.
        #expect(refusal(.deploy, principal(.platformOperator, of: ""), tenant: Deployment.platform) == nil)
        #expect(refusal(.deploy, principal(.platformViewer, of: ""), tenant: Deployment.platform) != nil)
        #expect(refusal(.deploy, principal(.platformOperator, of: ""), tenant: "a") != nil)
    }

    @Test func scopesNarrowARoleAndNeverWidenIt() {
        for role in Role.allCases {
            for scope in Scope.allCases {
                let key = KeyRecord(hash: KeyHash((1, 2, 3, 4)), tenant: nil, role: role, scopes: [scope], createdAt: 0)
                #expect(role.permissions.isSuperset(of: key.permissions))
            }
            #expect(
                KeyRecord(hash: KeyHash((1, 2, 3, 4)), tenant: nil, role: role, scopes: [], createdAt: 0).permissions
                    == [])
            #expect(
                KeyRecord(hash: KeyHash((1, 2, 3, 4)), tenant: nil, role: role, scopes: [.admin], createdAt: 0)
                    .permissions
                    == role.permissions)
        }
    }

    @Test func aFunctionSaysWhoMayCallIt() {
        let key = FunctionKey(tenant: "a", name: "f")
        func code(_ access: Manifest.Access?, _ principal: Principal) -> RuntimeError.Code? {
            Authorization.refusal(key, access, principal)?.code
        }
        #expect(code(.everybody, .anonymous) == nil)
        #expect(code(.key, .anonymous) == .unauthorized)
        #expect(code(.token, principal(.invoker, of: "a")) == .forbidden)
        #expect(code(.token, Principal(id: "jwt:x", tenant: "a", role: .invoker)) == nil)
        #expect(code(.token, Principal(id: "jwt:x", tenant: "b", role: .invoker)) == .forbidden)
        let narrow = Principal(id: "key:x", tenant: "a", role: .invoker, functions: [NamePattern("g*")!])
        #expect(code(.key, narrow) == .forbidden)
        // What isn't there is refused in the same words as what is another's.
        #expect(
            Authorization.refusal(key, nil, principal(.invoker, of: "b"))
                == Authorization.refusal(key, .key, principal(.invoker, of: "b")))
        #expect(Authorization.refusal(key, nil, .anonymous) == Authorization.refusal(key, .key, .anonymous))
    }

    @Test(arguments: [
        ("GET", "/admin/v1/tenants/a/keys", "listKeys"), ("DELETE", "/admin/v1/tenants/a", "deleteTenant"),
        ("POST", "/admin/v1/deployments/a/f", "deployNamed"), ("GET", "/admin/v1/tenants//keys", nil),
        ("GET", "/admin/v1/tenants/a/keys/", nil), ("GET", "//admin/v1/tenants", nil), ("GET", "/admin/v1", nil),
        ("GET", "/admin/V1/tenants", nil), ("GET", "/admin/v1/tenants/a/../b", nil), ("PUT", "/admin/v1/tenants", nil),
        ("GET", "/admin/v1/%74enants", nil),
    ]) func pathsAreFoundAsTheyAreWritten(_ method: String, _ path: String, _ name: String?) {
        let found = try? RouteMatch.admin(method, path).get()
        #expect(found?.route.rawValue == name)
    }
}
