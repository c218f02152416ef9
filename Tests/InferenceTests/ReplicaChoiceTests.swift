// Which replica answers: where the beginning was read before, unless others have much less to do.
@testable import Inference
import Testing

private func chat(_ tenant: String, _ texts: String...) -> [Int] {
    let messages = texts.map { ChatMessage(role: "user", content: $0) }
    return ReplicaChoice.beginnings(
        of: .generation(GenerationRequest(tenant: tenant, prompt: .chat(messages), options: GenerationOptions())))
}
private func text(_ tenant: String, _ text: String) -> [Int] {
    ReplicaChoice.beginnings(
        of: .generation(GenerationRequest(tenant: tenant, prompt: .text(text), options: GenerationOptions())))
}
private func loads(_ loads: Int...) -> [ReplicaChoice.Candidate] {
    loads.map { ReplicaChoice.Candidate(.ready, load: $0) }
}

@Suite struct ReplicaChoiceTests {
    @Test func theLeastBusyIsTakenAndTheFirstOfEquals() {
        var choice = ReplicaChoice()
        #expect(choice.choose(among: loads(3, 1, 2), beginnings: []) == 1)
        #expect(choice.choose(among: loads(0, 0, 0), beginnings: []) == 0)
    }

    @Test func aConversationStaysWhereItWasRead() {
        var choice = ReplicaChoice()
        #expect(choice.choose(among: loads(1, 0), beginnings: chat("a", "system", "hello")) == 1)
        #expect(choice.choose(among: loads(0, 4), beginnings: chat("a", "system", "hello", "hi", "more")) == 1)
        #expect(choice.choose(among: loads(0, 4), beginnings: chat("a", "system", "other")) == 1, "its system prompt")
        #expect(choice.choose(among: loads(0, 4), beginnings: chat("b", "system", "hello")) == 0, "another tenant's")
        #expect(choice.choose(among: loads(0, 4), beginnings: chat("a", "another")) == 0)
    }

    @Test func whereItWasReadCountsNoMoreWhenOthersHaveMuchLessToDo() {
        var choice = ReplicaChoice()
        #expect(choice.choose(among: loads(1, 0), beginnings: chat("a", "hello")) == 1)
        #expect(choice.choose(among: loads(0, ReplicaChoice.tolerance + 1), beginnings: chat("a", "hello")) == 0)
        #expect(choice.choose(among: loads(1, 0), beginnings: chat("a", "hello")) == 0, "and it was moved")
    }

    @Test func textsAreKnownByTheirFirstBytes() {
        var choice = ReplicaChoice()
        let long = String(repeating: "x", count: 600)
        #expect(text("a", long).count == 2 && text("a", "short").isEmpty)
        #expect(choice.choose(among: loads(1, 0), beginnings: text("a", long + "one")) == 1)
        #expect(choice.choose(among: loads(0, 1), beginnings: text("a", long + "two and more")) == 1)
        #expect(choice.choose(among: loads(0, 1), beginnings: text("a", "y" + long)) == 0)
    }

    @Test func whoIsReadyComesBeforeWhoLoadsAndWhoDiesAnswersForWhoSleeps() {
        var choice = ReplicaChoice()
        typealias C = ReplicaChoice.Candidate
        #expect(choice.choose(among: [C(.coming, load: 0), C(.ready, load: 9)], beginnings: []) == 1)
        #expect(choice.choose(among: [C(.asleep, load: 0), C(.coming, load: 9)], beginnings: []) == 1)
        #expect(choice.choose(among: [C(.asleep, load: 0), C(.blocked, load: 0)], beginnings: []) == 1)
        #expect(choice.choose(among: [C(.blocked, load: 0)], beginnings: []) == 0)
    }

    @Test func itForgetsInsteadOfGrowing() {
        var choice = ReplicaChoice()
        for number in 0..<100_000 { _ = choice.choose(among: loads(0, 1), beginnings: [number]) }
        #expect(choice.choose(among: loads(1, 0), beginnings: [0]) == 1, "forgotten")
        #expect(choice.choose(among: loads(1, 0), beginnings: [99_999]) == 0, "not forgotten")
    }
}
