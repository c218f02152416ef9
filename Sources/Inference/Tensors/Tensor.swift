// Tensors as values, what a model takes and gives, and the rules that both must keep.

/// A dense row-major tensor; a BYTES element is its length in four bytes and then its bytes.
package struct Tensor: Equatable, Sendable {
    package var name: String
    package var type: TensorType
    package var shape: [Int64]
    /// Little-endian.
    package var data: [UInt8]

    package init(name: String, type: TensorType, shape: [Int64], data: [UInt8]) {
        self.name = name
        self.type = type
        self.shape = shape
        self.data = data
    }

    package static let maxRank = 16

    /// How many elements a shape has; nil when an extent is negative or they are more than can be counted.
    package static func count(_ shape: [Int64]) -> Int? {
        var count: Int64 = 1
        for extent in shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: extent)
            guard extent >= 0, !overflow else { return nil }
            count = product
        }
        return Int(count)
    }

    /// Why data and shape don't agree; nil when they do.
    package var fault: String? {
        guard shape.count <= Self.maxRank else { return "has \(shape.count) dimensions, the limit is \(Self.maxRank)" }
        guard let count = Self.count(shape) else { return "has the impossible shape \(shape)" }
        guard let size = type.size else { return bytesFault(count) }
        let (needed, overflow) = count.multipliedReportingOverflow(by: size)
        guard !overflow, data.count == needed else {
            return
                "has \(data.count) bytes, and \(count) elements of \(type.name) have \(overflow ? "too many" : "\(needed)")"
        }
        guard type != .bool || data.allSatisfy({ $0 <= 1 }) else { return "has a BOOL that is neither 0 nor 1" }
        return nil
    }

    private func bytesFault(_ count: Int) -> String? {
        var elements = 0
        var offset = 0
        while offset < data.count {
            guard let length = length(at: offset), length <= data.count - offset - 4 else {
                return "has an element of BYTES that is cut short"
            }
            offset += 4 + length
            elements += 1
        }
        return elements == count ? nil : "has \(elements) elements of BYTES, and its shape has \(count)"
    }

    private func length(at offset: Int) -> Int? {
        guard data.count - offset >= 4 else { return nil }
        return (0..<4).reduce(0) { $0 | Int(data[offset + $1]) << (8 * $1) }
    }

    /// The elements of BYTES; only for a tensor without fault.
    package var elements: [ArraySlice<UInt8>] {
        var elements: [ArraySlice<UInt8>] = []
        var offset = 0
        while let length = length(at: offset), length <= data.count - offset - 4 {
            elements.append(data[offset + 4..<offset + 4 + length])
            offset += 4 + length
        }
        return elements
    }

    /// Rows `range` of the first dimension; only for a tensor without fault that has them.
    func rows(_ range: Range<Int>) -> Tensor {
        var part = self
        part.shape[0] = Int64(range.count)
        guard type.size != nil else {
            let perRow = Self.count(Array(shape.dropFirst())) ?? 0
            part.data = elements[range.lowerBound * perRow..<range.upperBound * perRow].flatMap { element in
                (0..<4).map { UInt8(truncatingIfNeeded: element.count >> (8 * $0)) } + element
            }
            return part
        }
        let size = shape[0] == 0 ? 0 : data.count / Int(shape[0])
        part.data = Array(data[range.lowerBound * size..<range.upperBound * size])
        return part
    }
}

/// One thing that a model takes or gives; -1 in its shape is any extent.
package struct TensorPort: Equatable, Sendable {
    package var name: String
    package var type: TensorType
    package var shape: [Int64]

    package init(name: String, type: TensorType, shape: [Int64]) {
        self.name = name
        self.type = type
        self.shape = shape
    }

    /// Why `tensor` is nothing for this port; nil when it is.
    func fault(_ tensor: Tensor) -> String? {
        guard tensor.type == type else { return "is \(tensor.type.name) and must be \(type.name)" }
        let fits =
            tensor.shape.count == shape.count && zip(shape, tensor.shape).allSatisfy { $0 < 0 ? $1 >= 0 : $0 == $1 }
        guard fits else { return "has shape \(tensor.shape) and must have \(shape) (-1 is any)" }
        return tensor.fault
    }
}

/// What a model takes and gives.
package struct TensorSignature: Equatable, Sendable {
    package var inputs: [TensorPort]
    package var outputs: [TensorPort]

    /// True when the first dimension of everything is free, so that requests can be joined along it.
    var joinsRows: Bool {
        !inputs.isEmpty && (inputs + outputs).allSatisfy { $0.shape.first == -1 }
    }

    /// The inputs in the model's order, or why they are not its inputs.
    func order(_ given: [Tensor]) throws(OpenAIError) -> [Tensor] {
        var left = given
        var ordered: [Tensor] = []
        for port in inputs {
            guard let index = left.firstIndex(where: { $0.name == port.name }) else {
                throw .invalid("inputs", "inputs: the input '\(port.name)' is missing")
            }
            let tensor = left.remove(at: index)
            if let fault = port.fault(tensor) { throw .invalid("inputs", "inputs: the input '\(port.name)' \(fault)") }
            ordered.append(tensor)
        }
        guard let extra = left.first else { return ordered }
        let known = inputs.map(\.name).joined(separator: ", ")
        throw .invalid(
            "inputs",
            inputs.contains { $0.name == extra.name }
                ? "inputs: the input '\(extra.name)' is given twice"
                : "inputs: the model has no input '\(extra.name.prefix(200))'; it has \(known)")
    }

    /// Why `given` are not the outputs of this model, each once and in its order; nil when they are.
    func fault(outputs given: [Tensor]) -> String? {
        guard given.map(\.name) == outputs.map(\.name) else { return "its outputs are not those it announced" }
        for (port, tensor) in zip(outputs, given) {
            if let fault = port.fault(tensor) { return "its output '\(port.name)' \(fault)" }
        }
        return nil
    }
}
