// Every route there is, as one list: its method, its path, and what a caller must be allowed to do. Caller.swift comes next.
internal import Core

/// What a request asks for. A new route gets a row here, and the switches that follow don't compile without it.
enum Route: String, CaseIterable {
    // Anybody
    case health, ready, tensorHealth, openAPI
    // Functions and models
    case function, chatCompletions, completions, embeddings, rerank, tokenize, detokenize, messages, countTokens
    case otherMessages, responses, otherResponses, models, tensors
    // A tenant's own
    case whoAmI, listFunctions, deploy, deployNamed, removeFunction, readLog
    case showUsage
    case showTenant, listKeys, createKey, changeKey, rotateKey, revokeKey
    case listTrustedKeys, trustKey, distrustKey, setUnsigned, readBillOfMaterials
    case listSecrets, setSecret, removeSecret, listFunctionSecrets, setFunctionSecret, removeFunctionSecret,
        rotateDataKey
    // The platform's
    case metrics, listWorkers, describeHost, listModels, setAlias, removeAlias
    case listTenants, createTenant, changeTenant, deleteTenant, exportTenant, importTenant
    case listAudit, showAuditHead, verifyAudit, listTenantAudit
    case listPlatformKeys, createPlatformKey, changePlatformKey, rotatePlatformKey, revokePlatformKey
    case listPlatformTrustedKeys, trustPlatformKey, distrustPlatformKey
}

extension Route {
    /// Who may ask.
    enum Access {
        case everybody
        /// Anyone with a tenant or a role.
        case known
        case permission(Permission)
        /// What the function's manifest says.
        case function
    }

    var access: Access {
        switch self {
        case .health, .ready, .tensorHealth, .openAPI: .everybody
        case .whoAmI: .known
        case .function: .function
        case .chatCompletions, .completions, .embeddings, .rerank, .tokenize, .detokenize, .messages, .countTokens,
            .otherMessages, .responses, .otherResponses, .models, .tensors:
            .permission(.infer)
        case .listFunctions, .showTenant, .listKeys, .showUsage: .permission(.read)
        case .listSecrets, .listFunctionSecrets: .permission(.read)
        case .setSecret, .removeSecret, .setFunctionSecret, .removeFunctionSecret: .permission(.manageSecrets)
        case .rotateDataKey: .permission(.manageTenant)
        case .readLog: .permission(.readLogs)
        case .listTenantAudit: .permission(.readAudit)
        case .listAudit, .showAuditHead, .verifyAudit: .permission(.readPlatform)
        case .deploy, .deployNamed, .removeFunction: .permission(.deploy)
        case .createKey, .changeKey, .rotateKey, .revokeKey, .exportTenant: .permission(.manageTenant)
        case .listTrustedKeys, .readBillOfMaterials: .permission(.read)
        case .trustKey, .distrustKey, .setUnsigned: .permission(.manageTenant)
        case .listPlatformTrustedKeys: .permission(.readPlatform)
        case .trustPlatformKey, .distrustPlatformKey: .permission(.administer)
        case .metrics, .listWorkers, .describeHost, .listModels, .listTenants, .listPlatformKeys:
            .permission(.readPlatform)
        case .setAlias, .removeAlias, .changeTenant: .permission(.operate)
        case .createTenant, .deleteTenant, .importTenant, .createPlatformKey, .changePlatformKey, .rotatePlatformKey,
            .revokePlatformKey:
            .permission(.administer)
        }
    }

    /// What is needed in the platform's own namespace, where the models live.
    static func platformPermission(_ permission: Permission) -> Permission {
        switch permission {
        case .deploy, .manageSecrets: .operate
        case .manageTenant: .administer
        case .read, .readLogs, .readAudit: .readPlatform
        case .invoke, .infer, .readPlatform, .operate, .administer: permission
        }
    }

