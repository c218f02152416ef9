// The book of a worker's calls: what an honest worker does goes through, and what breaks the protocol is found.
import SwiftletWire
import Testing
import Workers

@testable import Scheduler

/// A test's calls, asked with arrays: what `#expect` can take apart.
private final class Book {
    var calls = HostCalls()

    func begin(_ number: UInt32, _ payload: [UInt8] = []) -> Bool { calls.begin(number, "secret.get", payload) }
    func append(_ bytes: [UInt8], to number: UInt32) -> Bool { unsafe calls.append(bytes.span.bytes, to: number) }
    func complete() -> HostCalls.Call? { calls.complete() }
}

@Suite struct HostCallsTests {
    private let book = Book()

    @Test func aCallComesInPartsAndIsOpenUntilItsReplyIsGone() {
        #expect(book.begin(7, [1]) && book.append([2, 3], to: 7))
        let whole = book.complete()
        #expect(whole?.number == 7 && whole?.name == "secret.get" && whole?.payload == [1, 2, 3])
        #expect(!book.begin(7), "its number is taken")
        book.calls.answered(7)
        #expect(!book.begin(7), "the reply still waits")
        book.calls.forgetAnswered()
        #expect(book.begin(7))
    }

    @Test func oneCallComesWholeBeforeTheNext() {
        #expect(book.complete() == nil)
        #expect(!book.append([1], to: 1), "no call is coming in")
        #expect(book.begin(1))
        #expect(!book.begin(2))
        #expect(!book.append([1], to: 2))
    }

    @Test func noMoreAreOpenThanAnswersAreReadOf() {
        for number in 0..<UInt32(WIRE_CALLS_MAX) {
            #expect(book.begin(number))
            #expect(book.complete() != nil)
        }
        #expect(!book.begin(UInt32(WIRE_CALLS_MAX)))
        book.calls.cancelled(3)
        #expect(book.begin(UInt32(WIRE_CALLS_MAX)))
    }

    @Test func aPayloadIsBounded() {
        #expect(book.begin(1, [UInt8](repeating: 0, count: HostCalls.longest - 1)))
        #expect(!book.append([1, 2], to: 1))
        #expect(book.append([1], to: 1))
        #expect(book.complete()?.payload.count == HostCalls.longest)
    }
}
