// What the density benchmark calls: a "hold" keeps its worker busy for so many milliseconds, so that all are there at once.
import SwiftletKit

struct Bench: Handler {
    func respond(to request: Request, context: Context) async throws -> Response {
        let order = try await request.json([String: Int].self)
        if let hold = order["hold"] { try await Task.sleep(for: .milliseconds(hold)) }
        return try Response(json: order)
    }
}
