// Talks to a host over HTTP, by libcurl.
internal import CCurl
internal import Core
internal import FoundationEssentials
internal import Glibc
internal import Platform

/// An answer that arrived whole.
struct Answer {
    let status: Int
    let body: [UInt8]
    let headers: [String]

    var text: String { String(decoding: body, as: UTF8.self) }

    func header(_ name: String) -> String? {
        headers.first { $0.lowercased().hasPrefix(name + ":") }.map {
            String($0.dropFirst(name.count + 1).drop { $0 == " " })
        }
    }
}

struct Client {
    let base: String
    /// A PEM file of certificates to trust instead of the system's.
    private let authorities: String?
    /// `sha256//` and the Base64 digest of the host's public key: then that key is trusted, whoever signed it.
    private let pin: String?

    /// The API key of the caller.
    private let key: String?

    /// Whose functions are meant: --tenant, SWIFTLET_TENANT, or the one that is there without asking.
    static func tenant(_ arguments: Arguments) -> String {
        let environment = unsafe getenv("SWIFTLET_TENANT").map { unsafe String(cString: $0) }
        return arguments.value("--tenant") ?? environment ?? Tenant.defaultName
    }

    init(_ arguments: Arguments) throws {
        // Not an option: what is in argv, every user of the machine can read.
        key = unsafe getenv("SWIFTLET_KEY").flatMap {
            let text = unsafe String(cString: $0)
            return text.isEmpty ? nil : text
        }
        let environment = unsafe getenv("SWIFTLET_HOST").map { unsafe String(cString: $0) }
        authorities = unsafe getenv("SWIFTLET_CACERT").map { unsafe String(cString: $0) }
        var base = arguments.value("--host") ?? environment ?? "http://127.0.0.1:8080"
        if !base.contains("://") { base = "http://" + base }
        self.base = base.hasSuffix("/") ? String(base.dropLast()) : base
        let pinned = unsafe getenv("SWIFTLET_FINGERPRINT").map { unsafe String(cString: $0) }
        pin = try (arguments.value("--fingerprint") ?? pinned).map { try Self.checked(pin: $0, base) }
    }

    private static func checked(pin: String, _ base: String) throws -> String {
        let digest = pin.dropFirst(8)
        guard pin.hasPrefix("sha256//"), digest.utf8.count == 44, Data(base64Encoded: String(digest)) != nil else {
            throw UsageError(
                text: "--fingerprint and SWIFTLET_FINGERPRINT take sha256//…, as `swiftlet serve` prints it, not \(pin)"
            )
        }
        guard base.hasPrefix("https://") else {
            throw UsageError(text: "--fingerprint is for https, and the host is named as \(base)")
        }
        return pin
    }

    private final class Received {
        var body: [UInt8] = []
        var headers: [String] = []
        private let take: (([UInt8]) -> Void)?
        private let sending = ProgressLine()
        private let errorsToo: Bool

        /// - Parameter take: gets answer bytes in place of `body`; those of an error only with `errorsToo`.
        init(_ take: (([UInt8]) -> Void)?, errorsToo: Bool = false) {
            self.take = take
            self.errorsToo = errorsToo
        }

        func receive(_ bytes: [UInt8]) {
            let status = headers.last { $0.hasPrefix("HTTP/") }?.split(separator: " ").dropFirst().first
            if let take, errorsToo || status == "200" { take(bytes) } else { body += bytes }
        }

        func sent(_ bytes: UInt64, of size: UInt64) {
            sending.tell(
                of: size,
                bytes < size
                    ? "\(bytes >> 20) of \(size >> 20) MiB sent" : "\(size >> 20) MiB sent; the host is checking them")
        }

        func end() { sending.clear() }
    }

    /// - Parameters:
    ///   - upload: a file that is sent as the body.
    ///   - stream: true: answer bytes go to stdout as they come and `body` stays empty.
    func send(_ method: String, _ path: String, body: [UInt8]? = nil, upload: String? = nil, stream: Bool = false)
        throws -> Answer
    {
        try send(
            method, path, body: body, upload: upload, Received(stream ? { Output.bytes($0) } : nil, errorsToo: true))
    }

    /// The bytes of an answer with the status 200 go to `take` as they come; that of a refusal becomes an error.
    func download(_ path: String, to take: @escaping ([UInt8]) -> Void) throws -> Answer {
        try accepted("GET", path, try send("GET", path, Received(take)))
    }

    private func send(
        _ method: String, _ path: String, body: [UInt8]? = nil, upload: String? = nil, _ received: Received
    ) throws -> Answer {
        var error = [CChar](repeating: 0, count: 256)
        let context = unsafe Unmanaged.passUnretained(received).toOpaque()
        let headers = key.map { ["Authorization: Bearer \($0)"] } ?? []
        let status = try unsafe withCStrings(headers) { lines in
            unsafe (body ?? []).withUnsafeBytes { bytes in
                unsafe ccurl_perform(
                    method, base + path, UnsafeRawPointer(lines).assumingMemoryBound(to: UnsafePointer<CChar>?.self),
                    headers.count, body == nil ? nil : bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1),
                    bytes.count, upload, authorities, pin,
                    { raw, data, size in
                        guard let raw = unsafe raw else { return }
                        let received = unsafe Unmanaged<Received>.fromOpaque(raw).takeUnretainedValue()
                        let bytes = unsafe Array(UnsafeRawBufferPointer(start: data, count: size))
                        received.receive(bytes)
                    },
                    { raw, data, size in
                        guard let raw = unsafe raw else { return }
                        let line = unsafe String(
                            decoding: UnsafeRawBufferPointer(start: data, count: size), as: UTF8.self)
                        unsafe Unmanaged<Received>.fromOpaque(raw).takeUnretainedValue().headers.append(line.trimmed)
                    },
                    { raw, sent, size in
                        guard let raw = unsafe raw else { return }
                        unsafe Unmanaged<Received>.fromOpaque(raw).takeUnretainedValue().sent(sent, of: size)
                    }, context, &error)
            }
        }
        received.end()
        guard status != 0 else {
            let words = error.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            throw RuntimeError(
                .unavailable, step: "\(method) \(base)\(path)", cause: String(decoding: words, as: UTF8.self),
                next: "is the host running? Start it with `swiftlet serve`, and name it by --host or SWIFTLET_HOST")
        }
        return Answer(status: Int(status), body: received.body, headers: received.headers)
    }

    /// Sends and turns a refusal into an error in the host's own words.
    func expect(_ method: String, _ path: String, body: [UInt8]? = nil, upload: String? = nil) throws -> Answer {
        try accepted(method, path, try send(method, path, body: body, upload: upload))
    }

    private func accepted(_ method: String, _ path: String, _ answer: Answer) throws -> Answer {
        guard answer.status >= 400 else { return answer }
        struct Problem: Decodable { let step, cause, next: String }
        guard let words = try? JSONDecoder().decode(Problem.self, from: Data(answer.body)) else {
            throw RuntimeError(
                .internalError, step: "\(method) \(path)", cause: "status \(answer.status): \(answer.text)",
                next: "see the host's log")
        }
        throw RuntimeError(.badRequest, step: words.step, cause: words.cause, next: words.next)
    }

    func decode<Value: Decodable>(_ type: Value.Type, _ answer: Answer) throws -> Value {
        try JSONDecoder().decode(type, from: Data(answer.body))
    }
}

extension String {
    fileprivate var trimmed: String { String(self.reversed().drop { $0.isWhitespace }.reversed()) }
}
