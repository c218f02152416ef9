// Files that are there whole or not at all, also when the machine loses its power in the middle.
internal import Glibc

extension FileDescriptor {
    /// Writes all of the bytes, in as many calls as it takes.
    ///
    /// - Parameter name: of the file, for the error.
    package borrowing func write(_ bytes: RawSpan, _ name: String) throws(SystemError) {
        let raw = self.raw
        var done = 0
        while done < bytes.byteCount {
            let rest = bytes.extracting(done..<bytes.byteCount)
            done += try libc("write(\(name))") {
                unsafe rest.withUnsafeBytes { unsafe Glibc.write(raw, $0.baseAddress, $0.count) }
            }
        }
    }

    /// The same for an array.
    package borrowing func write(_ bytes: [UInt8], _ name: String) throws(SystemError) {
        unsafe try write(bytes.span.bytes, name)
    }

    /// Makes what was written last.
    ///
    /// - Parameter name: of the file, for the error.
    package borrowing func sync(_ name: String) throws(SystemError) {
        let raw = self.raw
        try libc("fsync(\(name))") { fsync(raw) }
    }
}

package enum WholeFiles {
    /// Writes a file beside `path` and gives it that name once it is on the disk; one that was there is replaced.
    ///
    /// - Parameters:
    ///   - mode: of the file, whatever the process's mask is.
    ///   - owner: user and group of the file; nil: who asks.
    package static func write(
        _ bytes: [UInt8], to path: String, mode: UInt32, owner: UInt32? = nil
    ) throws(SystemError) {
        let new = "\(path).new"
        _ = unsafe unlink(new)
        do throws(SystemError) {
            let file = try FileDescriptor.open(new, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: mode)
            let raw = file.raw
            try file.write(bytes, new)
            if let owner { try libc("fchown(\(new))") { fchown(raw, owner, owner) } }
            try libc("fchmod(\(new))") { fchmod(raw, mode) }
            try file.sync(new)
            try rename(new, to: path)
        } catch {
            _ = unsafe unlink(new)
            throw error
        }
    }

    /// Gives a file that is on the disk its name, so that the name lasts, too.
    package static func rename(_ new: String, to path: String) throws(SystemError) {
        try libc("rename(\(new))") { unsafe Glibc.rename(new, path) }
        try syncFolder(of: path)
    }

    /// Makes the name of a file last.
    package static func syncFolder(of path: String) throws(SystemError) {
        let folder = path.lastIndex(of: "/").map { path[..<$0] } ?? "."
        try syncNames(in: folder.isEmpty ? "/" : String(folder))
    }

    /// Makes the names in a folder last.
    package static func syncNames(in folder: String) throws(SystemError) {
        try FileDescriptor.open(folder, flags: O_RDONLY | O_DIRECTORY).sync(folder)
    }
}
