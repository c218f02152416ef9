// The book of a worker's calls: what an honest worker does goes through, and what breaks the protocol is found.
import SwiftletWire
import Testing
import Workers

@testable import Scheduler

@Suite struct HostCallsTests {
    @Test func aCallComesInPartsAndIsOpenUntilItsReplyIsGone() {
        var calls = HostCalls()
        #expect(calls.begin(7, "secret.get", [1]))
        let more: [UInt8] = [2, 3]
        #expect(calls.append(more.span.bytes, to: 7))
        let whole = calls.complete()
        #expect(whole?.number == 7 && whole?.name == "secret.get" && whole?.payload == [1, 2, 3])
        #expect(!calls.begin(7, "secret.get", []), "its number is taken")
        calls.answered(7)
        #expect(!calls.begin(7, "secret.get", []), "the reply still waits")
        calls.forgetAnswered()
        #expect(calls.begin(7, "secret.get", []))
    }

    @Test func oneCallComesWholeBeforeTheNext() {
        var calls = HostCalls()
        #expect(calls.complete() == nil)
        let more: [UInt8] = [1]
        #expect(!calls.append(more.span.bytes, to: 1), "no call is coming in")
        #expect(calls.begin(1, "a", []))
        #expect(!calls.begin(2, "b", []))
        #expect(!calls.append(more.span.bytes, to: 2))
    }

    @Test func noMoreAreOpenThanAnswersAreReadOf() {
        var calls = HostCalls()
        for number in 0..<UInt32(WIRE_CALLS_MAX) {
            #expect(calls.begin(number, "a", []))
            #expect(calls.complete() != nil)
        }
        #expect(!calls.begin(UInt32(WIRE_CALLS_MAX), "a", []))
        calls.cancelled(3)
        #expect(calls.begin(UInt32(WIRE_CALLS_MAX), "a", []))
    }

    @Test func aPayloadIsBounded() {
        var calls = HostCalls()
        #expect(calls.begin(1, "a", [UInt8](repeating: 0, count: HostCalls.longest - 1)))
        let two: [UInt8] = [1, 2]
        #expect(!calls.append(two.span.bytes, to: 1))
        #expect(calls.append(two.span.extracting(0..<1).bytes, to: 1))
        #expect(calls.complete()?.payload.count == HostCalls.longest)
    }
}
