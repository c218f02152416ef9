// What the benchmarks of cold starts and of fresh processes call: decodes JSON, encodes JSON.
import SwiftletKit

struct Bench: Handler {
    struct Order: Decodable {
        let customer: String
        let count: Int
        let prices: [Double]
    }
    struct Receipt: Encodable {
        let customer: String
        let total: Double
    }

    func respond(to request: Request, context: Context) async throws -> Response {
        let order = try await request.json(Order.self)
        let total = order.prices.reduce(0, +) * Double(order.count)
        return try Response(json: Receipt(customer: order.customer, total: total))
    }
}
