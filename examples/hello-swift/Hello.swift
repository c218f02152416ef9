// The smallest Swift handler: greets whoever the query names.
import SwiftletKit

struct Hello: Handler {
    func respond(to request: Request, context: Context) async throws -> Response {
        let name = request.query["name"] ?? "world"
        context.log.info("greeting \(name)")
        return Response(text: "hello \(name)\n")
    }
}
