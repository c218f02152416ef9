"""Clients that want to confuse, fill or stall a real host: smuggling, bombs, floods, slow ones; in the clear and over TLS."""
import os
import socket
import struct
import threading
import time
import unittest

from run import Host, handler
from wire import *

MEBI = 1 << 20


class Hostile(unittest.TestCase):
    tls = False

    @classmethod
    def setUpClass(cls):
        if cls is Hostile:
            raise unittest.SkipTest("the base of the others")
        cls.host = Host("--tls", "self") if cls.tls else Host()
        # Slow clients hold workers of the function that they call; another one is not to notice.
        for name, limits in [("echo", {}), ("slow", {"concurrency": 48})]:
            done = cls.host.deploy_c(name, handler("return echo(call, host);"), limits=limits)
            assert done.returncode == 0, done.stderr
        cls.assert_serves()

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def tearDown(self):
        self.assert_serves()

    @classmethod
    def assert_serves(cls):
        """The next client notices nothing."""
        for _ in range(2):
            status, body, _ = cls.host.request("POST", "/fn/default/echo/", b"as ever")
            assert (status, body) == (200, b"as ever"), (status, body)

    def wire(self, **options):
        wire = Wire(self.host.port, self.tls, **options)
        self.addCleanup(wire.socket.close)
        return wire

    def h2(self, **options):
        wire = H2(self.host.port, self.tls, **options)
        self.addCleanup(wire.socket.close)
        return wire

    def resident(self):
        with open(f"/proc/{self.host.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def processor_seconds(self):
        with open(f"/proc/{self.host.process.pid}/stat") as file:
            columns = file.read().rsplit(")", 1)[1].split()
        return (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK")

    def bounded(self, memory=32 * MEBI, processor=5):
        return Bounds(self, memory, processor)


class Bounds:
    """The host's memory and processor time over what happens inside."""

    def __init__(self, test, memory, processor):
        self.test, self.memory, self.processor = test, memory, processor

    def __enter__(self):
        self.before, self.began, self.peak = self.test.resident(), self.test.processor_seconds(), 0
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()
        return self

    def watch(self):
        while not self.over.wait(0.05):
            self.peak = max(self.peak, self.test.resident())

    def __exit__(self, kind, *_):
        self.over.set()
        self.watcher.join()
        if kind is None:
            grown, used = max(self.peak, self.test.resident()) - self.before, self.test.processor_seconds() - self.began
            self.test.assertLess(grown, self.memory, "memory of the host in bytes")
            self.test.assertLess(used, self.processor, "seconds of processor time of the host")


def post(*lines, body=b""):
    head = ["POST /fn/default/echo/ HTTP/1.1", "Host: 127.0.0.1", *lines]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def slow_post(*lines, body=b""):
    return post(*lines, body=body).replace(b"/echo/", b"/slow/", 1)


def get(target="/healthz", *lines, version="HTTP/1.1"):
    return "\r\n".join([f"GET {target} {version}", "Host: 127.0.0.1", *lines]).encode("latin-1") + b"\r\n\r\n"


# What a front that reads the head another way would take for a second request.
HIDDEN = get("/fn/default/echo/hidden")
CHUNKED_HIDDEN = b"0\r\n\r\n" + HIDDEN


class Smuggling(Hostile):
    """Each is refused with one answer and the end of the connection: what follows is nobody's request."""

    def refused(self, data, status=400):
        with self.wire() as wire:
            wire.send(data)
            got = answers(wire.read_to_end())
            self.assertTrue(wire.closed, f"the connection must end after {data[:200]!r}")
            self.assertEqual([answer[0] for answer in got], [status], data[:300])
            self.assertEqual(got[0][1]["connection"], "close")

    def test_length_and_chunks(self):
        for lines in [("Content-Length: 5", "Transfer-Encoding: chunked"), ("Transfer-Encoding: chunked", "Content-Length: 5"),
                      ("Content-Length: 0", "Transfer-Encoding: chunked"), ("Transfer-Encoding: chunked", "Content-Length: 999"),
                      ("Content-Length: 5", "transfer-encoding: CHUNKED"), ("Content-Length: 5", "Transfer-Encoding: identity")]:
            with self.subTest(lines):
                self.refused(post(*lines, body=CHUNKED_HIDDEN))

    def test_disguised_chunks(self):
        for line in ["Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked",
                     "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding: chunked;q=1",
                     "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked\x0c", "Transfer-Encoding : chunked",
                     "Transfer-Encoding\t: chunked", "Transfer-Encoding:\r\n chunked", "Transfer-Encoding: chunk\r\n ed",
                     "X: y\nTransfer-Encoding: chunked", "X: y\rTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
                     "Transfer-Encoding: x\r\nTransfer-Encoding: chunked", "Transfer\xadEncoding: chunked", "Transfer-Encoding\x00: chunked",
                     "Transfer-Encoding: chunked\x00", "Transfer-Encoding:", "Transfer-Encoding: ,chunked", " Transfer-Encoding: chunked"]:
            with self.subTest(line):
                self.refused(post(line, body=CHUNKED_HIDDEN))
                self.refused(post("Content-Length: 5", line, body=CHUNKED_HIDDEN))

    def test_lengths_that_two_would_read_two_ways(self):
        for lines in [("Content-Length: +5",), ("Content-Length: -5",), ("Content-Length: 5 5",), ("Content-Length: 0x5",), ("Content-Length: 5, 5",),
                      ("Content-Length: 5,6",), ("Content-Length: 5e0",), ("Content-Length: 5.0",), ("Content-Length: \xb2",), ("Content-Length: 5\x00",),
                      ("Content-Length: 5", "Content-Length: 5"), ("Content-Length: 5", "Content-Length: 6"), ("Content-Length: 0", "content-length: 5"),
                      ("Content-Length: 99999999999999999999",), ("Content-Length: 18446744073709551616",), ("Content-Length : 5",), ("Content-Length:\r\n 5",),
                      ("Content-Length:",), ("Content-Length: five",)]:
            with self.subTest(lines):
                self.refused(post(*lines, body=b"hello" + HIDDEN))

    def test_a_length_beyond_every_limit(self):
        self.refused(post("Content-Length: 18446744073709551615", body=HIDDEN), 413)

    def test_hosts(self):
        for head in [b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: \r\n\r\n", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", b"GET / HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n",
                     b"GET http://a/healthz HTTP/1.1\r\nHost: b\r\n\r\n", b"GET http://b@a/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
                     b"GET http:///healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"GET http://a:1/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
                     b"GET ftp://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n"]:
            with self.subTest(head):
                self.refused(head + HIDDEN)

    def test_bytes_that_end_lines_for_some(self):
        for head in [b"GET /healthz HTTP/1.1\rHost: a\r\r", b"GET /healthz HTTP/1.1\nHost: a\n\n", b"GET /healthz HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
                     b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
                     b"GET /healthz HTTP/1.1\r\nHost: a\r\nX\x00: b\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
                     b"GET /healthz\x00 HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /healthz\tHTTP/1.1\r\nHost: a\r\n\r\n", 
                     b"GET /healthz HTTP/1.1 \r\nHost: a\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX y\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n",
                     b"GET /healthz HTTP/1.1\r\nHost: a\r\nX\xff: y\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n"]:
            with self.subTest(head):
                self.refused(head + HIDDEN)

    def test_chunks(self):
        for body in [b"fffffffffffffffff\r\n", b"10000000000000000\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"-1\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n",
                     b"5 5\r\nhello\r\n", b"\r\n", b"5\nhello\n0\n\n", b"5\r\nhelloX0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5;a\nb\r\nhello\r\n0\r\n\r\n",
                     b"5\x00\r\nhello\r\n", b"five\r\n", b"5\rhello\r\n0\r\n\r\n", b";x\r\nhello\r\n"]:
            with self.subTest(body):
                with self.wire() as wire:
                    wire.send(post("Transfer-Encoding: chunked", body=body + HIDDEN))
                    got = wire.read_to_end()
                    self.assertTrue(wire.closed)
                    # The function may have been given what came before: then its answer is broken off, or 400 came first.
                    self.assertLessEqual(got.count(b"HTTP/1.1 "), 1, got)
                    self.assertNotIn(b"hidden", got)
                    self.assertNotIn(b"HTTP/1.1 200", got)

    def test_chunk_extensions_and_trailers_have_bounds(self):
        for piece in [b"1;" + b"e" * 4000 + b"\r\nx\r\n", b"1" + b";a=b" * 1000 + b"\r\nx\r\n"]:
            with self.wire() as wire, self.bounded():
                wire.send(post("Transfer-Encoding: chunked"))
                for _ in range(20_000):
                    if not wire.send(piece):
                        break
                else:
                    self.fail("framing without end was taken")
        with self.wire() as wire, self.bounded():
            wire.send(post("Transfer-Encoding: chunked", body=b"0\r\n"))
            for _ in range(20_000):
                if not wire.send(b"X: " + b"y" * 4000 + b"\r\n"):
                    break
            else:
                self.fail("trailers without end were taken")

    def test_trailers_change_nothing(self):
        for framing in [b"Content-Length: 99", b"Transfer-Encoding: chunked"]:
            with self.wire() as wire:
                wire.send(post("Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n" + framing + b"\r\n\r\n" + HIDDEN))
                got = wire.read_to_end()
                self.assertTrue(wire.closed)
                self.assertNotIn(b"hidden", got)
                self.assertLessEqual(got.count(b"HTTP/1.1 "), 1)
        trailers = "Host: other\r\nAuthorization: Bearer x\r\nX-Swiftlet-Tenant: other\r\n"
        with self.wire() as wire:
            wire.send(post("Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n" + trailers.encode() + b"\r\n") + get("/healthz", "Connection: close"))
            got = answers(wire.read_to_end())
        self.assertEqual([(a[0], a[2]) for a in got], [(200, b"hello"), (200, b"ok\n")])

    def test_what_may_be_said_is_understood_as_one(self):
        for lines, body in [(("Transfer-Encoding:  \tchunked",), b"5\r\nhello\r\n0\r\n\r\n"), (("transfer-encoding: ChUnKeD",), b"5\r\nhello\r\n0\r\n\r\n"),
                            (("Content-Length:   5  ",), b"hello"), (("Content-Length: 0005",), b"hello"), (("Transfer_Encoding: chunked", "Content-Length: 5"), b"hello"),
                            (("Content_Length: 99", "Content-Length: 5"), b"hello"), (("X-Transfer-Encoding: chunked", "Content-Length: 5"), b"hello"),
                            (("Transfer-Encoding: chunked",), b"5;ext=\"v\"\r\nhello\r\n0;last\r\n\r\n"), (("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", "Connection: Upgrade, HTTP2-Settings", "Content-Length: 5"), b"hello")]:
            with self.subTest(lines), self.wire() as wire:
                wire.send(post(*lines, body=body) + get("/healthz", "Connection: close"))
                got = answers(wire.read_to_end())
                self.assertEqual([(a[0], a[2]) for a in got], [(200, b"hello"), (200, b"ok\n")], "no more and no less than two requests")

    def test_paths_are_what_they_say(self):
        """No spelling of a route is another route: nothing is decoded, folded or tidied up."""
        for target in ["//healthz", "/./healthz", "/x/../healthz", "/%68ealthz", "/healthz/", "/HEALTHZ", "/healthz%00", "/healthz;x", "/healthz%20", "\\healthz",
                       "/fn/../healthz", "/fn/default/../../healthz", "/fn/default/%2e%2e/%2e%2e/healthz", "/admin/../healthz", "/healthz%2f", "/healthz%3f", "/healthz.", "/%2fhealthz"]:
            with self.subTest(target), self.wire() as wire:
                wire.send(get(target, "Connection: close"))
                got = answers(wire.read_to_end())
                self.assertEqual(len(got), 1)
                self.assertIn(got[0][0], (400, 404), got)
        for target in ["/fn/DEFAULT/echo/", "/fn/default%2fecho/", "/fn//default/echo/", "/fn/default//echo/", "/fn/./default/echo/", "/fn/x/../default/echo/", "/fn/default/ech%6f/", "/fn/default/echo%00/",
                       "/FN/default/echo/"]:
            with self.subTest(target), self.wire() as wire:
                wire.send(get(target, "Connection: close"))
                self.assertIn(answers(wire.read_to_end())[0][0], (400, 404))

    def test_methods_and_versions(self):
        self.refused(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n" + HIDDEN, 405)
        self.refused(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + HIDDEN)
        for head, status in [(b"GET / HTTP/9.9", 505), (b"GET / HTTP/1", 400), (b"GET / HTTP/1.10", 400), (b"get / HTTP/1.1", 400), (b"GET / ICE/1.0", 400), (b"GET /", 400)]:
            with self.subTest(head):
                with self.wire() as wire:
                    wire.send(head + b"\r\nHost: a\r\n\r\n" + HIDDEN)
                    got = answers(wire.read_to_end())
                    self.assertTrue(wire.closed)
                    self.assertEqual(len(got), 1, got)
                    self.assertIn(got[0][0], (400, status))


class SmugglingOverTLS(Smuggling):
    tls = True


class Bombs(Hostile):
    """Heads, pipelines and connections that cost the client little and would cost the host much."""

    def flood(self, piece, most, **options):
        """Sends until the host hangs up."""
        with self.wire(**options) as wire:
            sent = 0
            while sent < most and wire.send(piece):
                sent += len(piece)
            self.assertLess(sent, most, "the host took it all")
            return wire.read_to_end()

    def test_heads(self):
        with self.bounded():
            for start, piece, status in [(b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 1000, 431), (b"GET / HTTP/1.1\r\nX: ", b"y" * 10_000, 431), (b"GET / HTTP/1.1\r\nX:", b" " * 10_000, 431),
                                         (b"GET / HTTP/1.1\r\n", b"y" * 10_000, 431), (b"GET /", b"y" * 10_000, 414), (b"", b"G" * 10_000, 400),
                                         (b"GET / HTTP/1.1\r\nHost: a\r\n", b"Cookie: a=b\r\n" * 1000, 431), (b"\r\n", b"\r\n" * 10_000, 431)]:
                with self.subTest(start + piece[:10]), self.wire() as wire:
                    wire.send(start)
                    for _ in range(2000):
                        if not wire.send(piece):
                            break
                    got = wire.read_to_end()
                    self.assertTrue(wire.closed)
                    # The answer may be lost when the client sends on for longer than it is heard out.
                    self.assertLessEqual(got.count(b"HTTP/1.1 "), 1)
                    if got:
                        self.assertIn(answers(got)[0][0], (status, 400))

    def test_a_pipeline_that_nobody_reads(self):
        """Its answers stop, and with them its requests; whoever reads at last gets every answer in order."""
        one = get("/healthz")
        with self.bounded(), self.wire() as wire:
            sent = 0
            while sent < 256 * MEBI and wire.send(one * 1000, seconds=2):
                sent += len(one) * 1000
            self.assertLess(sent, 64 * MEBI, "requests were taken although no answer was")
        whole = 3000
        with self.wire() as wire:
            threading.Thread(target=lambda: wire.send(one * whole + get("/healthz", "Connection: close"), seconds=20)).start()
            self.assertEqual([a[0] for a in answers(wire.read_to_end(30))], [200] * (whole + 1))

    def test_many_silent_connections(self):
        with self.bounded(memory=48 * MEBI):
            crowd = [socket.create_connection(("127.0.0.1", self.host.port), 10) for _ in range(800)]
            self.assert_serves()
            for one in crowd:
                one.close()


class BombsOverTLS(Bombs):
    tls = True

    def test_handshakes_that_never_end(self):
        """Ten seconds each, and a bounded number of them; others are served meanwhile."""
        with self.bounded(memory=64 * MEBI):
            crowd = [socket.create_connection(("127.0.0.1", self.host.port), 10) for _ in range(300)]
            for one in crowd:
                one.sendall(b"\x16\x03\x01\x02\x00\x01")
            self.assert_serves()
            end = time.monotonic() + 15
            for one in crowd:
                one.settimeout(max(0.1, end - time.monotonic()))
                self.assertEqual(one.recv(1), b"", "given up")
                one.close()

    def test_no_handshake_at_all(self):
        for junk in [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", b"\x80\x2e\x01\x00\x02", os.urandom(4000), b"\x15\x03\x03\x00\x02\x02\x28"]:
            with self.subTest(junk[:8]), Wire(self.host.port) as wire:
                wire.send(junk)
                got = wire.read_to_end(15)
                self.assertTrue(wire.closed)
                self.assertNotIn(b"HTTP/", got)


class Slow(Hostile):
    """Slow clients of every kind at once: each is given up in its time, and holds nobody up."""

    def test_all_kinds(self):
        failures = []

        def run(kind):
            try:
                kind()
            except BaseException as error:
                failures.append((kind.__name__, repr(error)))

        threads = [threading.Thread(target=run, args=(kind,)) for kind in [self.heads, self.bodies, self.readers, self.h2_heads, self.h2_bodies, self.h2_closed_windows, self.h2_tiny_windows, self.h2_prefaces]]
        with self.bounded(memory=64 * MEBI, processor=20):
            for thread in threads:
                thread.start()
            end = time.monotonic() + 70
            while any(thread.is_alive() for thread in threads) and time.monotonic() < end:
                began = time.monotonic()
                self.assert_serves()
                self.assertLess(time.monotonic() - began, 5, "others are held up")
                time.sleep(0.5)
            for thread in threads:
                thread.join(5)
        self.assertEqual(failures, [])

    def trickle(self, wires, seconds, piece=b"y", every=0.5):
        """Sends a little now and then until all are closed; returns how long the last held out."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            open_ones = [wire for wire in wires if not wire.closed]
            if not open_ones:
                return time.monotonic() - began
            for wire in open_ones:
                wire.send(piece)
                wire.got += wire.take(0.001) or b""
            time.sleep(every)
        raise AssertionError(f"{len([w for w in wires if not w.closed])} of {len(wires)} are still open after {seconds} s")

    def heads(self):
        wires = [self.wire() for _ in range(100)]
        for wire in wires:
            wire.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        self.trickle(wires, 25)
        refused = [wire for wire in wires if b"HTTP/1.1 408" in wire.got]
        assert len(refused) > 90, f"{len(refused)} were told"

    def bodies(self):
        wires = [self.wire() for _ in range(12)]
        for wire in wires:
            wire.send(slow_post("Content-Length: 100000"))
        self.trickle(wires, 35)

    def readers(self):
        """They ask for a lot and read none of it."""
        body = bytes(8 * MEBI)
        wires = [self.wire(receive_buffer=4096) for _ in range(8)]

        def ask(wire):
            wire.send(slow_post(f"Content-Length: {len(body)}", body=body), seconds=65)

        threads = [threading.Thread(target=ask, args=(wire,), daemon=True) for wire in wires]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 66
        while any(t.is_alive() for t in threads) and time.monotonic() < end:
            time.sleep(1)
        assert all(not t.is_alive() for t in threads), "some still wait"
        for wire in wires:
            wire.read_to_end(5)
            assert wire.closed

    def h2_prefaces(self):
        if self.tls:  # The handshake said h2 already: then it is an idle connection of HTTP/2, closed as such.
            return
        wires = [self.wire() for _ in range(20)]
        for wire in wires:
            wire.send(PREFACE[:10])
        began = time.monotonic()
        for wire in wires:
            wire.read_to_end(max(1, 20 - (time.monotonic() - began)))
            assert wire.closed, "half a preface holds a connection"

    def h2_heads(self):
        wires = [self.h2() for _ in range(30)]
        for wire in wires:
            wire.send(frame(HEADERS, END_STREAM, 1, request()))
        self.trickle(wires, 25, piece=b"")

    def h2_bodies(self):
        wires = [self.h2() for _ in range(12)]
        for wire in wires:
            wire.send(frame(HEADERS, END_HEADERS, 1, request("/fn/default/slow/", "POST")))
        began = time.monotonic()
        results = []
        for wire in wires:
            results.append(wire.outcome(seconds=max(1, 35 - (time.monotonic() - began))))
        assert all(result == ("status", 408) or result[0] == "reset" for result in results), results

    def h2_held(self, tiny):
        """Answers that the client's window holds back."""
        wire = self.h2(settings=struct.pack(">HI", 4, 0))
        count, body = 12, bytes(60_000)
        for stream in range(1, 2 * count, 2):
            wire.send(frame(HEADERS, END_HEADERS, stream, request("/fn/default/slow/", "POST")))
            for at in range(0, len(body), 15_000):
                wire.send(frame(DATA, END_STREAM if at + 15_000 == len(body) else 0, stream, body[at:at + 15_000]))
        reset, began = set(), time.monotonic()
        while len(reset) < count and time.monotonic() - began < 66:
            got = wire.read_frame(0.5)
            if got and got[0] == RST_STREAM:
                reset.add(got[2])
            if wire.closed:
                return
            if tiny and not got:
                for stream in range(1, 2 * count, 2):
                    if stream not in reset:
                        wire.send(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 1)))
        assert len(reset) == count, f"{count - len(reset)} of {count} answers are still held"

    def h2_closed_windows(self):
        self.h2_held(tiny=False)

    def h2_tiny_windows(self):
        self.h2_held(tiny=True)


class SlowOverTLS(Slow):
    tls = True


if __name__ == "__main__":
    unittest.main(verbosity=2)
