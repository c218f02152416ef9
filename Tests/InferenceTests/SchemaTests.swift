// Schemas: what their grammars spell and don't, and that what can't be honoured is refused by name.
@testable import Inference
import TestSupport
import Testing

private func request(_ schema: String) -> String {
    ##"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"s","strict":true,"schema":\##(schema)}}}"##
}

private func grammar(_ schema: String) throws -> GBNF {
    try GBNF(try #require(try chatRequest(request(schema)).options.grammar))
}

private struct Case: CustomTestStringConvertible {
    var schema: String
    var good: [String]
    var bad: [String]
    var testDescription: String { schema }
}

private let cases: [Case] = [
    Case(
        schema: ##"{"type":"string"}"##, good: [##""""##, ##""a b""##, ##""\n\"é😀""##],
        bad: ["a", ##"""##, "\"\n\"", ##""a"b"##]),
    Case(
        schema: ##"{"type":"string","minLength":2,"maxLength":3}"##, good: [##""ab""##, ##""é😀\n""##],
        bad: [##""a""##, ##""abcd""##, "\"\"", ##""\u0041b""##]),
    Case(schema: ##"{"type":"string","minLength":2}"##, good: [##""ab""##, ##""abcdefgh""##], bad: [##""a""##]),
    Case(
        schema: ##"{"type":"integer"}"##, good: ["0", "-7", "1234567890123456"],
        bad: ["01", "1.0", "+1", "-", "", "1e3", "12345678901234567", " 1"]),
    Case(
        schema: ##"{"type":"number"}"##, good: ["0", "-7.25", "1e9", "1.5E-10"],
        bad: ["1.", ".5", "1e999", "00", "NaN"]),
    Case(
        schema: ##"{"type":"integer","minimum":-5,"maximum":12}"##, good: ["-5", "0", "9", "12"],
        bad: ["-6", "13", "-0", "05"]),
    Case(
        schema: ##"{"type":"integer","exclusiveMinimum":0,"maximum":1e2}"##, good: ["1", "42", "100"],
        bad: ["0", "101", "-1"]),
    Case(schema: ##"{"type":"integer","minimum":1.5,"exclusiveMaximum":3.5}"##, good: ["2", "3"], bad: ["1", "4"]),
    Case(schema: ##"{"type":"integer","maximum":-3}"##, good: ["-3", "-1000"], bad: ["-2", "0", "5"]),
    Case(
        schema: ##"{"type":"number","minimum":0,"exclusiveMaximum":2}"##, good: ["0", "0.5", "1", "1.99"],
        bad: ["2", "2.0", "-0.1", "10"]),
    Case(
        schema: ##"{"type":"number","exclusiveMinimum":-1,"maximum":1}"##, good: ["-0.5", "0", "0.25", "1", "1.0"],
        bad: ["-1", "-1.5", "1.1", "-2"]),
    Case(schema: ##"{"type":["boolean","null"]}"##, good: ["true", "false", "null"], bad: ["True", "0"]),
    Case(schema: ##"{"type":"string","nullable":true}"##, good: ["null", ##""x""##], bad: ["1"]),
    Case(
        schema: ##"{"enum":["a","ab",1,12,null,{"x":[1,"y"]}]}"##,
        good: [##""a""##, ##""ab""##, "1", "12", "null", ##"{"x": [1, "y"]}"##],
        bad: ["2", ##""b""##, "11"]),
    Case(schema: ##"{"type":"string","enum":["a",1]}"##, good: [##""a""##], bad: ["1"]),
    Case(schema: ##"{"const":"x\"y\n"}"##, good: [##""x\"y\n""##], bad: [##""x""##]),
    Case(
        schema:
            ##"{"type":"object","properties":{"b":{"type":"integer"},"a":{"type":"boolean"}},"required":["b","a"],"additionalProperties":false}"##,
        good: [##"{"b": 1, "a": true}"##],
        bad: [
            ##"{"a": true, "b": 1}"##, ##"{"b": 1}"##, ##"{"b":1, "a": true}"##, ##"{"b": 1, "a": true, "c": 2}"##,
            "{}",
        ]),
    Case(
        schema: ##"{"type":"object","properties":{"a":{"const":1},"b":{"const":2},"c":{"const":3}},"required":["b"]}"##,
        good: [##"{"b": 2}"##, ##"{"a": 1, "b": 2}"##, ##"{"b": 2, "c": 3}"##, ##"{"a": 1, "b": 2, "c": 3}"##],
        bad: ["{}", ##"{"a": 1}"##, ##"{"c": 3, "b": 2}"##, ##"{"b": 2, }"##, ##"{, "b": 2}"##]),
    Case(
        schema: ##"{"type":"object","properties":{"a":{"const":1},"b":{"const":2}}}"##,
        good: ["{}", ##"{"a": 1}"##, ##"{"b": 2}"##, ##"{"a": 1, "b": 2}"##], bad: [##"{"b": 2, "a": 1}"##]),
    Case(schema: ##"{"type":"object","additionalProperties":false}"##, good: ["{}"], bad: [##"{"a": 1}"##]),
    Case(
        schema: ##"{"type":"object","additionalProperties":{"type":"integer"}}"##,
        good: ["{}", ##"{"x": 1, "y": 2}"##],
        bad: [##"{"x": "1"}"##]),
    Case(
        schema: ##"{"type":"object"}"##, good: ["{}", ##"{"a": [1, {"b": null}], "c": "d"}"##],
        bad: ["[]", ##"{"a":1}"##]),
    Case(schema: "{}", good: ["1", "[]", ##"{"a": "b"}"##, "null"], bad: ["nul", "[1,2]"]),
    Case(
        schema: ##"{"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3}"##,
        good: ["[1]", "[1, 2, 3]"],
        bad: ["[]", "[1, 2, 3, 4]", "[1,2]", "[1, ]"]),
    Case(schema: ##"{"type":"array","maxItems":0}"##, good: ["[]"], bad: ["[1]"]),
    Case(
        schema: ##"{"type":"array","items":{"const":1},"minItems":2}"##, good: ["[1, 1]", "[1, 1, 1]"],
        bad: ["[1]", "[]"]),
    Case(
        schema: ##"{"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false}"##,
        good: [##"[1, "a"]"##],
        bad: ["[1]", ##"["a", 1]"##, ##"[1, "a", 2]"##]),
    Case(
        schema: ##"{"type":"array","prefixItems":[{"const":0}],"items":{"const":1},"maxItems":3}"##,
        good: ["[0]", "[0, 1]", "[0, 1, 1]"], bad: ["[]", "[0, 1, 1, 1]"]),
    Case(
        schema: ##"{"anyOf":[{"type":"integer"},{"type":"null"}],"description":"d","default":null}"##,
        good: ["3", "null"], bad: ["\"3\""]),
    Case(
        schema:
            ##"{"oneOf":[{"type":"object","properties":{"k":{"const":"a"},"x":{"type":"integer"}},"required":["k","x"]},{"type":"object","properties":{"k":{"const":"b"}},"required":["k"]}]}"##,
        good: [##"{"k": "a", "x": 1}"##, ##"{"k": "b"}"##], bad: [##"{"k": "b", "x": 1}"##, ##"{"k": "a"}"##]),
    Case(
        schema:
            ##"{"allOf":[{"$ref":"#/$defs/A"},{"type":"object","properties":{"b":{"const":2}},"required":["b"]}],"$defs":{"A":{"type":"object","properties":{"a":{"const":1}},"required":["a"]}}}"##,
        good: [##"{"a": 1, "b": 2}"##], bad: [##"{"a": 1}"##, ##"{"b": 2}"##]),
    Case(
        schema:
            ##"{"$ref":"#/$defs/N","$defs":{"N":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/N"},{"type":"null"}]}},"required":["v","next"]}}}"##,
        good: [##"{"v": 1, "next": null}"##, ##"{"v": 1, "next": {"v": 2, "next": null}}"##],
        bad: [##"{"v": 1, "next": 2}"##]),
    Case(
        schema: ##"{"type":"array","items":{"$ref":"#"}}"##, good: ["[]", "[[], [[]]]"], bad: ["[1]"]),
    Case(
        schema: ##"{"type":"string","pattern":"^[A-Z]{2}-\\d{2,3}(x|yz)?$"}"##,
        good: [##""AB-12""##, ##""AB-123yz""##], bad: [##""A-12""##, ##""AB-12y""##]),
    Case(
        schema: ##"{"type":"string","pattern":"^[^a-c\"]+\\.$"}"##, good: [##""xé.""##],
        bad: [##""a.""##, "\"x\\\".\"", ##"".""##]),
    Case(schema: ##"{"type":"string","pattern":"^\"\\\\$"}"##, good: [##""\"\\""##], bad: ["\"\"\\\""]),
    Case(
        schema: ##"{"type":"string","format":"date"}"##, good: [##""2024-02-28""##, ##""1999-12-31""##],
        bad: [##""2024-02-30""##, ##""2024-13-01""##, ##""2024-04-31""##, ##""24-01-01""##]),
    Case(
        schema: ##"{"type":"string","format":"date-time"}"##,
        good: [##""2024-02-28T23:59:59Z""##, ##""2024-01-01T00:00:00.25+02:00""##],
        bad: [##""2024-02-28 23:59:59Z""##, ##""2024-02-28T24:00:00Z""##, ##""2024-02-28T23:59:59""##]),
    Case(
        schema: ##"{"type":"string","format":"uuid"}"##, good: [##""123e4567-e89b-12d3-a456-426614174000""##],
        bad: [##""123e4567e89b12d3a456426614174000""##]),
    Case(
        schema: ##"{"type":"string","format":"ipv4"}"##, good: [##""127.0.0.1""##, ##""255.255.255.255""##],
        bad: [##""256.0.0.1""##, ##""1.2.3""##]),
]

@Test(arguments: cases)
private func schemasSpellWhatIsValid(_ one: Case) throws {
    let grammar = try grammar(one.schema)
    for text in one.good { #expect(grammar.spells(text), "\(text) is valid") }
    for text in one.bad { #expect(!grammar.spells(text), "\(text) is not") }
}

@Test func rangesOfIntegersAreExact() throws {
    var generator = SeededGenerator(seed: 3)
    for _ in 0..<40 {
        let low = Int.random(in: -1200...1200, using: &generator)
        let high = low + Int.random(in: 0...1500, using: &generator)
        let grammar = try grammar(##"{"type":"integer","minimum":\##(low),"maximum":\##(high)}"##)
        for value in -1300...2800 where value % 7 == 0 || abs(value - low) < 3 || abs(value - high) < 3 {
            #expect(grammar.spells("\(value)") == (low...high).contains(value), "\(value) in \(low)...\(high)")
        }
    }
}

/// Schemas, and the place and a word of the refusal.
@Test(arguments: [
    (##"{"type":"integer","multipleOf":3}"##, "schema.multipleOf", "not offered"),
    (##"{"type":"object","properties":{"a":{"not":{}}}}"##, "schema.properties.a.not", "not offered"),
    (##"{"type":"object","patternProperties":{}}"##, "schema.patternProperties", "not offered"),
    (##"{"type":"object","minProperties":1}"##, "schema.minProperties", "not offered"),
    (##"{"type":"array","contains":{}}"##, "schema.contains", "not offered"),
    (##"{"type":"array","uniqueItems":true}"##, "schema.uniqueItems", "not offered"),
    (##"{"type":"array","items":[{}]}"##, "schema.items", "prefixItems"),
    (##"{"if":{},"then":{}}"##, "schema.if", "not offered"),
    (##"{"nonsense":1}"##, "schema.nonsense", "not offered"),
    (##"{"type":"text"}"##, "schema.type", "must be"),
    (##"{"type":["string","string"]}"##, "schema.type", "once"),
    (##"{"type":"string","format":"hostname"}"##, "schema.format", "not offered"),
    (##"{"type":"string","pattern":"a"}"##, "schema.pattern", "^"),
    (##"{"type":"string","pattern":"^a|b$"}"##, "schema.pattern", "brackets"),
    (##"{"type":"string","pattern":"^(?=a)$"}"##, "schema.pattern", "plain groups"),
    (##"{"type":"string","pattern":"^(a*)*$"}"##, "schema.pattern", "empty"),
    (##"{"type":"string","pattern":"^a+?$"}"##, "schema.pattern", "quantifier"),
    (##"{"type":"string","pattern":"^(a)\\1$"}"##, "schema.pattern", "not offered"),
    (##"{"type":"string","pattern":"^((a{1,30}b){1,30}){1,30}$"}"##, "schema.pattern", "characters"),
    (##"{"type":"string","pattern":"^a$","minLength":1}"##, "schema.minLength", "beside"),
    (##"{"type":"string","minLength":5,"maxLength":3}"##, "schema.maxLength", "below"),
    (##"{"type":"string","maxLength":100000}"##, "schema.maxLength", "limit"),
    (##"{"type":"string","minLength":-1}"##, "schema.minLength", "whole"),
    (##"{"type":"number","minimum":0.5}"##, "schema.minimum", "whole bounds"),
    (##"{"type":"integer","minimum":3,"maximum":2}"##, "schema", "no integer"),
    (##"{"type":"integer","minimum":1e300}"##, "schema.minimum", "2^53"),
    (##"{"type":"integer","exclusiveMinimum":true}"##, "schema.exclusiveMinimum", "number"),
    (##"{"enum":[]}"##, "schema.enum", "at least one"),
    (##"{"const":1,"minimum":0}"##, "schema.minimum", "beside const"),
    (##"{"type":"string","const":1}"##, "schema.const", "type"),
    (##"{"anyOf":[{}],"type":"string"}"##, "schema.type", "beside anyOf"),
    (##"{"oneOf":[{"type":"integer"},{"type":"number"}]}"##, "schema.oneOf.1", "anyOf"),
    (##"{"oneOf":[{"type":"string"},{"const":"a"}]}"##, "schema.oneOf.1", "anyOf"),
    (##"{"allOf":[{"type":"string"},{"type":"string"}]}"##, "schema.allOf.0", "object"),
    (
        ##"{"allOf":[{"type":"object","additionalProperties":false},{"type":"object"}]}"##,
        "schema.allOf.0.additionalProperties", "false"
    ),
    (##"{"type":"object","required":["a"],"additionalProperties":false}"##, "schema.required", "among"),
    (##"{"type":"object","properties":{"a":{}},"additionalProperties":{}}"##, "schema.additionalProperties", "beside"),
    (##"{"type":"object","properties":{"a":{},"a":{}}}"##, "schema.properties.a", "twice"),
    (##"{"type":"string","type":"string"}"##, "schema.type", "twice"),
    (##"{"properties":{"a":false}}"##, "schema.properties.a", "false"),
    (##"{"$ref":"#/$defs/X"}"##, "schema.$ref", "names nothing"),
    (##"{"$ref":"http://x/y"}"##, "schema.$ref", "this schema"),
    (##"{"$ref":"#"}"##, "schema", "leads back"),
    (
        ##"{"anyOf":[{"$ref":"#/$defs/A"}],"$defs":{"A":{"anyOf":[{"$ref":"#/$defs/A"},{"type":"null"}]}}}"##, "schema",
        "leads back"
    ),
    (
        ##"{"$ref":"#/$defs/A","$defs":{"A":{"allOf":[{"$ref":"#/$defs/A"},{"type":"object"}]}}}"##,
        "schema.$defs.A.allOf.0", "object only"
    ),
    (##"{"type":"array","items":7}"##, "schema.items", "object or true"),
])
func whatCannotBeHonouredIsRefusedByName(_ schema: String, _ place: String, _ word: String) {
    let error = refusal(request(schema))
    #expect(error?.status == 400 && error?.type == "invalid_request_error" && error?.param == "response_format")
    #expect(error?.message.contains("response_format.json_schema.\(place)") == true, "\(error?.message ?? "accepted")")
    #expect(error?.message.contains(word) == true, "\(error?.message ?? "accepted")")
}

@Test func bombsAreRefused() {
    // Alternatives that can't be told apart, doubled at each level: 2^20 ways to read one text.
    let doubling = (0..<20).map { level in
        ##""L\##(level)":{"anyOf":[{"type":"array","items":{"$ref":"#/$defs/L\##(level + 1)"}},{"type":"array","items":{"$ref":"#/$defs/L\##(level + 1)"},"minItems":1}]}"##
    }
    let ways = ##"{"$ref":"#/$defs/L0","$defs":{\##(doubling.joined(separator: ",")),"L20":{"type":"null"}}}"##
    #expect(refusal(request(ways))?.message.contains("told apart") == true)
    let chain = (0..<40).map {
        ##""C\##($0)":{"anyOf":[{"$ref":"#/$defs/C\##($0 + 1)"},{"$ref":"#/$defs/D\##($0)"}]},"D\##($0)":{"anyOf":[{"$ref":"#/$defs/C\##($0 + 1)"},{"const":\##($0)}]}"##
    }
    let search = ##"{"$ref":"#/$defs/C0","$defs":{\##(chain.joined(separator: ",")),"C40":{"type":"null"}}}"##
    #expect(refusal(request(search))?.status == 400)
    let long = (0..<20_000).map { "\($0)" }.joined(separator: ",")
    #expect(refusal(request(##"{"enum":[\##(long)]}"##))?.message.contains("limit") == true)
    let text = String(repeating: "x", count: 70_000)
    #expect(refusal(request(##"{"const":"\##(text)"}"##))?.message.contains("limit") == true)
    let optional = (0..<400).map { ##""p\##($0)":{"type":"string"}"## }.joined(separator: ",")
    #expect(
        refusal(request(##"{"type":"object","properties":{\##(optional)}}"##))?.message.contains("required") == true)
    let counts = (0..<30).map { ##""p\##($0)":{"type":"string","maxLength":1000}"## }.joined(separator: ",")
    #expect(refusal(request(##"{"type":"object","properties":{\##(counts)}}"##))?.message.contains("limit") == true)
    let nested = (0..<70).map { ##""N\##($0)":{"type":"array","items":{"$ref":"#/$defs/N\##($0 + 1)"}}"## }.joined(
        separator: ",")
    #expect(
        refusal(request(##"{"$ref":"#/$defs/N0","$defs":{\##(nested),"N70":{}}}"##))?.message.contains("limit") == true)
}

@Test func whatIsCommonIsAccepted() throws {
    // Sixty optional properties, a tree, and a union that nests in itself but begins with a constant.
    let optional = (0..<60).map { ##""property_\##($0)":{"type":"string"}"## }.joined(separator: ",")
    let many = try grammar(##"{"type":"object","properties":{\##(optional)}}"##)
    #expect(many.spells(##"{"property_3": "x", "property_59": "y"}"##))
    let tree = try grammar(
        ##"{"$ref":"#/$defs/E","$defs":{"E":{"anyOf":[{"$ref":"#/$defs/Add"},{"$ref":"#/$defs/Lit"}]},"Add":{"type":"object","properties":{"op":{"const":"add"},"l":{"$ref":"#/$defs/E"},"r":{"$ref":"#/$defs/E"}},"required":["op","l","r"]},"Lit":{"type":"object","properties":{"op":{"const":"lit"},"v":{"type":"number"}},"required":["op","v"]}}}"##
    )
    #expect(tree.spells(##"{"op": "add", "l": {"op": "lit", "v": 1}, "r": {"op": "lit", "v": 2}}"##))
    let countries = (0..<500).map { ##""country \##($0)""## }.joined(separator: ",")
    #expect(try grammar(##"{"enum":[\##(countries)]}"##).spells(##""country 499""##))
}

@Test(arguments: [
    (##"{"type":"xml"}"##, "response_format.type"), (##"{}"##, "response_format.type"),
    (##""json""##, "response_format"),
    (##"{"type":"json_schema"}"##, "response_format.json_schema"),
    (##"{"type":"json_schema","json_schema":{"schema":{}}}"##, "response_format.json_schema.name"),
    (##"{"type":"json_schema","json_schema":{"name":"a b","schema":{}}}"##, "response_format.json_schema.name"),
    (##"{"type":"json_schema","json_schema":{"name":"a"}}"##, "response_format.json_schema.schema"),
    (##"{"type":"json_schema","json_schema":{"name":"a","schema":[]}}"##, "response_format"),
])
func formatsAreRead(_ format: String, _ param: String) {
    let error = refusal(##"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":\##(format)}"##)
    #expect(error?.status == 400 && error?.param == param, "\(String(describing: error))")
}

@Test func jsonObjectIsAnyObject() throws {
    let body = ##"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_object"}}"##
    let grammar = try GBNF(try #require(try chatRequest(body).options.grammar))
    #expect(grammar.spells(##"{"a": [1, -2.5e3, {"b": null}], "c": "d"}"##) && grammar.spells("{}"))
    for text in ["[]", "1", ##"{"a" : 1}"##, "{ }", "{}\n", ""] { #expect(!grammar.spells(text)) }
}
