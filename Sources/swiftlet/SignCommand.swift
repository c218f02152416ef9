// swiftlet sign: lists the files of a folder or archive, and signs the list.
internal import Core
internal import Signing

enum SignCommand {
    static func run(_ arguments: Arguments) throws -> Int32 {
        let source = try arguments.only("folder or archive")
        let isArchive = Bundle.isFile(source)
        var bundle = try Bundle(source)
        defer { bundle.remove() }
        let output = arguments.value("-o") ?? (isArchive ? source : nil)
        guard output != nil || bundle.manifest.language == nil else {
            throw UsageError(
                text:
                    "\(source) is built from sources: say with -o FILE.tar where the signed archive goes, or sign it while it is "
                    + "deployed with `swiftlet deploy \(source) -s KEY`")
        }
        let key = try KeyFiles.secret(arguments.value("-s") ?? KeyFiles.secretDefault)
        do {
            let made = try bundle.sign(by: key, comment: arguments.value("-t"))
            if let output {
                try bundle.write(to: output)
            } else {
                for (name, path) in made {
                    try KeyFiles.write(try text(path), to: "\(source)/\(name)", mode: 0o644, replaces: true)
                }
            }
        } catch let fault as SigningFault {
            throw RuntimeError(.badRequest, step: "sign \(source)", cause: fault.text, next: "mend it, then try again")
        }
        Output.line("signed \(bundle.manifest.name) \(bundle.manifest.version) by \(key.id): \(output ?? source)")
        return 0
    }

    private static func text(_ path: String) throws -> String {
        String(decoding: try KeyFiles.read(path), as: UTF8.self)
    }
}
