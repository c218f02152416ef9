// Every error that leaves a module: which step failed, why, and what the reader can do next.

package struct RuntimeError: Error, Sendable, Equatable, CustomStringConvertible {
    package let code: Code
    /// What was being done, e.g. "manifest swiftlet.json5".
    package let step: String
    /// Why it did not work, with what was found.
    package let cause: String
    /// What the reader can do now.
    package let next: String
    /// The limit that refused it, when one did.
    package var limit: LimitHit?

    package init(_ code: Code, step: String, cause: String, next: String, limit: LimitHit? = nil) {
        self.limit = limit
        self.code = code
        self.step = step
        self.cause = cause
        self.next = next
    }

    package var description: String { "\(step): \(cause); \(next)" }

    package var httpStatus: Int { code.httpStatus }
}

extension RuntimeError {
    /// The raw value is stable: clients may test for it.
    package enum Code: String, Sendable, CaseIterable {
        case badRequest = "bad_request"
        case unauthorized
        case forbidden
        case notFound = "not_found"
        case methodNotAllowed = "method_not_allowed"
        case conflict
        case payloadTooLarge = "payload_too_large"
        case headerTooLarge = "header_too_large"
        case manifestInvalid = "manifest_invalid"
        case pluginInvalid = "plugin_invalid"
        case queueFull = "queue_full"
        /// Too much was asked for in too short a time.
        case rateLimited = "rate_limited"
        /// The tenant is not served until somebody resumes it.
        case tenantSuspended = "tenant_suspended"
        case handlerFailed = "handler_failed"
        case handlerCrashed = "handler_crashed"
        /// Its workers die faster than they may be replaced.
        case crashLoop = "crash_loop"
        case outOfMemory = "out_of_memory"
        case unavailable
        case timeout
        case internalError = "internal_error"
        case insufficientStorage = "insufficient_storage"

        package var name: String { rawValue }

        package var httpStatus: Int {
            switch self {
            case .badRequest: 400
            case .unauthorized: 401
            case .forbidden, .tenantSuspended: 403
            case .notFound: 404
            case .methodNotAllowed: 405
            case .conflict: 409
            case .payloadTooLarge: 413
            case .manifestInvalid, .pluginInvalid: 422
            case .queueFull, .rateLimited: 429
            case .headerTooLarge: 431
            case .internalError: 500
            case .handlerFailed, .handlerCrashed, .outOfMemory: 502
            case .unavailable, .crashLoop: 503
            case .timeout: 504
            case .insufficientStorage: 507
            }
        }
    }
}
