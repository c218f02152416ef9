// Turns the events of one request into the typed events of OpenAI's responses; an answer is one item.

package struct ResponseStream: AnswerStream {
    private let head: AnswerHead
    private let echo: ResponsesEcho
    private var reader: ToolCallReader
    /// The item so far; nil: none was begun.
    private var item: AnswerChoice?
    private var sequence = 0
    package private(set) var isOver = false

    package init(_ head: AnswerHead, _ request: ResponsesRequest) {
        self.head = head
        echo = request.echo
        reader = ToolCallReader(request.chat.options.form)
    }

    package mutating func write(_ event: GenerationEvent, choice: Int) -> [UInt8] {
        guard !isOver else { return [] }
        switch event {
        case .queued, .embedding, .tokens, .inferred: return []
        case .started: return response("response.created", .inProgress) + response("response.in_progress", .inProgress)
        case .text(let text, _):
            var bytes: [UInt8] = []
            for part in reader.push(text) { bytes += write(part) }
            return bytes
        case .finished(let reason, let usage, _): return finish(reason, usage)
        case .failed(let error):
            isOver = true
            return response("response.failed", .failed(error))
        }
    }

    // MARK: the item

    private mutating func write(_ part: AnswerPart) -> [UInt8] {
        switch part {
        case .content(let text):
            let opening = item == nil ? openMessage() : []
            item?.text += text
            let place = place(part: true)
            return opening
                + event("response.output_text.delta") { json in
                    json.raw(bytes: place)
                    json.raw(",\"logprobs\":[],\"delta\":")
                    json.string(text)
                }
        case .call(let name):
            return open(AnswerChoice(call: AnswerChoice.Call(id: ToolCallReader.newID(), name: name)))
        case .arguments(let text):
            item?.call?.arguments += text
            let place = place()
            return event("response.function_call_arguments.delta") { json in
                json.raw(bytes: place)
                json.raw(",\"delta\":")
                json.string(text)
            }
        }
    }

    private mutating func open(_ new: AnswerChoice) -> [UInt8] {
        item = new
        return itemEvent("response.output_item.added", new, .inProgress)
    }

    private mutating func openMessage() -> [UInt8] {
        open(AnswerChoice()) + partEvent("response.content_part.added", "")
    }

    private mutating func close(_ status: ResponseWriter.Status) -> [UInt8] {
        let opening = item == nil ? openMessage() : []
        guard let item else { return opening }
        guard let call = item.call else {
            let place = place(part: true)
            let text = event("response.output_text.done") { json in
                json.raw(bytes: place)
                json.raw(",\"logprobs\":[],\"text\":")
                json.string(item.text)
            }
            return opening + text + partEvent("response.content_part.done", item.text)
                + itemEvent("response.output_item.done", item, status)
        }
        let place = place()
        let arguments = event("response.function_call_arguments.done") { json in
            json.raw(bytes: place)
            json.raw(",\"name\":")
            json.string(call.name)
            json.raw(",\"arguments\":")
            json.string(call.arguments)
        }
        return arguments + itemEvent("response.output_item.done", item, status)
    }

    private mutating func finish(_ reason: FinishReason, _ usage: TokenUsage) -> [UInt8] {
        isOver = true
        let status = ResponseWriter.Status(reason, isCall: reader.isComplete, cutBy: usage.cutBy)
        let closing = close(status)
        if case .incomplete = status { return closing + response("response.incomplete", status, usage) }
        return closing + response("response.completed", status, usage)
    }

    // MARK: events

    private mutating func response(
        _ name: StaticString, _ status: ResponseWriter.Status, _ usage: TokenUsage? = nil
    ) -> [UInt8] {
        let body = ResponseWriter.response(head, echo, status, item, usage: usage)
        return event(name) { json in
            json.raw(",\"response\":")
            json.raw(bytes: body)
        }
    }

    private mutating func itemEvent(
        _ name: StaticString, _ item: AnswerChoice, _ status: ResponseWriter.Status
    ) -> [UInt8] {
        event(name) { [head] json in
            json.raw(",\"output_index\":0,\"item\":")
            ResponseWriter.item(&json, head, item, status)
        }
    }

    private mutating func partEvent(_ name: StaticString, _ text: String) -> [UInt8] {
        let place = place(part: true)
        return event(name) { json in
            json.raw(bytes: place)
            json.raw(",\"part\":")
            ResponseWriter.part(&json, text)
        }
    }

    /// Which item, and which part of it, an event is about.
    private func place(part: Bool = false) -> [UInt8] {
        var json = JSONWriter()
        json.raw(",\"item_id\":")
        json.string(ResponseWriter.itemID(head, isCall: item?.call != nil))
        json.raw(",\"output_index\":0")
        if part { json.raw(",\"content_index\":0") }
        return json.bytes
    }

    private mutating func event(_ name: StaticString, _ body: (inout JSONWriter) -> Void) -> [UInt8] {
        var json = JSONWriter()
        json.raw("{\"type\":\"")
        json.raw(name)
        json.raw("\",\"sequence_number\":")
        json.integer(sequence)
        sequence += 1
        body(&json)
        json.raw("}")
        return namedEvent("\(name)", json.bytes)
    }
}
