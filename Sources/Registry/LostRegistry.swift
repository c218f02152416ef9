// A registry that is gone while its artefacts are there is a loss, not a first start: sweeping them would make it final.
internal import Core
internal import FoundationEssentials
internal import Glibc

extension Registry {
    /// Refuses a state directory that holds artefacts of deployments which nothing knows of.
    static func refuseLoss(in directory: String) throws(RuntimeError) {
        let path = "\(directory)/registry.db"
        var info = stat()
        let isThere = unsafe stat(path, &info) == 0
        guard !isThere || info.st_size == 0 else { return }
        let files = FileManager.default
        let artefacts = "\(directory)/artefacts"
        let tenants = (try? files.contentsOfDirectory(atPath: artefacts)) ?? []
        let held = tenants.filter { (try? files.contentsOfDirectory(atPath: "\(artefacts)/\($0)"))?.isEmpty == false }
        guard !held.isEmpty else { return }
        throw RuntimeError(
            .conflict, step: "open \(path)",
            cause:
                "it is \(isThere ? "empty" : "missing"), and \(artefacts) holds deployments of \(held.count) tenants",
            next: "restore the state directory from a backup (docs/backup.md), or remove \(artefacts) to begin anew")
    }
}
