// What compiling a schema may cost: honest large ones pass, bombs stop at the limit of work, and it is named.
@testable import Inference
import Testing

private func body(_ schema: String) -> String {
    ##"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":\##(schema)}}}"##
}

private func object(_ count: Int, _ schema: (Int) -> String, required: Bool = true) -> String {
    let properties = (0..<count).map { "\"p\($0)\":\(schema($0))" }.joined(separator: ",")
    let names = required ? (0..<count).map { "\"p\($0)\"" }.joined(separator: ",") : ""
    return "{\"type\":\"object\",\"properties\":{\(properties)},\"required\":[\(names)]}"
}

@Suite struct SchemaWorkTests {
    @Test(arguments: [
        object(500) { _ in "{\"type\":\"string\"}" },
        object(100, { _ in "{\"type\":\"string\"}" }, required: false),
        object(60, { "{\"type\":\"integer\",\"minimum\":\($0)}" }, required: false),
        object(20) { _ in object(20) { _ in "{\"type\":\"array\",\"items\":{\"enum\":[\"red\",\"green\",\"blue\"]}}" }
        },
        "{\"enum\":[\((0..<1000).map { "\"value number \($0)\"" }.joined(separator: ","))]}",
    ]) func aLargeHonestOneIsCompiled(_ schema: String) {
        #expect(refusal(body(schema)) == nil)
    }

    @Test(arguments: [
        object(6) { _ in object(490) { _ in "{\"type\":\"string\"}" } },
        "{\"type\":\"array\",\"prefixItems\":[\((0..<900).map { "{\"type\":\"integer\",\"minimum\":\(-100_000_000_000_000 - $0 * 7919),\"maximum\":\(100_000_000_000_000 + $0 * 104_729)}" }.joined(separator: ","))]}",
        "{\"oneOf\":[\((0..<100).map { one in object(24) { "{\"const\":\"\($0)-\(one)\"}" } }.joined(separator: ","))]}",
        "{\"type\":\"array\",\"prefixItems\":[\((0..<9).map { list in "{\"enum\":[\((0..<950).map { "\"\(list)-\($0)\"" }.joined(separator: ","))]}" }.joined(separator: ","))]}",
    ]) func aBombStopsAtTheLimitAndIsToldOfIt(_ schema: String) throws {
        let error = try #require(refusal(body(schema)))
        #expect(error.code == "invalid_json_schema" && error.param == "response_format")
        #expect(error.message.contains("more than \(GrammarLimits.work) steps"), "\(error.message)")
    }

    @Test func manyRequiredPropertiesComeInTheirOrder() throws {
        let schema = object(100) { "{\"const\":\($0)}" }
        let grammar = try GBNF(try #require(try chatRequest(body(schema)).options.grammar))
        let good = "{" + (0..<100).map { "\"p\($0)\": \($0)" }.joined(separator: ", ") + "}"
        #expect(grammar.spells(good))
        #expect(!grammar.spells(good.replacing("\"p70\": 70, ", with: "")))
        #expect(!grammar.spells(good.replacing("\"p99\": 99", with: "\"p98\": 98")))
    }

    /// Short names beside long ones that begin alike: a search through the values of the short ones would be without end.
    @Test func optionalPropertiesOfAnyNamesAreToldApart() {
        let plain = object(60, { "{\"type\":\"integer\",\"minimum\":\($0)}" }, required: false)
        var count = 0
        let schema = plain.replacing(/"p\d+"/) { name in
            defer { count += 1 }
            return count % 3 == 0 ? name.output : "\"customer_name_of_the_\(name.output.dropFirst())"
        }
        #expect(refusal(body(schema)) == nil)
    }
}
