// A log of a few entries, and what a hand can do to its files.
import Core
import TestSupport
import Testing

@testable import Audit

/// A state directory with a log in one segment, and its bytes.
struct Bench {
    let scratch: Scratch
    let first = AuditPlace.name(1)

    init(entries: Int, limits: AuditLimits = AuditLimits(), time: Int64 = 1000) throws {
        scratch = try Scratch()
        try write(1...entries, limits: limits, time: time)
    }

    /// One commit an entry.
    func write(_ numbers: ClosedRange<Int>, limits: AuditLimits = AuditLimits(), time: Int64 = 1000) throws {
        var writer = try AuditWriter(state: scratch.path, limits: limits)
        for number in numbers { _ = try writer.commit([(time + Int64(number), Self.event(number))]) }
    }

    static func event(_ number: Int) -> AuditEvent {
        AuditEvent(
            actor: "key_\(number)", actorTenant: number.isMultiple(of: 2) ? "acme" : "", role: "tenant-admin",
            tenant: number.isMultiple(of: 3) ? "other" : "acme", peer: "127.0.0.1:\(4000 + number)",
            requestID: "req-\(number)", act: number.isMultiple(of: 2) ? "deploy" : "key.create",
            target: "acme/f\(number)",
            status: 201, detail: "ünï \(number)")
    }

    var log: [UInt8] {
        get throws { try scratch.read("audit/\(first)") }
    }

    func setLog(_ bytes: [UInt8]) throws { try scratch.write("audit/\(first)", bytes) }

    var head: [UInt8] {
        get throws { try scratch.read("audit/head") }
    }

    func setHead(_ bytes: [UInt8]) throws { try scratch.write("audit/head", bytes) }

    var key: AuditKey {
        get throws { AuditKey(bytes: try scratch.read("audit.key")) }
    }

    /// The log, an entry apiece.
    static func frames(_ bytes: [UInt8]) throws -> [[UInt8]] {
        var frames: [[UInt8]] = []
        var offset = 0
        while offset < bytes.count {
            guard case .entry(let entry) = AuditEntry.read(bytes, at: offset) else {
                throw Broken(what: "at \(offset)")
            }
            frames.append(entry.frame)
            offset += entry.frame.count
        }
        return frames
    }

    /// What is wrong with it; nil: nothing.
    func damage(expected: AuditPoint? = nil) throws -> AuditDamage? {
        do {
            _ = try AuditVerification.run(state: scratch.path, expected: expected)
            return nil
        } catch let damage as AuditDamage {
            return damage
        }
    }

    /// Whether a host would start with it.
    var opens: Bool {
        do {
            _ = try AuditWriter(state: scratch.path, limits: AuditLimits())
            return true
        } catch {
            return false
        }
    }

    var report: AuditReport {
        get throws { try AuditVerification.run(state: scratch.path) }
    }
}
