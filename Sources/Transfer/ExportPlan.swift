// The archive of an export as a list of pieces, so that its size is known before its first byte is read: pure.
package import Core
internal import PluginHost

package struct ExportPlan: Sendable {
    package enum Piece: Sendable {
        case bytes([UInt8])
        /// The content of a file of a function.
        case file(ArtefactFile, of: Deployment)
    }

    package private(set) var pieces: [Piece] = []
    /// Of all pieces.
    package private(set) var bytes: UInt64 = 0

    /// What is said of functions, with the sizes that their archives will have.
    package static func functions(_ deployments: [Deployment]) throws(RuntimeError) -> [TenantExport.Function] {
        var functions: [TenantExport.Function] = []
        for one in deployments {
            guard !one.files.isEmpty else {
                throw RuntimeError(
                    .conflict, step: "export \(one.key)",
                    cause: "an earlier version of the host deployed it, and kept no list of its files",
                    next: "deploy it again, or remove it")
            }
            functions.append(
                TenantExport.Function(
                    name: one.name, version: one.manifest.version, digest: one.digest, bytes: archiveBytes(one),
                    signer: one.signer, hasBill: one.files.contains { $0.name == BillOfMaterials.name }))
        }
        return functions
    }

    /// - Parameter deployments: those of `export.functions`, in the same order.
    package init(_ export: TenantExport, _ deployments: [Deployment]) throws(RuntimeError) {
        let head = Array(export.value.text.utf8)
        guard head.count <= TenantExport.largest else {
            throw RuntimeError(
                .conflict, step: "export the tenant \(export.tenant.name)",
                cause: "\(TenantExport.file) would have \(head.count) bytes, and \(TenantExport.largest) is the most",
                next: "revoke keys that nobody uses: `swiftlet key ls` lists them")
        }
        add(TarHeader.bytes(TenantExport.file, size: head.count) + head + Self.zeros(UInt64(head.count)))
        for (function, deployment) in zip(export.functions, deployments) {
            add(TarHeader.bytes(function.archive, size: Int(function.bytes)))
            for file in Self.sorted(deployment) {
                add(TarHeader.bytes(file.name, size: Int(file.stamp.bytes)))
                pieces.append(.file(file, of: deployment))
                bytes += file.stamp.bytes
                add(Self.zeros(file.stamp.bytes))
            }
            // Whole blocks, so nothing fills it up in the archive around it.
            add(TarHeader.end)
        }
        add(TarHeader.end)
        guard bytes <= TenantExport.largestArchive else {
            throw RuntimeError(
                .conflict, step: "export the tenant \(export.tenant.name)",
                cause: "the export would have \(bytes) bytes, and \(TenantExport.largestArchive) is the most",
                next: "remove functions, and deploy them on the other host yourself")
        }
    }

    private mutating func add(_ more: [UInt8]) {
        guard !more.isEmpty else { return }
        bytes += UInt64(more.count)
        pieces.append(.bytes(more))
    }

    /// As `swiftlet deploy` packs them.
    private static func sorted(_ deployment: Deployment) -> [ArtefactFile] {
        deployment.files.sorted { $0.name < $1.name }
    }

    private static func archiveBytes(_ deployment: Deployment) -> UInt64 {
        deployment.files.reduce(UInt64(TarHeader.end.count)) {
            $0 + UInt64(TarHeader.blockSize) + $1.stamp.bytes + UInt64(TarHeader.padding($1.stamp.bytes))
        }
    }

    private static func zeros(_ size: UInt64) -> [UInt8] { [UInt8](repeating: 0, count: TarHeader.padding(size)) }
}