    /// Method and path. `{name}` stands for one part of a path; nil: any method, and whatever is below the path.
    var shape: (method: String?, path: String) {
        switch self {
        case .health: (nil, "/healthz")
        case .ready: (nil, "/readyz")
        case .tensorHealth: (nil, "/v2/health")
        case .openAPI: ("GET", "/openapi.json")
        case .function: (nil, "/fn/{tenant}/{function}")
        case .chatCompletions: ("POST", "/v1/chat/completions")
        case .completions: ("POST", "/v1/completions")
        case .embeddings: ("POST", "/v1/embeddings")
        case .rerank: ("POST", "/v1/rerank")
        case .tokenize: ("POST", "/tokenize")
        case .detokenize: ("POST", "/detokenize")
        case .messages: ("POST", "/v1/messages")
        case .countTokens: ("POST", "/v1/messages/count_tokens")
        case .otherMessages: (nil, "/v1/messages/{rest}")
        case .responses: ("POST", "/v1/responses")
        case .otherResponses: (nil, "/v1/responses/{rest}")
        case .models: ("GET", "/v1/models")
        case .tensors: (nil, "/v2")
        case .metrics: ("GET", "/metrics")
        case .whoAmI: ("GET", "/admin/v1/whoami")
        case .listFunctions: ("GET", "/admin/v1/functions")
        case .showUsage: ("GET", "/admin/v1/usage")
        case .deploy: ("POST", "/admin/v1/deployments/{tenant}")
        case .deployNamed: ("POST", "/admin/v1/deployments/{tenant}/{function}")
        case .removeFunction: ("DELETE", "/admin/v1/functions/{tenant}/{function}")
        case .readLog: ("GET", "/admin/v1/logs/{tenant}/{function}")
        case .listWorkers: ("GET", "/admin/v1/workers")
        case .describeHost: ("GET", "/admin/v1/host")
        case .listModels: ("GET", "/admin/v1/models")
        case .setAlias: ("PUT", "/admin/v1/models/{model}/aliases/{alias}")
        case .removeAlias: ("DELETE", "/admin/v1/models/{model}/aliases/{alias}")
        case .listTenants: ("GET", "/admin/v1/tenants")
        case .createTenant: ("POST", "/admin/v1/tenants")
        case .showTenant: ("GET", "/admin/v1/tenants/{tenant}")
        case .changeTenant: ("PATCH", "/admin/v1/tenants/{tenant}")
        case .deleteTenant: ("DELETE", "/admin/v1/tenants/{tenant}")
        case .exportTenant: ("GET", "/admin/v1/tenants/{tenant}/export")
        case .importTenant: ("POST", "/admin/v1/tenants/import")
        case .listKeys: ("GET", "/admin/v1/tenants/{tenant}/keys")
        case .createKey: ("POST", "/admin/v1/tenants/{tenant}/keys")
        case .changeKey: ("PATCH", "/admin/v1/tenants/{tenant}/keys/{key}")
        case .rotateKey: ("POST", "/admin/v1/tenants/{tenant}/keys/{key}/rotate")
        case .revokeKey: ("DELETE", "/admin/v1/tenants/{tenant}/keys/{key}")
        case .listTrustedKeys: ("GET", "/admin/v1/tenants/{tenant}/trusted-keys")
        case .trustKey: ("PUT", "/admin/v1/tenants/{tenant}/trusted-keys/{keyid}")
        case .distrustKey: ("DELETE", "/admin/v1/tenants/{tenant}/trusted-keys/{keyid}")
        case .setUnsigned: ("PUT", "/admin/v1/tenants/{tenant}/unsigned")
        case .readBillOfMaterials: ("GET", "/admin/v1/functions/{tenant}/{function}/sbom")
        case .listPlatformTrustedKeys: ("GET", "/admin/v1/trusted-keys")
        case .trustPlatformKey: ("PUT", "/admin/v1/trusted-keys/{keyid}")
        case .distrustPlatformKey: ("DELETE", "/admin/v1/trusted-keys/{keyid}")
        case .listAudit: ("GET", "/admin/v1/audit")
        case .showAuditHead: ("GET", "/admin/v1/audit/head")
        case .verifyAudit: ("GET", "/admin/v1/audit/verify")
        case .listTenantAudit: ("GET", "/admin/v1/tenants/{tenant}/audit")
        case .listSecrets: ("GET", "/admin/v1/tenants/{tenant}/secrets")
        case .setSecret: ("PUT", "/admin/v1/tenants/{tenant}/secrets/{secret}")
        case .removeSecret: ("DELETE", "/admin/v1/tenants/{tenant}/secrets/{secret}")
        case .listFunctionSecrets: ("GET", "/admin/v1/tenants/{tenant}/functions/{function}/secrets")
        case .setFunctionSecret: ("PUT", "/admin/v1/tenants/{tenant}/functions/{function}/secrets/{secret}")
        case .removeFunctionSecret: ("DELETE", "/admin/v1/tenants/{tenant}/functions/{function}/secrets/{secret}")
        case .rotateDataKey: ("POST", "/admin/v1/tenants/{tenant}/data-key/rotate")
        case .listPlatformKeys: ("GET", "/admin/v1/keys")
        case .createPlatformKey: ("POST", "/admin/v1/keys")
        case .changePlatformKey: ("PATCH", "/admin/v1/keys/{key}")
        case .rotatePlatformKey: ("POST", "/admin/v1/keys/{key}/rotate")
        case .revokePlatformKey: ("DELETE", "/admin/v1/keys/{key}")
        }
    }

