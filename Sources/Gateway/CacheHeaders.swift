// The header fields by which a request asks for the response cache, and those that say what came of it (docs/openai.md).
internal import HTTP
internal import Inference
internal import Platform

extension Gateway {
    /// What the request wants of the cache; nil: nothing. `note` is called on this loop, before the answer's first event.
    func caching(
        _ exchange: HTTPExchange, note: @escaping (ResponseCaching.Outcome) -> Void
    ) throws(OpenAIError) -> ResponseCaching? {
        switch exchange.request.headers.first("x-swiftlet-cache") {
        case nil, "off": return nil
        case "on": break
        default: throw .invalid(nil, "x-swiftlet-cache: must be on or off", code: "invalid_value")
        }
        let own = LoopBound(Note(note), on: loop)
        let remote = loop.remote
        var caching = ResponseCaching { outcome in remote.submit { _ in own.value.note(outcome) } }
        for part in (exchange.request.headers.first("cache-control") ?? "").split(separator: ",") {
            let word = part.trimming(while: { $0 == " " || $0 == "\t" }).lowercased()
            if word == "no-store" { return nil }
            if word == "no-cache" { caching.mayRead = false }
            guard word.hasPrefix("max-age=") else { continue }
            guard let seconds = UInt64(word.dropFirst("max-age=".count)), seconds <= 1 << 40 else {
                throw .invalid(nil, "cache-control: max-age takes whole seconds", code: "invalid_value")
            }
            caching.maxAge = seconds * 1000
        }
        return caching
    }

    func append(_ outcome: ResponseCaching.Outcome?, to headers: inout HTTPHeaders) {
        switch outcome {
        case nil: return
        case .hit(let age):
            _ = headers.append("x-swiftlet-cache", "hit")
            _ = headers.append("age", "\(age)")
        case .miss: _ = headers.append("x-swiftlet-cache", "miss")
        case .bypass: _ = headers.append("x-swiftlet-cache", "bypass")
        }
    }
}

private final class Note {
    let note: (ResponseCaching.Outcome) -> Void
    init(_ note: @escaping (ResponseCaching.Outcome) -> Void) { self.note = note }
}

extension Substring {
    fileprivate func trimming(while isSpace: (Character) -> Bool) -> Substring {
        var text = drop(while: isSpace)
        while let last = text.last, isSpace(last) { text.removeLast() }
        return text
    }
}
