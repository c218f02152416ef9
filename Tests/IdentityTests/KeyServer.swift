// An address of keys on this machine: a small HTTP server of Python's, which counts what it is asked.
import Glibc
import TestSupport

final class KeyServer {
    let url: String
    private let scratch: Scratch
    private let pid: pid_t

    private static let program = """
        import http.server, os, sys
        folder = sys.argv[1]
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                with open(folder + "/asked", "a") as asked: asked.write(self.path + "\\n")
                body = open(folder + "/keys.json", "rb").read()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            def log_message(self, *_): pass
        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        with open(folder + "/port.new", "w") as file: file.write(str(server.server_port))
        os.rename(folder + "/port.new", folder + "/port")
        # However its test ends, its folder goes.
        server.timeout = 1
        while os.path.exists(folder): server.handle_request()
        """

    init(_ keys: [String]) throws {
        scratch = try Scratch()
        let program = try scratch.write("server.py", Self.program)
        let line = "python3 '\(program)' '\(scratch.path)' >/dev/null 2>&1 & echo $!"
        guard let pid = pid_t(try shell(line).filter(\.isNumber)) else { throw Broken(what: line) }
        self.pid = pid
        var port = ""
        for _ in 0..<500 where port.isEmpty {
            usleep(10_000)
            port = (try? scratch.read("port")).map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        url = "http://127.0.0.1:\(port)/keys"
        try serve(keys)
    }

    // SIGTERM may be blocked: children have the mask of the thread that made them.
    deinit { kill(pid, SIGKILL) }

    func serve(_ keys: [String]) throws {
        try scratch.write("keys.json", #"{"keys":[\#(keys.joined(separator: ","))]}"#)
    }

    var asked: Int { (try? scratch.read("asked"))?.count { $0 == UInt8(ascii: "\n") } ?? 0 }
}
