// What the benchmarks of Swift handlers call: decodes JSON, encodes JSON; `?hold=MS` keeps its worker busy for that long.
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
        if let hold = request.query["hold"].flatMap({ Int($0) }) { try await Task.sleep(for: .milliseconds(hold)) }
        let order = try await request.json(Order.self)
        let total = order.prices.reduce(0, +) * Double(order.count)
        return try Response(json: Receipt(customer: order.customer, total: total))
    }
}
