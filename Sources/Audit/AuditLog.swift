// The audit log of a running host: who did what, on disk before anybody is answered. AuditWriter.swift is the disk's side.
package import Core
internal import Platform
internal import Synchronization

package final class AuditLog: Sendable {
    /// Entries of one commit at most, so that one fits into the space that is kept for it.
    private static let batch = 64

    private struct Waiting {
        let milliseconds: Int64
        let event: AuditEvent
        let then: (@Sendable (Result<AuditPoint, RuntimeError>) -> Void)?
    }

    private struct State {
        var waiting: [Waiting] = []
        var isWriting = false
        var flood = AuditFlood()
        /// Denied accesses that could not be written down.
        var lost: UInt32 = 0
        var refusal: RuntimeError?
        var head: AuditPoint
        var denied: UInt64 = 0
    }

    private let run: @Sendable (@escaping @Sendable () -> Void) -> Void
    private let reading: @Sendable (@escaping @Sendable () -> Void) -> Void
    private let state: Mutex<State>
    /// Touched by what `run` runs, one job at a time.
    private let writer: Mutex<AuditWriter>
    let place: AuditPlace

    /// Opens the log of a state directory that the caller has claimed, or begins one.
    ///
    /// - Parameters:
    ///   - run: runs jobs that block, one after another, on a thread that does little else: acts wait for it.
    ///   - reading: the same for jobs that take their time.
    package init(
        stateDirectory: String, limits: AuditLimits = AuditLimits(),
        run: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void,
        reading: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void
    ) throws(RuntimeError) {
        self.run = run
        self.reading = reading
        place = AuditPlace(state: stateDirectory)
        do {
            let writer = try AuditWriter(state: stateDirectory, limits: limits)
            state = Mutex(State(head: writer.head.settled))
            self.writer = Mutex(writer)
        } catch let damage as AuditDamage {
            throw damage.refusal(place.directory)
        } catch {
            throw Self.storageError(place, "\(error)")
        }
    }

    /// Writes an act down. `then` is called elsewhere, once the entry is on disk: answer the caller only then.
    package func record(
        _ event: AuditEvent, then: (@Sendable (Result<AuditPoint, RuntimeError>) -> Void)? = nil
    ) {
        add([Waiting(milliseconds: WallClock.milliseconds, event: event, then: then)])
    }

    /// Writes a denied access down, soon; many of a kind become one entry with their number.
    package func deny(_ event: AuditEvent) {
        let now = WallClock.milliseconds
        let events = state.withLock { state in
            state.denied += UInt64(event.count)
            return state.flood.add(event, now: now)
        }
        add(events.map { Waiting(milliseconds: now, event: $0, then: nil) })
    }

    /// Why no act may begin now: it could not be written down.
    package var refusal: RuntimeError? { state.withLock(\.refusal) }

    /// How the log ends on disk.
    package var head: AuditPoint { state.withLock(\.head) }

    /// Denied accesses of this life of the host.
    package var deniedCount: UInt64 { state.withLock(\.denied) }

    /// Call it about once a second: ends windows of denied accesses, and tries a full disk again.
    package func tick() {
        let now = WallClock.milliseconds
        let (events, isBlocked) = state.withLock { ($0.flood.expire(now: now), $0.refusal != nil) }
        add(events.map { Waiting(milliseconds: now, event: $0, then: nil) })
        if isBlocked { run { [self] in reserveSpace() } }
    }

    /// Moves what is old enough to the archive; call it now and then.
    package func archiveOld() {
        run { [self] in
            let result = writer.withLock { writer in Result { try writer.archive(now: WallClock.milliseconds) } }
            switch result {
            case .success(let begins):
                for begin in begins {
                    record(AuditEvent(actor: "host", act: "audit.archive", target: "\(begin)"))
                }
            case .failure(let error):
                Log.error("old entries of the audit log stay where they are", [("cause", "\(error)")])
            }
        }
    }

    /// Writes what is held back and waits for it. Call it on the thread of `run`, or after that ended.
    package func close() {
        let now = WallClock.milliseconds
        let events = state.withLock { $0.flood.flush() }
        add(events.map { Waiting(milliseconds: now, event: $0, then: nil) })
        writeAll()
    }

    /// Runs what reads the log's files, where writing isn't held up by it.
    func read(_ job: @escaping @Sendable () -> Void) { reading(job) }

    // MARK: writing

    private func add(_ more: [Waiting]) {
        guard !more.isEmpty else { return }
        let begins = state.withLock { state in
            state.waiting += more
            defer { state.isWriting = true }
            return !state.isWriting
        }
        if begins { run { [self] in writeAll() } }
    }

    /// What comes while one commit is flushed is the next commit.
    private func writeAll() {
        while let batch = takeBatch() {
            let result = commit(batch.map { ($0.milliseconds, $0.event) })
            for one in batch { one.then?(result) }
        }
        reserveSpace()
    }

    private func takeBatch() -> [Waiting]? {
        state.withLock { state in
            guard !state.waiting.isEmpty else {
                state.isWriting = false
                return nil
            }
            let batch = Array(state.waiting.prefix(Self.batch))
            state.waiting.removeFirst(batch.count)
            return batch
        }
    }

    private func commit(_ events: [(milliseconds: Int64, event: AuditEvent)]) -> Result<AuditPoint, RuntimeError> {
        let lost = state.withLock(\.lost)
        var events = events
        if lost > 0 {
            events.append(
                (
                    WallClock.milliseconds,
                    AuditEvent(
                        actor: "host", act: "audit.lost", detail: "denied accesses that could not be written down",
                        count: lost)
                ))
        }
        let result = writer.withLock { writer in
            do throws(SystemError) {
                return Result<AuditPoint, RuntimeError>.success(try writer.commit(events))
            } catch {
                return .failure(Self.storageError(place, "\(error)"))
            }
        }
        state.withLock { state in
            switch result {
            case .success(let head):
                state.head = head
                state.lost -= lost
                state.refusal = nil
            case .failure(let error):
                state.refusal = error
                for (_, event) in events where event.act == AuditAct.denied { state.lost += event.count }
            }
        }
        if case .failure(let error) = result {
            Log.error("the audit log can't be written; no act is allowed until it can", [("cause", error.cause)])
        }
        return result
    }

    private func reserveSpace() {
        let failure = writer.withLock { writer in
            do throws(SystemError) {
                try writer.reserveSpace()
                return RuntimeError?.none
            } catch {
                return Self.storageError(place, "\(error)")
            }
        }
        let was = state.withLock { state in
            defer { state.refusal = failure }
            return state.refusal
        }
        if let failure, was == nil {
            Log.error(
                "there is no space for the audit log; no act is allowed until there is", [("cause", failure.cause)])
        }
    }

    static func storageError(_ place: AuditPlace, _ cause: String) -> RuntimeError {
        RuntimeError(
            .insufficientStorage, step: "write the audit log in \(place.directory)", cause: cause,
            next:
                "free space on its disk and check that it can be written; nothing is changed that can't be written down"
        )
    }
}

/// Acts that more than one place names.
package enum AuditAct {
    package static let denied = "denied"
}
