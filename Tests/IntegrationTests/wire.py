"""Raw bytes to a host: sockets in the clear and over TLS, HTTP/1 answers taken apart, HTTP/2 frames written by hand."""
import socket
import ssl
import struct
import time

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(7)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(7, 12)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Wire:
    """One connection. Sending to somebody who hung up is no error: `closed` says so."""

    def __init__(self, port, tls=False, protocol="http/1.1", receive_buffer=None):
        plain = socket.socket()
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.settimeout(20)
        plain.connect(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket, self.closed, self.got = plain, False, b""
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols([protocol])
            self.socket = context.wrap_socket(plain)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data, seconds=5):
        """False when the host hung up, or took nothing for that long."""
        try:
            self.socket.settimeout(seconds)
            self.socket.sendall(data)
            return True
        except TimeoutError:
            return False
        except OSError:
            self.closed = True
            return False

    def take(self, seconds):
        """What comes next, empty at the end; None when nothing came in time."""
        try:
            self.socket.settimeout(max(0.001, seconds))
            data = self.socket.recv(65536)
        except (TimeoutError, ssl.SSLWantReadError):
            return None
        except OSError:
            data = b""
        self.closed = self.closed or not data
        return data

    def read_to_end(self, seconds=15):
        """Everything until the host hangs up; `closed` stays False when it doesn't."""
        end = time.monotonic() + seconds
        while not self.closed and time.monotonic() < end:
            self.got += self.take(end - time.monotonic()) or b""
        return self.got


def answers(data, head_only=False):
    """The HTTP/1 answers in these bytes: (status, fields, body) each. What isn't one is an error."""
    found = []
    while data:
        head, gap, data = data.partition(b"\r\n\r\n")
        assert gap and head.startswith(b"HTTP/1.1 "), head[:200]
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        fields = {}
        for line in lines[1:]:
            name, value = line.split(": ", 1)
            assert name.lower() not in fields, f"{name} twice"
            fields[name.lower()] = value
        body = b""
        if status >= 200 and not head_only and "content-length" in fields:
            size = int(fields["content-length"])
            body, data = data[:size], data[size:]
        elif fields.get("transfer-encoding") == "chunked":
            while True:
                size, _, data = data.partition(b"\r\n")
                size = int(size, 16)
                body, data = body + data[:size], data[size + 2:]
                if size == 0:
                    break
        found.append((status, fields, body))
    return found


def frame(kind, flags, stream, payload=b"", length=None):
    return struct.pack(">I", len(payload) if length is None else length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def number(value, bits, first=0):
    """HPACK's integer with a prefix of so many bits."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    data, value = bytes([first | most]), value - most
    while value >= 128:
        data, value = data + bytes([value & 127 | 128]), value >> 7
    return data + bytes([value])


def literal(name, value, first=0):
    """A field that is written out; `first` 0x40 puts it into the dynamic table."""
    name, value = (x if isinstance(x, bytes) else x.encode("latin-1") for x in (name, value))
    return bytes([first]) + number(len(name), 7) + name + number(len(value), 7) + value


def fields(*pairs):
    return b"".join(literal(name, value) for name, value in pairs)


def request(path="/healthz", method="GET", *more, authority="127.0.0.1", scheme="http"):
    return fields((":method", method), (":scheme", scheme), (":path", path), (":authority", authority), *more)


def status_of(block):
    """The :status that a field block begins with."""
    at = 0
    while block[at] & 0xe0 == 0x20:
        at += 1
    if block[at] & 0x80:
        return {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}[block[at] & 0x7f]
    at += 1
    size, value = block[at] & 0x7f, block[at + 1:]
    if not block[at] & 0x80:
        return int(value[:size])
    bits, digits = "".join(f"{byte:08b}" for byte in value[:size]), ""
    codes = {"00000": "0", "00001": "1", "00010": "2", **{f"{0b011001 + n:06b}": str(n + 3) for n in range(7)}}
    while len(digits) < 3:
        code = next(code for code in codes if bits.startswith(code))
        digits, bits = digits + codes[code], bits[len(code):]
    return int(digits)


class H2(Wire):
    """HTTP/2 after its preface. Nothing is acknowledged unless `polite`."""

    def __init__(self, port, tls=False, settings=b"", polite=True, **options):
        super().__init__(port, tls, "h2", **options)
        self.polite, self.buffer, self.frames = polite, b"", []
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def read_frame(self, seconds):
        """(type, flags, stream, payload); None when none came or the host hung up."""
        end = time.monotonic() + seconds
        while True:
            if len(self.buffer) >= 9:
                size = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + size:
                    kind, flags, stream = self.buffer[3], self.buffer[4], struct.unpack(">I", self.buffer[5:9])[0]
                    payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
                    if kind == SETTINGS and not flags & ACK and self.polite:
                        self.send(frame(SETTINGS, ACK, 0))
                    self.frames.append((kind, flags, stream, payload))
                    return self.frames[-1]
            if self.closed or time.monotonic() >= end:
                return None
            self.buffer += self.take(end - time.monotonic()) or b""

    def outcome(self, stream=1, seconds=15):
        """What became of a stream: ("status", n), ("reset", code), ("goaway", code), ("closed", None) or ("silence", None)."""
        end, status = time.monotonic() + seconds, None
        while True:
            got = self.read_frame(end - time.monotonic())
            if got is None:
                if status:
                    return "status", status
                return ("closed", None) if self.closed else ("silence", None)
            kind, flags, number_of, payload = got
            if kind == GOAWAY:
                code = struct.unpack(">I", payload[4:8])[0]
                if code != NO_ERROR:
                    return "goaway", code
            elif number_of == stream and kind == RST_STREAM:
                code = struct.unpack(">I", payload)[0]
                return ("status", status) if status and code == NO_ERROR else ("reset", code)
            elif number_of == stream and kind == HEADERS:
                status = status or status_of(payload)
            if status and number_of == stream and kind in (DATA, HEADERS) and flags & END_STREAM:
                return "status", status

    def hears_goodbye(self, seconds=15):
        """The code of the GOAWAY before the host hung up; None when it said none. An error when it stays."""
        end, code = time.monotonic() + seconds, None
        while not self.closed:
            got = self.read_frame(end - time.monotonic())
            if got and got[0] == GOAWAY:
                code = struct.unpack(">I", got[3][4:8])[0]
            assert got or self.closed, f"the host did not hang up within {seconds} s"
        return code
