// Text from tokens: whatever the borders of the tokens, the text is the same, and no stop string is ever seen.
@testable import Inference
import TestSupport
import Testing

/// Cuts bytes at random places.
private func cut(_ bytes: [UInt8], _ generator: inout SeededGenerator) -> [[UInt8]] {
    var pieces: [[UInt8]] = []
    var rest = bytes[...]
    while !rest.isEmpty {
        let piece = rest.prefix(Int.random(in: 1...5, using: &generator))
        pieces.append(Array(piece))
        rest = rest.dropFirst(piece.count)
    }
    return pieces
}

private func assemble(_ pieces: [[UInt8]], stops: [String] = []) -> (text: String, stopped: Bool) {
    var assembler = TextAssembler(stops: stops)
    var text = ""
    for piece in pieces {
        let part = assembler.push(piece)
        text += part.text
        if part.stopped { return (text, true) }
    }
    let rest = assembler.finish()
    return (text + rest.text, rest.stopped)
}

@Test func charactersSurviveAnyBorders() {
    let words = ["a", "é", "€", "😀", "\n", "\u{0}", "🏳️‍🌈", "漢", "z", "\u{10FFFF}", "\u{7FF}", "\u{D7FF}"]
    for seed in 0..<2_000 {
        var generator = SeededGenerator(seed: UInt64(seed))
        let whole = (0..<Int.random(in: 0...20, using: &generator)).map { _ in
            words.randomElement(using: &generator) ?? ""
        }.joined()
        #expect(assemble(cut(Array(whole.utf8), &generator)).text == whole, "seed \(seed)")
    }
}

@Test func brokenBytesBecomeWhatTheWholeWouldBecome() {
    let lead: [UInt8] = [
        0x41, 0x80, 0xBF, 0xC0, 0xC2, 0xC3, 0xE0, 0xA0, 0xED, 0x9F, 0xEF, 0xF0, 0x90, 0xF4, 0x8F, 0xF5, 0xFF,
    ]
    for seed in 0..<5_000 {
        var generator = SeededGenerator(seed: UInt64(seed))
        let bytes = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
            lead.randomElement(using: &generator) ?? 0
        }
        #expect(
            assemble(cut(bytes, &generator)).text == String(decoding: bytes, as: UTF8.self), "seed \(seed): \(bytes)")
    }
}

@Test func textIsHeldBackOnlyWhenItMustBe() {
    var assembler = TextAssembler(stops: ["END"])
    #expect(assembler.push(Array("aEb".utf8)).text == "aEb")
    #expect(assembler.push(Array("cE".utf8)).text == "c")
    #expect(assembler.push(Array("N".utf8)).text == "")
    #expect(assembler.push(Array("E".utf8)).text == "EN")
    #expect(assembler.push([0xC3]).text == "")
    #expect(assembler.push([0xA9]).text == "Eé")
    #expect(assembler.push(Array("xEN".utf8)).text == "x")
    #expect(assembler.push(Array("Dy".utf8)) == AssembledText(text: "", stopped: true))
}

/// The plainest way to find the stop string that ends first.
private func reference(_ whole: String, _ stops: [String]) -> (text: String, stopped: Bool) {
    let bytes = Array(whole.utf8)
    for end in 0...bytes.count {
        let ending = stops.map { Array($0.utf8) }.filter {
            $0.count <= end && bytes[(end - $0.count)..<end].elementsEqual($0)
        }
        if let longest = ending.map(\.count).max() {
            return (String(decoding: bytes[..<(end - longest)], as: UTF8.self), true)
        }
    }
    return (whole, false)
}

@Test func stopsAreFoundAcrossAnyBorders() {
    let alphabet = ["a", "b", "ab", "é", "€", "aab"]
    for seed in 0..<5_000 {
        var generator = SeededGenerator(seed: UInt64(seed))
        func word(_ lengths: ClosedRange<Int>) -> String {
            (0..<Int.random(in: lengths, using: &generator)).map { _ in alphabet.randomElement(using: &generator) ?? ""
            }.joined()
        }
        let whole = word(0...16)
        let stops = (0..<Int.random(in: 1...3, using: &generator)).map { _ in word(1...4) }
        let (text, stopped) = assemble(cut(Array(whole.utf8), &generator), stops: stops)
        let expected = reference(whole, stops)
        #expect(text == expected.text && stopped == expected.stopped, "seed \(seed): \(whole) \(stops)")
    }
}

@Test func hostileStopsCostNoMoreThanPlainOnes() {
    let stops = (0..<16).map { String(repeating: "a", count: 1000 + $0) + "b" }
    var assembler = TextAssembler(stops: stops)
    let piece = Array(String(repeating: "a", count: 100).utf8)
    let clock = ContinuousClock()
    let took = clock.measure { for _ in 0..<100 { _ = assembler.push(piece) } }
    #expect(took < .seconds(2))
}

@Test func logprobsComeWithTheirTextAndNotWithAStop() {
    var assembler = TextAssembler(stops: ["stop"])
    func token(_ text: String) -> TokenLogprob { TokenLogprob(piece: Array(text.utf8), logprob: -1) }
    #expect(assembler.push(Array("a".utf8), logprob: token("a")).logprobs == [token("a")])
    #expect(assembler.push(Array("st".utf8), logprob: token("st")).logprobs == [])
    #expect(assembler.push(Array("x".utf8), logprob: token("x")).logprobs == [token("st"), token("x")])
    #expect(assembler.push(Array("sto".utf8), logprob: token("sto")).logprobs == [])
    #expect(
        assembler.push(Array("p".utf8), logprob: token("p")) == AssembledText(text: "", logprobs: [], stopped: true))
}
