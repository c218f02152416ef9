// From tokens to what the client may see: whole characters, and nothing of a stop string.

/// The log probability of one token, with what else could have come.
package struct TokenLogprob: Equatable, Sendable {
    package struct Alternative: Equatable, Sendable {
        package var piece: [UInt8]
        package var logprob: Float

        package init(piece: [UInt8], logprob: Float) {
            self.piece = piece
            self.logprob = logprob
        }
    }

    package var piece: [UInt8]
    package var logprob: Float
    /// Likeliest first.
    package var top: [Alternative]

    package init(piece: [UInt8], logprob: Float, top: [Alternative] = []) {
        self.piece = piece
        self.logprob = logprob
        self.top = top
    }
}

/// What one push released.
package struct AssembledText: Equatable, Sendable {
    package var text = ""
    /// Of the tokens since the last text that was released.
    package var logprobs: [TokenLogprob] = []
    /// A stop string was found; the text ends before it.
    package var stopped = false
}

/// Assembles the text of one answer.
package struct TextAssembler {
    private var characters = CharacterAssembler()
    private var stops: StopMatcher
    private var logprobs: [TokenLogprob] = []

    /// The stop string that ended the text.
    package var stop: String? { stops.found }

    package init(stops: [String]) { self.stops = StopMatcher(stops) }

    /// Adds a picked token.
    package mutating func push(_ piece: [UInt8], logprob: TokenLogprob? = nil) -> AssembledText {
        if let logprob { logprobs.append(logprob) }
        let (text, stopped) = stops.push(characters.push(piece))
        if stopped {
            // The last tokens made up the stop string; nobody sees them.
            return AssembledText(text: text, logprobs: [], stopped: true)
        }
        return release(text)
    }

    /// Gives out the rest when the answer ended by itself or by its length.
    package mutating func finish() -> AssembledText {
        let (text, stopped) = stops.push(characters.finish())
        guard !stopped else { return AssembledText(text: text, stopped: true) }
        var rest = release(text + stops.finish())
        rest.logprobs += logprobs
        logprobs = []
        return rest
    }

    private mutating func release(_ text: String) -> AssembledText {
        guard !text.isEmpty else { return AssembledText() }
        defer { logprobs = [] }
        return AssembledText(text: text, logprobs: logprobs)
    }
}
