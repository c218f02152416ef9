// What the benchmarks of Swift handlers call: decodes JSON, encodes JSON; `?hold=MS` keeps its worker busy for that long.
import SwiftletKit

struct Bench: Handler {
    struct Order: Decodable {
        let customer: String
        let lines: [Line]
        struct Line: Decodable {
            let name: String
            let count: Int
            let price: Double
        }
    }
    struct Receipt: Encodable {
        let customer: String
        let items: Int
        let total: Double
    }

    func respond(to request: Request, context: Context) async throws -> Response {
        if let hold = request.query["hold"].flatMap({ Int($0) }) { try await Task.sleep(for: .milliseconds(hold)) }
        let order = try await request.json(Order.self)
        let total = order.lines.reduce(0) { $0 + Double($1.count) * $1.price }
        return try Response(json: Receipt(customer: order.customer, items: order.lines.count, total: total))
    }
}
