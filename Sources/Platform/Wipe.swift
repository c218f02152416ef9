// Overwrites what held a secret, so that no later look into memory finds it.
internal import Glibc

/// Overwrites an array that held a secret, and empties it. Other copies of the array keep theirs: there must be none.
package func wipe(_ bytes: inout [UInt8]) {
    unsafe bytes.withUnsafeMutableBytes { room in
        if let base = room.baseAddress { unsafe explicit_bzero(base, room.count) }
    }
    bytes.removeAll()
}
