// Is sbom.json the bill of materials that its name promises: CycloneDX or SPDX, as JSON. Kept with its artefact as it is.
internal import Core
internal import FoundationEssentials

package enum BillOfMaterials {
    package static let name = "sbom.json"
    package static let largest = 4 << 20

    /// What tells the two formats; all else belongs to whoever reads it.
    private struct Head: Decodable {
        let bomFormat, specVersion, spdxVersion: String?
    }

    static func check(in directory: String) throws(RuntimeError) {
        guard let bytes = ArtefactStore.read("\(directory)/\(name)", most: largest) else {
            throw refusal("it is larger than \(largest) bytes")
        }
        try check(bytes)
    }

    static func check(_ bytes: [UInt8]) throws(RuntimeError) {
        // A decoder would take other encodings of text too.
        guard String(validating: bytes, as: UTF8.self) != nil, bytes.first(where: { $0 > 0x20 }) == UInt8(ascii: "{")
        else {
            throw refusal("it is not a JSON object in UTF-8")
        }
        guard let head = try? JSONDecoder().decode(Head.self, from: Data(bytes)) else {
            throw refusal("it is not JSON")
        }
        switch (head.bomFormat, head.specVersion, head.spdxVersion) {
        case ("CycloneDX", let version?, nil) where version.hasPrefix("1."): return
        case (nil, _, let version?) where version.hasPrefix("SPDX-"): return
        default:
            throw refusal(
                "it says neither \"bomFormat\": \"CycloneDX\" with a specVersion of 1, nor an \"spdxVersion\"")
        }
    }

    private static func refusal(_ cause: String) -> RuntimeError {
        RuntimeError(
            .pluginInvalid, step: "check \(name)", cause: cause,
            next: "write CycloneDX or SPDX as JSON of at most 4 MiB, or leave the file out")
    }
}
