// What a zygote runs once in a throw-away child, to learn which pages a tenant's first invocation will write to.
import SwiftletKit

struct Rehearsal: Handler {
    struct Order: Decodable {
        let name: String
        let count: Int
        let prices: [Double]
    }
    struct Receipt: Encodable {
        let name: String
        let total: Double
    }

    func respond(to request: Request, context: Context) async throws -> Response {
        let order = try await request.json(Order.self)
        await Task.yield()
        return try Response(json: Receipt(name: order.name, total: order.prices.reduce(0, +) * Double(order.count)))
    }
}
