// Answers of the Open Inference Protocol v2: outputs as JSON or raw bytes, metadata, configuration, statistics.

package enum InferWriter {
    // MARK: outputs

    /// The body of an answer, and how many of its bytes are JSON when raw tensors follow.
    package static func answer(
        _ outputs: [Tensor], to request: InferRequest, model: String, version: String
    ) throws(OpenAIError) -> (body: [UInt8], headerLength: Int?) {
        let chosen = try choose(outputs, request)
        var json = JSONWriter(reserving: 1024)
        json.raw("{")
        if let id = request.id {
            json.raw("\"id\":")
            json.string(id)
            json.raw(",")
        }
        json.raw("\"model_name\":")
        json.string(model)
        json.raw(",\"model_version\":")
        json.string(version)
        json.raw(",\"outputs\":[")
        var raw: [UInt8] = []
        for (index, (tensor, binary)) in chosen.enumerated() {
            if index > 0 { json.raw(",") }
            try write(&json, tensor, binary: binary)
            if binary { raw += tensor.data }
        }
        json.raw("]}")
        let hasRaw = chosen.contains { $0.binary }
        return (json.bytes + raw, hasRaw ? json.bytes.count : nil)
    }

    private static func choose(
        _ outputs: [Tensor], _ request: InferRequest
    ) throws(OpenAIError) -> [(tensor: Tensor, binary: Bool)] {
        guard let wanted = request.outputs else { return outputs.map { ($0, request.binaryOutputs) } }
        var chosen: [(tensor: Tensor, binary: Bool)] = []
        for output in wanted {
            guard let tensor = outputs.first(where: { $0.name == output.name }) else {
                let known = outputs.map(\.name).joined(separator: ", ")
                throw .invalid(
                    "outputs", "outputs: the model has no output '\(output.name.prefix(200))'; it has \(known)")
            }
            chosen.append((tensor, output.binary))
        }
        return chosen
    }

    private static func write(_ json: inout JSONWriter, _ tensor: Tensor, binary: Bool) throws(OpenAIError) {
        json.raw("{\"name\":")
        json.string(tensor.name)
        json.raw(",\"datatype\":")
        json.string(tensor.type.name)
        json.raw(",\"shape\":")
        json.array(tensor.shape) { $0.integer($1) }
        if binary {
            json.raw(",\"parameters\":{\"binary_data_size\":")
            json.integer(tensor.data.count)
            json.raw("}}")
        } else {
            json.raw(",\"data\":")
            try write(&json, dataOf: tensor)
            json.raw("}")
        }
    }

    private static func write(_ json: inout JSONWriter, dataOf tensor: Tensor) throws(OpenAIError) {
        func numbers<Number: FixedWidthInteger>(_: Number.Type, _ body: (inout JSONWriter, Number) -> Void) {
            let size = MemoryLayout<Number>.size
            json.array(Array(0..<tensor.data.count / size)) { json, index in
                var number: Number = 0
                for offset in (0..<size).reversed() {
                    number = (number &<< 8) | Number(truncatingIfNeeded: tensor.data[index * size + offset])
                }
                body(&json, number)
            }
        }
        switch tensor.type {
        case .bool: json.array(tensor.data) { $0.bool($1 != 0) }
        case .uint8: json.array(tensor.data) { $0.integer($1) }
        case .int8: json.array(tensor.data) { $0.integer(Int8(bitPattern: $1)) }
        case .uint16: numbers(UInt16.self) { $0.integer($1) }
        case .uint32: numbers(UInt32.self) { $0.integer($1) }
        case .uint64: numbers(UInt64.self) { $0.integer($1) }
        case .int16: numbers(Int16.self) { $0.integer($1) }
        case .int32: numbers(Int32.self) { $0.integer($1) }
        case .int64: numbers(Int64.self) { $0.integer($1) }
        case .fp32: numbers(UInt32.self) { $0.real(Double(Float(bitPattern: $1)), Float(bitPattern: $1).description) }
        case .fp64: numbers(UInt64.self) { $0.real(Double(bitPattern: $1), Double(bitPattern: $1).description) }
        case .bytes:
            let texts = tensor.elements.compactMap { String(validating: $0, as: UTF8.self) }
            guard texts.count == tensor.elements.count else { throw onlyBinary(tensor, "holds bytes that are no text") }
            json.array(texts) { $0.string($1) }
        case .fp16, .bf16: throw onlyBinary(tensor, "is \(tensor.type.name)")
        }
    }

    private static func onlyBinary(_ tensor: Tensor, _ why: String) -> OpenAIError {
        .invalid("outputs", "outputs: '\(tensor.name)' \(why), which JSON can't say: ask for it with binary_data")
    }

    // MARK: what a model is

    package static func metadata(_ spec: ModelSpec, _ signature: TensorSignature) -> [UInt8] {
        var json = JSONWriter(reserving: 512)
        json.raw("{\"name\":")
        json.string(spec.name)
        json.raw(",\"versions\":[")
        json.string(spec.version)
        json.raw("],\"platform\":\"swiftlet\"")
        for (label, ports) in [("inputs", signature.inputs), ("outputs", signature.outputs)] {
            json.raw(",")
            json.string(label)
            json.raw(":")
            json.array(ports) { json, port in
                json.raw("{\"name\":")
                json.string(port.name)
                json.raw(",\"datatype\":")
                json.string(port.type.name)
                json.raw(",\"shape\":")
                json.array(port.shape) { $0.integer($1) }
                json.raw("}")
            }
        }
        json.raw("}")
        return json.bytes
    }

    /// In the words of Triton's model configuration, where a first dimension that requests are joined along is left out.
    package static func configuration(_ spec: ModelSpec, _ signature: TensorSignature) -> [UInt8] {
        let batches = signature.joinsRows && spec.batching.maxRows > 1
        var json = JSONWriter(reserving: 512)
        json.raw("{\"name\":")
        json.string(spec.name)
        json.raw(",\"platform\":\"swiftlet\",\"backend\":\"swiftlet\",\"max_batch_size\":")
        json.integer(batches ? spec.batching.maxRows : 0)
        for (label, ports) in [("input", signature.inputs), ("output", signature.outputs)] {
            json.raw(",")
            json.string(label)
            json.raw(":")
            json.array(ports) { json, port in
                json.raw("{\"name\":")
                json.string(port.name)
                json.raw(",\"data_type\":")
                json.string("TYPE_\(port.type == .bytes ? "STRING" : port.type.name)")
                json.raw(",\"dims\":")
                json.array(Array(port.shape.dropFirst(batches ? 1 : 0))) { $0.integer($1) }
                json.raw("}")
            }
        }
        if batches {
            json.raw(",\"dynamic_batching\":{\"max_queue_delay_microseconds\":")
            json.integer(spec.batching.maxDelayMicroseconds)
            json.raw("}")
        }
        json.raw(",\"instance_group\":[{\"name\":")
        json.string(spec.name)
        json.raw(",\"count\":1,\"kind\":\"KIND_CPU\"}]}")
        return json.bytes
    }

    // MARK: statistics

    package static func statistics(_ models: [(spec: ModelSpec, values: TensorMetrics)]) -> [UInt8] {
        var json = JSONWriter(reserving: 1024)
        json.raw("{\"model_stats\":")
        json.array(models) { json, model in write(&json, model.spec, model.values) }
        json.raw("}")
        return json.bytes
    }

    private static func write(_ json: inout JSONWriter, _ spec: ModelSpec, _ values: TensorMetrics) {
        json.raw("{\"name\":")
        json.string(spec.name)
        json.raw(",\"version\":")
        json.string(spec.version)
        for (label, number) in [
            ("last_inference", values.lastMilliseconds), ("inference_count", values.rows),
            ("execution_count", values.executions),
        ] {
            json.raw(",")
            json.string(label)
            json.raw(":")
            json.integer(number)
        }
        json.raw(",\"inference_stats\":{")
        let none = TensorMetrics.Times()
        let all = [
            ("success", values.succeeded), ("fail", values.failed), ("queue", values.queued),
            ("compute_input", values.input), ("compute_infer", values.infer), ("compute_output", values.output),
            ("cache_hit", none), ("cache_miss", none),
        ]
        for (index, (label, times)) in all.enumerated() {
            if index > 0 { json.raw(",") }
            write(&json, label, times)
        }
        json.raw("},\"batch_stats\":")
        json.array(values.byRows.sorted { $0.key < $1.key }) { json, entry in
            json.raw("{\"batch_size\":")
            json.integer(entry.key)
            json.raw(",")
            write(&json, "compute_infer", entry.value)
            json.raw("}")
        }
        json.raw(",\"memory_usage\":[]}")
    }

    private static func write(_ json: inout JSONWriter, _ label: String, _ times: TensorMetrics.Times) {
        json.string(label)
        json.raw(":{\"count\":")
        json.integer(times.count)
        json.raw(",\"ns\":")
        json.integer(times.nanoseconds)
        json.raw("}")
    }

    // MARK: errors

    /// `{"error":"text"}`
    package static func failure(_ error: OpenAIError) -> [UInt8] {
        var json = JSONWriter()
        json.raw("{\"error\":")
        json.string(error.message)
        json.raw("}")
        return json.bytes
    }
}
