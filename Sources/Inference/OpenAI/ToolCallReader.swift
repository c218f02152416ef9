// Takes an answer apart that may be a call of a function, piece by piece as it comes; the grammar made sure of its form.

/// What a piece of text turned out to be.
enum AnswerPart: Equatable {
    case content(String)
    case call(name: String)
    case arguments(String)
}

/// Reads one answer: `{"name": "f", "arguments": {…}}`, or plain text.
struct ToolCallReader {
    static let opening = "{\"name\": \""
    static let middle = "\", \"arguments\": "

    private enum State {
        case undecided, content, name, arguments
    }

    private var state: State
    private var head = ""
    private var depth = 1
    private var inString = false
    private var escaped = false
    /// The call was written to its end.
    private(set) var isComplete = false

    init(_ form: AnswerForm) {
        state = form == .text ? .content : .undecided
    }

    mutating func push(_ text: String) -> [AnswerPart] {
        guard !text.isEmpty else { return [] }
        switch state {
        case .content: return [.content(text)]
        case .undecided:
            state = text.unicodeScalars.first == "{" ? .name : .content
            return push(text)
        case .name: return pushName(text)
        case .arguments:
            let more = arguments(text)
            return more.isEmpty ? [] : [.arguments(more)]
        }
    }

    private mutating func pushName(_ text: String) -> [AnswerPart] {
        head += text
        guard let end = head.firstRange(of: Self.middle), head.hasPrefix(Self.opening) else { return [] }
        let name = String(head[..<end.lowerBound].dropFirst(Self.opening.count))
        let rest = String(head[end.upperBound...])
        state = .arguments
        let more = arguments(rest)
        return [.call(name: name)] + (more.isEmpty ? [] : [.arguments(more)])
    }

    /// What belongs to the arguments: all before the brace that closes the call.
    private mutating func arguments(_ text: String) -> String {
        var kept = String.UnicodeScalarView()
        for scalar in text.unicodeScalars where !isComplete {
            if inString {
                if escaped {
                    escaped = false
                } else if scalar == "\\" {
                    escaped = true
                } else if scalar == "\"" {
                    inString = false
                }
            } else if scalar == "\"" {
                inString = true
            } else if scalar == "{" || scalar == "[" {
                depth += 1
            } else if scalar == "}" || scalar == "]" {
                depth -= 1
                isComplete = depth == 0
            }
            if !isComplete { kept.append(scalar) }
        }
        return String(kept)
    }

    /// A name for a call, by which its result is told apart.
    static func newID(_ prefix: String = "call_") -> String {
        let digits = Array("0123456789abcdefghijklmnopqrstuvwxyz")
        return prefix + String((0..<24).map { _ in digits[Int.random(in: 0..<digits.count)] })
    }
}
