// What is asked of a model when no text is to be made: vectors for texts, or the tokens of one.
package import Ledger

/// One text: as it is, or as the model's tokens.
package enum EmbeddingInput: Equatable, Sendable {
    case text(String)
    case tokens([Int32])
    /// A chat, to be counted as the model's template lays it out. There are no vectors of chats.
    case turns([ChatMessage])
}

/// Vectors to be made, one an input, in their order.
package struct EmbeddingRequest: Equatable, Sendable {
    package var tenant: String
    package var inputs: [EmbeddingInput]
    /// How long the vectors must be; nil: as the model makes them.
    package var dimensions: Int?
    /// What errors call the inputs.
    package var names: InputNames
    /// Told what it takes.
    package var meter: CallMeter?

    package init(
        tenant: String, inputs: [EmbeddingInput], dimensions: Int? = nil, names: InputNames = InputNames(list: "input")
    ) {
        self.tenant = tenant
        self.inputs = inputs
        self.dimensions = dimensions
        self.names = names
    }
}

/// Where each input stood in the body, for errors.
package struct InputNames: Equatable, Sendable {
    private let first: String?
    private let list: String

    /// All inputs are elements of one field.
    package init(list: String) {
        first = nil
        self.list = list
    }

    /// The first has a field of its own, the others are elements of another.
    package init(one first: String, list: String = "") {
        self.first = first
        self.list = list
    }

    func name(_ index: Int) -> String {
        guard let first else { return "\(list)[\(index)]" }
        return index == 0 ? first : "\(list)[\(index - 1)]"
    }
}

/// The tokens of a text or a chat.
package struct TokenizeRequest: Equatable, Sendable {
    package var tenant: String
    var input: EmbeddingInput
    /// With what the model wants around a text.
    var addSpecial: Bool
    /// Told what it takes.
    package var meter: CallMeter?

    package init(tenant: String, text: String, addSpecial: Bool) {
        self.tenant = tenant
        input = .text(text)
        self.addSpecial = addSpecial
    }

    package init(tenant: String, turns: [ChatMessage]) {
        self.tenant = tenant
        input = .turns(turns)
        addSpecial = true
    }

    var isChat: Bool { if case .turns = input { true } else { false } }
}
