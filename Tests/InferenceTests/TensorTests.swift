// Tensors: requests of strangers, answers of workers, and the bytes in between.
@testable import Inference
import Testing

private func read(_ json: String, raw: [UInt8] = [], header: String? = nil) throws -> InferRequest {
    var parser = JSONParser()
    return try InferRequest(Array(json.utf8) + raw, headerLength: header, parser: &parser)
}

private func refusal(_ json: String, raw: [UInt8] = [], header: String? = nil) -> String {
    do {
        _ = try read(json, raw: raw, header: header)
        return "accepted"
    } catch let error as OpenAIError {
        return error.status == 400 ? error.message : "status \(error.status)"
    } catch {
        return "\(error)"
    }
}

private func input(_ datatype: String, _ shape: String, _ data: String) -> String {
    #"{"inputs":[{"name":"x","datatype":"\#(datatype)","shape":\#(shape),"data":\#(data)}]}"#
}

@Suite struct TensorTests {
    @Test(
        arguments: [
            ("FP32", "[2]", "[1, -0.5]", [0, 0, 128, 63, 0, 0, 0, 191]),
            ("UINT64", "[1]", "[18446744073709551615]", [255, 255, 255, 255, 255, 255, 255, 255]),
            ("INT16", "[2,1]", "[[-2],[3.0]]", [254, 255, 3, 0]),
            ("BOOL", "[3]", "[true,false,1]", [1, 0, 1]),
            ("BYTES", "[2]", #"["é",""]"#, [2, 0, 0, 0, 0xc3, 0xa9, 0, 0, 0, 0]),
            ("FP64", "[]", "[2]", [0, 0, 0, 0, 0, 0, 0, 64]),
            ("INT8", "[0]", "[]", []),
        ] as [(String, String, String, [UInt8])])
    func elementsBecomeBytes(type: String, shape: String, data: String, bytes: [UInt8]) throws {
        #expect(try read(input(type, shape, data)).inputs.first?.data == bytes)
    }

    @Test(arguments: [
        (input("UINT8", "[1]", "[256]"), "no UINT8"), (input("INT32", "[1]", "[0.5]"), "no INT32"),
        (input("FP32", "[1]", "[1e300]"), "does not fit"), (input("FP16", "[1]", "[1]"), "bytes only"),
        (input("FP32", "[2]", "[1]"), "has 1 elements"), (input("FP32", "[-1]", "[1]"), "extent"),
        (input("FP32", "[9223372036854775807,9]", "[1]"), "elements"), (input("FP99", "[1]", "[1]"), "no 'FP99'"),
        (input("BOOL", "[1]", "[2]"), "neither true nor false"), (input("BYTES", "[1]", "[1]"), "no string"),
        (input("FP32", "[1]", #"{"a":1}"#), "list"), (#"{"inputs":{}}"#, "list"), ("{}", "inputs"), ("[]", "object"),
        (#"{"inputs":[],"parameters":{"sequence_id":7}}"#, "not offered"),
        (#"{"inputs":[],"outputs":[{"name":"a"},{"name":"a"}]}"#, "named twice"),
        (#"{"inputs":[],"outputs":[{"name":"a","parameters":{"classification":3}}]}"#, "not offered"),
    ])
    func whatIsWrongIsRefusedByName(json: String, words: String) {
        #expect(refusal(json).contains(words), "\(refusal(json))")
    }

    private static func binary(_ size: String, shape: String = "[2]") -> String {
        #"{"inputs":[{"name":"x","datatype":"FP32","shape":\#(shape),"parameters":{"binary_data_size":\#(size)}}]}"#
    }

    @Test func rawTensorsStandBehindTheJSON() throws {
        let json = Self.binary("8")
        let raw: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
        #expect(try read(json, raw: raw, header: "\(json.utf8.count)").inputs.first?.data == raw)
        let length = "\(json.utf8.count)"
        #expect(refusal(json, raw: raw + [9], header: length).contains("1 bytes behind"))
        #expect(refusal(json, raw: Array(raw.dropLast()), header: length).contains("7 bytes are left"))
        let short = Self.binary("4")
        #expect(refusal(short, raw: [1, 2, 3, 4], header: "\(short.utf8.count)").contains("4 bytes, and 2 elements"))
        for size in ["-1", "1e99", "99999999999", "null", "\"8\""] {
            let json = Self.binary(size)
            #expect(refusal(json, raw: raw, header: "\(json.utf8.count)") != "accepted", "\(size)")
        }
    }

    @Test(arguments: ["-1", "", "99999999999999999999", "0x10", "1 ", "+5", "500", "1"])
    func aHeaderLengthThatIsNoneIsRefused(text: String) {
        #expect(refusal(Self.binary("8"), raw: [1], header: text) != "accepted")
    }

    // MARK: the worker's side

    private static let tensor = Tensor(name: "out", type: .fp32, shape: [1, 1], data: [0, 0, 128, 63])

    /// A request's payload has the shape of a result's, but for the time.
    private static func result(_ tensors: [Tensor]) -> [UInt8] {
        let payload = TensorPayload.infer(tensors)
        return payload[..<8] + [7, 0, 0, 0, 0, 0, 0, 0] + payload[8...]
    }

    @Test func aRunIsReadBack() {
        let run = TensorRun(Self.result([Self.tensor, Self.tensor]))
        #expect(run?.nanoseconds == 7 && run?.outputs == [Self.tensor, Self.tensor])
    }

    @Test func noPrefixOfARunAndNoChangedByteBreaksTheReader() {
        let whole = Self.result([Self.tensor])
        for length in 0..<whole.count { #expect(TensorRun(Array(whole[..<length])) == nil) }
        for index in whole.indices {
            for value in [0, 1, 127, 128, 255] as [UInt8] {
                var broken = whole
                broken[index] = value
                guard let run = TensorRun(broken) else { continue }
                _ = run.outputs.map(\.fault)
            }
        }
    }

    @Test func outputsMustBeThoseThatWereAnnounced() {
        let signature = TensorSignature(
            inputs: [], outputs: [TensorPort(name: "out", type: .fp32, shape: [-1, 1])])
        #expect(signature.fault(outputs: [Self.tensor]) == nil)
        var short = Self.tensor
        short.data.removeLast()
        var named = Self.tensor
        named.name = "other"
        var shaped = Self.tensor
        shaped.shape = [-1, -1]
        for wrong in [[short], [named], [shaped], [], [Self.tensor, Self.tensor]] {
            #expect(signature.fault(outputs: wrong) != nil)
        }
    }

    @Test func rowsAreTakenApart() {
        let numbers = Tensor(name: "n", type: .uint16, shape: [3, 2], data: Array(0..<12))
        #expect(numbers.rows(1..<2).data == [4, 5, 6, 7] && numbers.rows(1..<2).shape == [1, 2])
        let texts = Tensor(
            name: "t", type: .bytes, shape: [3], data: [1, 0, 0, 0, 65, 0, 0, 0, 0, 2, 0, 0, 0, 66, 67])
        #expect(texts.fault == nil)
        #expect(texts.rows(1..<3).data == [0, 0, 0, 0, 2, 0, 0, 0, 66, 67])
    }
}
