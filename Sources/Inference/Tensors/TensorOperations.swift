// The payloads of the two operations on tensors, both ways, as swiftlet_wire.h lays them out.
internal import SwiftletWire

enum TensorPayload {
    /// WIRE_OP_INFER
    static func infer(_ inputs: [Tensor]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(inputs.reduce(64) { $0 + $1.data.count + 256 })
        append(UInt32(inputs.count), to: &bytes)
        append(UInt32(0), to: &bytes)
        for input in inputs {
            let name = input.name.utf8
            for number in [UInt32(name.count), input.type.rawValue, UInt32(input.shape.count), 0] {
                append(number, to: &bytes)
            }
            append(UInt64(input.data.count), to: &bytes)
            for extent in input.shape { append(extent, to: &bytes) }
            bytes.append(contentsOf: name)
            pad(&bytes)
            bytes.append(contentsOf: input.data)
            pad(&bytes)
        }
        return bytes
    }

    private static func append<Number: FixedWidthInteger>(_ number: Number, to bytes: inout [UInt8]) {
        unsafe withUnsafeBytes(of: number.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    private static func pad(_ bytes: inout [UInt8]) {
        while bytes.count % 8 != 0 { bytes.append(0) }
    }
}

/// What WIRE_OP_INFER answers.
struct TensorRun: Equatable {
    var nanoseconds: UInt64
    var outputs: [Tensor]

    /// Nil when the bytes don't hold exactly what they announce.
    init?(_ payload: [UInt8]) {
        var reader = ByteReader(payload)
        guard let count = reader.u32(), reader.u32() != nil, let nanoseconds = reader.u64(), count <= WIRE_TENSORS_MAX
        else { return nil }
        self.nanoseconds = nanoseconds
        outputs = []
        for _ in 0..<count {
            guard let tensor = reader.tensor() else { return nil }
            outputs.append(tensor)
        }
        guard reader.rest.isEmpty else { return nil }
    }
}

extension TensorSignature {
    /// Reads what WIRE_OP_TENSORS answers; nil when that is no signature.
    init?(_ payload: [UInt8]) {
        var reader = ByteReader(payload)
        guard let inputs = reader.u32(), let outputs = reader.u32(), inputs <= WIRE_TENSORS_MAX,
            outputs <= WIRE_TENSORS_MAX, outputs > 0
        else { return nil }
        var ports: [TensorPort] = []
        for _ in 0..<(inputs + outputs) {
            guard let tensor = reader.tensor(), tensor.data.isEmpty, !tensor.name.isEmpty,
                tensor.shape.allSatisfy({ $0 >= -1 })
            else { return nil }
            ports.append(TensorPort(name: tensor.name, type: tensor.type, shape: tensor.shape))
        }
        self.inputs = Array(ports.prefix(Int(inputs)))
        self.outputs = Array(ports.dropFirst(Int(inputs)))
        guard reader.rest.isEmpty, Set(self.inputs.map(\.name)).count == self.inputs.count,
            Set(self.outputs.map(\.name)).count == self.outputs.count
        else { return nil }
    }
}

extension ByteReader {
    /// A wire_tensor and what follows it. Its numbers need not agree.
    fileprivate mutating func tensor() -> Tensor? {
        guard let nameSize = u32(), let type = u32().flatMap(TensorType.init(rawValue:)), let rank = u32(),
            u32() != nil, let dataSize = u64(), rank <= WIRE_RANK_MAX, nameSize <= WIRE_TENSOR_NAME_MAX,
            dataSize <= UInt64(UInt32.max)
        else { return nil }
        var shape: [Int64] = []
        for _ in 0..<rank {
            guard let extent = u64() else { return nil }
            shape.append(Int64(bitPattern: extent))
        }
        guard let name = take(nameSize), take(Self.padding(nameSize)) != nil, let data = take(UInt32(dataSize)),
            take(Self.padding(UInt32(dataSize))) != nil, let text = String(validating: name, as: UTF8.self)
        else { return nil }
        return Tensor(name: text, type: type, shape: shape, data: data)
    }

    private static func padding(_ size: UInt32) -> UInt32 { (8 - size % 8) % 8 }
}
