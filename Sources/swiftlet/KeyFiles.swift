// minisign's key files on this machine: where they are, and the password that opens one.
internal import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform
internal import Signing

enum KeyFiles {
    static let publicDefault = "minisign.pub"

    /// Where minisign keeps it.
    static var secretDefault: String {
        let home = unsafe getenv("HOME").map { unsafe String(cString: $0) } ?? "."
        return "\(home)/.minisign/minisign.key"
    }

    /// Reads a secret key, and asks for its password when it has one.
    static func secret(_ path: String) throws -> SecretKey {
        let file = try read(path)
        do {
            let password = try SecretKey.needsPassword(file) ? try Password.ask("Password: ") : nil
            return try SecretKey(file, password: password)
        } catch let fault as SigningFault {
            throw RuntimeError(
                .badRequest, step: "read the secret key \(path)", cause: fault.text,
                next: "give a secret key file of minisign or of `swiftlet keygen`, and its password")
        }
    }

    /// - Parameter word: a public key file, or the key itself.
    static func publicKey(_ word: String) throws -> PublicKey {
        do {
            return try PublicKey(Bundle.isFile(word) ? read(word) : Array(word.utf8))
        } catch let fault as SigningFault {
            throw RuntimeError(
                .badRequest, step: "read the public key \(Names.quoted(word))", cause: fault.text,
                next: "give a public key file of minisign, or its second line")
        }
    }

    static func read(_ path: String) throws -> [UInt8] {
        do {
            return try Array(Data(contentsOf: URL(filePath: path)))
        } catch {
            throw RuntimeError(
                .badRequest, step: "read \(path)", cause: SystemError.text(of: errno), next: "check the path")
        }
    }

    /// - Parameter replaces: false: one that is there stays.
    static func write(_ text: String, to path: String, mode: UInt32, replaces: Bool) throws {
        if !replaces, unsafe access(path, F_OK) == 0 {
            throw RuntimeError(
                .conflict, step: "write \(path)", cause: "it is there already",
                next: "choose another name, or replace it with -f: what it signed can't be signed again then")
        }
        if let slash = path.lastIndex(of: "/") {
            try? FileManager.default.createDirectory(
                atPath: String(path[..<slash]), withIntermediateDirectories: true)
        }
        do {
            try WholeFiles.write(Array(text.utf8), to: path, mode: mode)
        } catch {
            throw RuntimeError(.insufficientStorage, step: "write \(path)", cause: "\(error)", next: "check its folder")
        }
    }
}

/// A line that is not shown while it is typed.
enum Password {
    static func ask(_ prompt: String) throws -> [UInt8] {
        Output.bytes(Array(prompt.utf8), to: 2)
        var before = termios()
        let isTerminal = unsafe tcgetattr(0, &before) == 0
        if isTerminal {
            var hidden = before
            hidden.c_lflag &= ~tcflag_t(ECHO)
            unsafe tcsetattr(0, TCSAFLUSH, &hidden)
        }
        defer {
            if isTerminal { unsafe tcsetattr(0, TCSAFLUSH, &before) }
            Output.bytes([10], to: 2)
        }
        var line: [UInt8] = []
        var byte: UInt8 = 0
        // One at a time: a second question may follow on the same input.
        while unsafe Glibc.read(0, &byte, 1) == 1, byte != 10 {
            line.append(byte)
            guard line.count <= 1024 else { throw UsageError(text: "a password has at most 1024 bytes") }
        }
        return line
    }

    /// Asks twice.
    static func choose() throws -> [UInt8] {
        let first = try ask("Password: ")
        guard try ask("Password (one more time): ") == first else {
            throw UsageError(text: "the two passwords differ: nothing was made")
        }
        guard !first.isEmpty else { throw UsageError(text: "a password is not empty; -W makes a key without one") }
        return first
    }
}
