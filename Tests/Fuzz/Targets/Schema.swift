// JSON Schemas of strangers: the compiler that makes grammars of them, through the body of a request.
import Inference

extension Target {
    static let schema = Target(name: "schema") { bytes in
        let format = read(before: formatHead, bytes, after: "}}}")
        let again = read(before: formatHead, bytes, after: "}}}")
        require("\(format)" == "\(again)", "a schema gives the same grammar each time")
        check(format)
        check(read(before: toolHead, bytes, after: "}}]}"))
    }

    private static let head = #"{"model":"m","messages":[{"role":"user","content":"x"}],"#
    private static let formatHead =
        head + #""response_format":{"type":"json_schema","json_schema":{"name":"s","schema":"#
    private static let toolHead = head + #""tools":[{"type":"function","function":{"name":"f","parameters":"#

    private static func read(before: String, _ bytes: [UInt8], after: String) -> Result<ChatRequest, OpenAIError> {
        var parser = JSONParser()
        let body = Array(before.utf8) + bytes + Array(after.utf8)
        return Result { () throws(OpenAIError) in try ChatRequest(body.span, parser: &parser) }
    }

    private static func check(_ result: Result<ChatRequest, OpenAIError>) {
        switch result {
        case .success(let request):
            // The text itself may end the object it was put into.
            guard let grammar = request.options.grammar else { return }
            require(
                grammar.hasPrefix("root ::= ") && grammar.utf8.count <= 256 << 10, "a grammar has a root and an end")
            require(!grammar.utf8.contains(0), "a grammar holds no zero byte")
        case .failure(let error): require(error.status == 400 && !error.message.isEmpty, "a refusal says why: \(error)")
        }
    }
}
