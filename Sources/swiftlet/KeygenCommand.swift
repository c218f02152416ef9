// swiftlet keygen: a pair of minisign key files.
internal import Core
internal import Signing

enum KeygenCommand {
    private static let signing = "make a key"

    static func run(_ arguments: Arguments) throws -> Int32 {
        guard arguments.positional.isEmpty else { throw UsageError(text: "keygen takes options only") }
        let publicPath = arguments.value("-p") ?? KeyFiles.publicDefault
        let secretPath = arguments.value("-s") ?? KeyFiles.secretDefault
        let replaces = arguments.has("-f")
        // Before anybody is asked for a password.
        if !replaces {
            for path in [secretPath, publicPath] where Bundle.isFile(path) {
                throw RuntimeError(
                    .conflict, step: signing, cause: "\(path) is there already",
                    next: "choose another name with -p and -s, or replace it with -f: nobody can sign with it then")
            }
        }
        let password = arguments.has("-W") ? nil : try Password.choose()
        do {
            let key = try SecretKey()
            let publicKey = try key.publicKey
            try KeyFiles.write(try key.file(password: password), to: secretPath, mode: 0o600, replaces: replaces)
            try KeyFiles.write(publicKey.file, to: publicPath, mode: 0o644, replaces: replaces)
            if arguments.has("--json") {
                Output.line(
                    #"{"key_id":"\#(publicKey.id)","public_key":"\#(publicKey.base64)"}"#)
            } else {
                Output.line("made the key \(publicKey.id): \(secretPath) is secret, \(publicPath) is for everybody")
                Output.line("have it trusted: swiftlet trust add \(publicKey.base64)")
            }
            return 0
        } catch let fault as SigningFault {
            throw RuntimeError(.internalError, step: signing, cause: fault.text, next: "free memory, then try again")
        }
    }
}
