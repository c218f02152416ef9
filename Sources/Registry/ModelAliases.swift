// The names of a model's versions: `previous` is the host's, others are the platform team's; a version without one is not kept.
package import Core
internal import Storage

extension Registry {
    /// Names a version of a model, or moves a name to it. `latest` makes it what the model's name alone means.
    ///
    /// - Parameter deployment: one of the versions that are kept.
    package func setAlias(_ alias: String, to deployment: Deployment) throws(RuntimeError) {
        if alias == ModelReference.latest { return try publish(deployment) }
        try check(alias, of: deployment.name)
        try change({ $0.aliasing(deployment.name, alias, deployment) }) { database throws(RuntimeError) in
            try database.run(
                "INSERT OR REPLACE INTO alias VALUES (?1,?2,?3)", [deployment.name, alias, deployment.digest])
        }
    }

    /// Takes a name away; a version that has no other is not kept.
    package func removeAlias(_ alias: String, of model: String) throws(RuntimeError) {
        try check(alias, of: model)
        guard snapshot.aliases[model]?[alias] != nil else {
            throw RuntimeError(
                .notFound, step: "alias \(model)@\(alias)", cause: "there is no such alias",
                next: "see `swiftlet models`")
        }
        try change({ $0.aliasing(model, alias, nil) }) { database throws(RuntimeError) in
            try database.run("DELETE FROM alias WHERE model=?1 AND alias=?2", [model, alias])
        }
    }

    private func check(_ alias: String, of model: String) throws(RuntimeError) {
        try Names.validate(alias, as: "alias")
        guard alias != ModelReference.latest, alias != ModelReference.previous else {
            throw RuntimeError(
                .badRequest, step: "alias \(model)@\(alias)", cause: "the host keeps this alias itself",
                next: "move `latest` to another version to go back to it, or choose another word")
        }
    }

    /// What was the latest version so far stays as `previous`.
    static func keepPrevious(of next: Deployment, _ database: Database) throws(RuntimeError) {
        try database.run(
            "INSERT OR REPLACE INTO alias SELECT name,'\(ModelReference.previous)',digest FROM deployment "
                + "WHERE kind=?1 AND name=?2 AND current=1 AND digest<>?3",
            [PluginKind.backend.rawValue, next.name, next.digest])
    }

    static func loadAliases(_ database: Database) throws(RuntimeError) -> [String: [String: Deployment]] {
        var aliases: [String: [String: Deployment]] = [:]
        // Of deployments with the same content the last one is taken.
        try database.run(
            "SELECT \(columns),alias FROM alias JOIN deployment ON name=model AND kind='backend' "
                + "AND deployment.digest=alias.digest ORDER BY created_at"
        ) { (row) throws(RuntimeError) in
            aliases[row[1], default: [:]][row[8]] = try read(row)
        }
        return aliases
    }
}

extension [ArtefactFile] {
    var json: String {
        JSONValue.array(
            map { file in
                .object([
                    "name": .string(file.name), "sha256": .string(file.sha256),
                    "bytes": .integer(Int64(bitPattern: file.stamp.bytes)), "modified": .integer(file.stamp.modified),
                    "inode": .integer(Int64(bitPattern: file.stamp.inode)),
                ])
            }
        ).text
    }

    init(json: String) throws(RuntimeError) {
        self = []
        guard case .array(let rows) = try JSON5.decode(Array<UInt8>(json.utf8), step: "read the registry") else {
            return
        }
        for case .object(let row) in rows {
            guard case .string(let name)? = row["name"], case .string(let sha256)? = row["sha256"],
                case .integer(let bytes)? = row["bytes"], case .integer(let modified)? = row["modified"],
                case .integer(let inode)? = row["inode"]
            else { continue }
            append(
                ArtefactFile(
                    name: name, sha256: sha256,
                    stamp: FileStamp(
                        bytes: UInt64(bitPattern: bytes), modified: modified, inode: UInt64(bitPattern: inode))))
        }
    }
}