    /// True for what changes something of the host's, or takes all of a tenant's away: the audit has each one.
    var isAct: Bool { isAdmin && shape.method != "GET" || self == .exportTenant }

    var isAdmin: Bool { shape.path.hasPrefix("/admin/") }
}

/// Which route a request means.
struct RouteMatch {
    let route: Route
    /// What stands at `{name}` in its path; as it was sent, since no name that is valid needs an escape.
    let names: [String: String]

    var tenant: String? { names["tenant"] }

    enum Failure: Error {
        case noSuchRoute
        /// There is such a path; these methods it has.
        case method(allowed: [String])
    }

    /// Finds the admin routes; those that are called all the time are told by Gateway.
    static func admin(_ method: String, _ path: String) -> Result<RouteMatch, Failure> {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        var allowed: [String] = []
        for (route, shape) in table {
            guard let names = names(parts, shape) else { continue }
            let wanted = route.shape.method ?? method
            if wanted == method { return .success(RouteMatch(route: route, names: names)) }
            allowed.append(wanted)
        }
        return .failure(allowed.isEmpty ? .noSuchRoute : .method(allowed: allowed))
    }

    private static let table = Route.allCases.filter(\.isAdmin).map {
        ($0, $0.shape.path.split(separator: "/", omittingEmptySubsequences: false))
    }

    private static func names(_ parts: [Substring], _ shape: [Substring]) -> [String: String]? {
        guard parts.count == shape.count else { return nil }
        var names: [String: String] = [:]
        for (part, wanted) in zip(parts, shape) {
            if wanted.hasPrefix("{") {
                guard !part.isEmpty else { return nil }
                names[String(wanted.dropFirst().dropLast())] = String(part)
            } else if part != wanted {
                return nil
            }
        }
        return names
    }
}

/// The routes as others may see them: for `swiftlet routes` and for tests that must miss none.
package enum RouteList {
    package struct Row: Sendable {
        package let name: String
        /// Nil: any.
        package let method: String?
        package let path: String
        /// `everybody`, `known`, `function`, or the name of a permission.
        package let needs: String
    }

    package static var rows: [Row] {
        Route.allCases.map { route in
            let needs =
                switch route.access {
                case .everybody: "everybody"
                case .known: "known"
                case .function: "function"
                case .permission(let permission): "\(permission)"
                }
            return Row(name: route.rawValue, method: route.shape.method, path: route.shape.path, needs: needs)
        }
    }
}
