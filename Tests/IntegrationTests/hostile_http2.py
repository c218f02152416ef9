"""HTTP/2 clients that break its rules or make work without end: each breach has its reaction, each flood its bound."""
import os
import struct
import time
import unittest

from hostile_http import MEBI, Hostile
from wire import *

U32 = struct.Struct(">I").pack
ECHO = request("/fn/default/echo/", "POST")


def connection_error(*codes):
    """GOAWAY with one of these codes; hanging up at once is as good (RFC 9113, 5.4.1)."""
    return {("goaway", code) for code in codes} | {("closed", None)}


def stream_error(*codes):
    """RST_STREAM; a host may be stricter and end the connection (5.4.2)."""
    return {("reset", code) for code in codes} | connection_error(*codes)


def malformed():
    """8.1.1: a stream error of type PROTOCOL_ERROR, or 400 before it."""
    return stream_error(PROTOCOL_ERROR) | {("status", 400)}


class Rules(Hostile):
    def react(self, data, wanted, stream=1, **options):
        with self.h2(**options) as wire:
            wire.send(data)
            got = wire.outcome(stream)
            self.assertIn(got, wanted, data[:120])

    def test_what_is_allowed_works(self):
        served = {("status", 200)}
        for data in [frame(HEADERS, 5, 1, request()), frame(HEADERS, 5 | PADDED, 1, b"\xff" + request() + bytes(255)),
                     frame(HEADERS, 5 | WITH_PRIORITY, 1, U32(0) + b"\x10" + request()), frame(PRIORITY, 0, 1, U32(3) + b"\x10") + frame(HEADERS, 5, 1, request()),
                     frame(0xfe, 0xff, 1, b"unknown") + frame(HEADERS, 5, 1, request()), frame(SETTINGS, 0, 0, struct.pack(">HI", 0xfefe, 7)) + frame(HEADERS, 5, 1, request()),
                     frame(HEADERS, 1, 1, request()[:20]) + frame(CONTINUATION, 0, 1) + frame(CONTINUATION, 4, 1, request()[20:]), frame(WINDOW_UPDATE, 0, 0, U32(1)) + frame(HEADERS, 5, 1, request()),
                     frame(PING, ACK, 0, bytes(8)) + frame(HEADERS, 5, 1, request()), frame(HEADERS, 5, 1, request("/healthz", "GET", ("te", "trailers"))),
                     frame(HEADERS, 5, 1, request("/healthz", "GET", ("cookie", "a"), ("cookie", "b"))), frame(HEADERS, 5, 1, request("/healthz", "GET", ("host", "127.0.0.1"))),
                     frame(HEADERS, 4, 1, ECHO) + frame(DATA, PADDED, 1, b"\x03abc\0\0\0") + frame(HEADERS, 5, 1, fields(("x-trailer", "y")))]:
            with self.subTest(data[:60]):
                self.react(data, served)

    def test_stream_identifiers(self):
        get = lambda stream, flags=5: frame(HEADERS, flags, stream, request())
        self.react(get(2), connection_error(PROTOCOL_ERROR), 2)
        self.react(get(0), connection_error(PROTOCOL_ERROR), 0)
        self.react(get(5) + get(3), connection_error(PROTOCOL_ERROR, STREAM_CLOSED), 3)
        self.react(get(5) + get(5), stream_error(STREAM_CLOSED, PROTOCOL_ERROR) | {("status", 200)}, 5)
        with self.h2() as wire:
            wire.send(get(1))
            self.assertEqual(wire.outcome(1), ("status", 200))
            wire.send(get(1))
            # nghttp2 keeps no memory of streams that are over, and drops what comes for them; it must not be served.
            self.assertIn(wire.outcome(1, seconds=1), stream_error(STREAM_CLOSED, PROTOCOL_ERROR) | {("silence", None)})

    def test_frames_after_the_end(self):
        ended = frame(HEADERS, 5, 1, ECHO)
        self.react(ended + frame(DATA, 0, 1, b"more"), stream_error(STREAM_CLOSED) | {("status", 200)})
        self.react(ended + frame(HEADERS, 5, 1, fields(("x", "y"))), stream_error(STREAM_CLOSED, PROTOCOL_ERROR) | {("status", 200)})
        open_one = frame(HEADERS, 4, 1, ECHO)
        self.react(open_one + frame(DATA, END_STREAM, 1, b"all") + frame(DATA, END_STREAM, 1, b"more"), stream_error(STREAM_CLOSED) | {("status", 200)})
        # The answer, if any, holds what was sent before the end and nothing more.
        with self.h2() as wire:
            wire.send(open_one + frame(DATA, END_STREAM, 1, b"all") + frame(DATA, END_STREAM, 1, b"more"))
            wire.outcome()
            self.assertIn(b"".join(f[3] for f in wire.frames if f[0] == DATA), (b"", b"all"))

    def test_frames_in_no_stream(self):
        for data in [frame(DATA, 0, 0, b"x"), frame(DATA, 0, 1, b"x"), frame(RST_STREAM, 0, 0, U32(8)), frame(RST_STREAM, 0, 1, U32(8)), frame(PRIORITY, 0, 0, U32(1) + b"\0"),
                     frame(SETTINGS, 0, 1), frame(PING, 0, 1, bytes(8)), frame(GOAWAY, 0, 1, bytes(8)), frame(WINDOW_UPDATE, 0, 1, U32(1)), frame(CONTINUATION, 4, 1, request()),
                     frame(CONTINUATION, 4, 0, request()), frame(PUSH_PROMISE, 4, 1, U32(2) + request()), frame(HEADERS, 4, 1, ECHO) + frame(PUSH_PROMISE, 4, 1, U32(2) + request())]:
            with self.subTest(data[:40]):
                self.react(data, connection_error(PROTOCOL_ERROR))

    def test_heads_are_not_interrupted(self):
        begun = frame(HEADERS, 1, 1, request()[:10])
        for data in [frame(DATA, 0, 1, b"x"), frame(PING, 0, 0, bytes(8)), frame(SETTINGS, 0, 0), frame(HEADERS, 5, 3, request()), frame(CONTINUATION, 4, 3, request()[10:]), frame(WINDOW_UPDATE, 0, 0, U32(1)),
                     frame(0xfe, 0, 0, b"")]:
            with self.subTest(data[:40]):
                self.react(begun + data, connection_error(PROTOCOL_ERROR))

    def test_sizes(self):
        size = connection_error(FRAME_SIZE_ERROR)
        for data in [frame(PING, 0, 0, bytes(7)), frame(PING, 0, 0, bytes(9)), frame(SETTINGS, 0, 0, bytes(5)), frame(SETTINGS, ACK, 0, bytes(6)), frame(WINDOW_UPDATE, 0, 0, bytes(3)), frame(GOAWAY, 0, 0, bytes(7)),
                     frame(HEADERS, 4, 1, ECHO) + frame(RST_STREAM, 0, 1, bytes(3)), frame(HEADERS, 5, 1, bytes(16_385)), frame(SETTINGS, 0, 0, b"", length=0xffffff), frame(0xfe, 0, 0, b"", length=0xffffff)]:
            with self.subTest(data[:40]):
                self.react(data, size)
        self.react(frame(HEADERS, 4, 1, ECHO) + frame(DATA, 0, 1, bytes(16_385)), stream_error(FRAME_SIZE_ERROR))
        self.react(frame(HEADERS, 4, 1, ECHO) + frame(PRIORITY, 0, 1, bytes(4)), stream_error(FRAME_SIZE_ERROR))
        self.react(frame(HEADERS, 4, 1, ECHO) + frame(WINDOW_UPDATE, 0, 1, bytes(5)), stream_error(FRAME_SIZE_ERROR))

    def test_padding(self):
        for data in [frame(HEADERS, 4, 1, ECHO) + frame(DATA, PADDED, 1, b"\x04abc"), frame(HEADERS, 4, 1, ECHO) + frame(DATA, PADDED, 1, b"\xff"), frame(HEADERS, 4, 1, ECHO) + frame(DATA, PADDED, 1, b""),
                     frame(HEADERS, 5 | PADDED, 1, b"\xff" + request()), frame(HEADERS, 5 | PADDED, 1, b"")]:
            with self.subTest(data[-20:]):
                self.react(data, connection_error(PROTOCOL_ERROR, FRAME_SIZE_ERROR))

    def test_priority_of_itself(self):
        self.react(frame(HEADERS, 5 | WITH_PRIORITY, 1, U32(1) + b"\0" + request()), stream_error(PROTOCOL_ERROR))
        self.react(frame(HEADERS, 4, 1, ECHO) + frame(PRIORITY, 0, 1, U32(1) + b"\0"), stream_error(PROTOCOL_ERROR))

    def test_settings(self):
        one = lambda name, value: frame(SETTINGS, 0, 0, struct.pack(">HI", name, value))
        for data, code in [(one(2, 2), PROTOCOL_ERROR), (one(4, 1 << 31), FLOW_CONTROL_ERROR), (one(5, 16_383), PROTOCOL_ERROR), (one(5, 1 << 24), PROTOCOL_ERROR)]:
            with self.subTest(data):
                self.react(data, connection_error(code))

    def test_windows(self):
        self.react(frame(WINDOW_UPDATE, 0, 0, U32(0)), connection_error(PROTOCOL_ERROR))
        self.react(frame(WINDOW_UPDATE, 0, 0, U32(0x7fffffff)), connection_error(FLOW_CONTROL_ERROR))
        open_one = frame(HEADERS, 4, 1, ECHO)
        self.react(open_one + frame(WINDOW_UPDATE, 0, 1, U32(0)), stream_error(PROTOCOL_ERROR))
        self.react(open_one + frame(WINDOW_UPDATE, 0, 1, U32(0x7fffffff)), stream_error(FLOW_CONTROL_ERROR))
        self.react(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x7fffffff)) + open_one + frame(WINDOW_UPDATE, 0, 1, U32(1)), stream_error(FLOW_CONTROL_ERROR))
        # A setting that lifts the window of an open stream over the limit.
        self.react(open_one + frame(WINDOW_UPDATE, 0, 1, U32(0x7fff0000)) + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x7fffffff)), stream_error(FLOW_CONTROL_ERROR))
        # More than our window allows.
        self.react(frame(HEADERS, 4, 1, request("/fn/default/echo/", "POST")) + frame(DATA, 0, 1, bytes(16_384)) * 200, stream_error(FLOW_CONTROL_ERROR) | {("reset", NO_ERROR)})

    def test_a_window_that_shrinks_below_zero_and_opens_again(self):
        body = bytes(range(256)) * 200
        with self.h2(settings=struct.pack(">HI", 4, 100)) as wire:
            wire.send(frame(HEADERS, 4, 1, ECHO))
            for at in range(0, len(body), 12_800):
                wire.send(frame(DATA, END_STREAM if at + 12_800 == len(body) else 0, 1, body[at:at + 12_800]))
            end, got = time.monotonic() + 10, b""
            while len(got) < 100 and time.monotonic() < end:
                piece = wire.read_frame(1)
                got += piece[3] if piece and piece[0] == DATA else b""
            wire.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)) + frame(WINDOW_UPDATE, 0, 1, U32(50)))
            while (piece := wire.read_frame(0.5)):
                self.assertNotEqual(piece[0], DATA, "the window is 50 below zero, then zero")
            wire.send(frame(WINDOW_UPDATE, 0, 1, U32(len(body))))
            while len(got) < len(body) and time.monotonic() < end:
                piece = wire.read_frame(1)
                got += piece[3] if piece and piece[0] == DATA else b""
            self.assertEqual(got, body)

    def test_compression(self):
        for block in [b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\xbe", b"\x80", b"\x3f\xff\xff\x7f", request() + b"\x20", b"\x00\x81\xff\x00", b"\x00\x84\xff\xff\xff\xff\x00", b"\x00\x7f", b"\x40\x0a" + b"x" * 5,
                      b"\x7f\xff\xff\xff\xff\x0f"]:
            with self.subTest(block):
                self.react(frame(HEADERS, 5, 1, block), connection_error(COMPRESSION_ERROR))

    def test_pseudo_fields(self):
        full = [(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "127.0.0.1")]
        for pairs in [full[1:], [full[0], *full[2:]], [*full[:2], full[3]], full + [full[0]], full + [full[1]], full + [full[2]], full + [full[3]], full[:3] + [("x", "y"), full[3]], full + [(":status", "200")], full + [(":unknown", "x")],
                      [(":method", ""), *full[1:]], [*full[:2], (":path", ""), full[3]], [*full[:2], (":path", "healthz"), full[3]], [*full[:2], (":path", "/a b"), full[3]], [*full[:2], (":path", "/a#b"), full[3]],
                      [*full[:2], (":path", "http://127.0.0.1/healthz"), full[3]], [full[0], (":scheme", "foo"), (":path", "http://other/healthz"), full[3]], [*full[:2], (":path", "*"), full[3]],
                      [*full[:3], (":authority", "a b")], [*full[:3], (":authority", "user@127.0.0.1")], [*full[:3], (":authority", "a/b")], [*full[:3], (":authority", "a" * 5000)], full + [("host", "other")],
                      full + [("host", "127.0.0.1"), ("host", "other")], [*full[:3], (":authority", "")], full[:3], [(":method", "GET\r\nX: y"), *full[1:]], [(":method", "GE T"), *full[1:]]]:
            with self.subTest(pairs):
                self.react(frame(HEADERS, 5, 1, fields(*pairs)), malformed())
        self.react(frame(HEADERS, 5, 1, fields((":method", "CONNECT"), (":authority", "127.0.0.1:80"))), malformed() | {("status", 405)})
        self.react(frame(HEADERS, 5, 1, fields((":method", "M" * 70), *full[1:])), malformed() | {("status", 501)})

    def test_fields(self):
        for pair in [("Upper", "x"), ("connection", "close"), ("connection", "x-more"), ("keep-alive", "1"), ("proxy-connection", "x"), ("transfer-encoding", "chunked"), ("upgrade", "h2c"), ("te", "gzip"), ("te", "trailers, gzip"),
                     ("", "x"), ("a b", "x"), ("a:b", "x"), ("a\r\nb", "x"), ("a\x00", "x"), ("a\xff", "x"), ("x", "a\r\nb: c"), ("x", "a\nb"), ("x", "a\x00b")]:
            with self.subTest(pair):
                self.react(frame(HEADERS, 5, 1, request("/healthz", "GET", pair)), malformed())

    def test_lengths_that_lie(self):
        for length, data in [("5", b"four"), ("3", b"four"), ("0", b"x"), ("+4", b"four"), ("4, 4", b"four"), ("-1", b""), ("99999999999999999999", b"x"), ("", b"x")]:
            with self.subTest(length):
                head = frame(HEADERS, 4, 1, request("/fn/default/echo/", "POST", ("content-length", length)))
                self.react(head + frame(DATA, END_STREAM, 1, data), malformed() | {("status", 413)})
        twice = request("/fn/default/echo/", "POST", ("content-length", "4"), ("content-length", "4"))
        self.react(frame(HEADERS, 4, 1, twice) + frame(DATA, END_STREAM, 1, b"four"), malformed())
        self.react(frame(HEADERS, 5, 1, request("/fn/default/echo/", "POST", ("content-length", "4"))), malformed())

    def test_trailers(self):
        open_one = frame(HEADERS, 4, 1, ECHO) + frame(DATA, 0, 1, b"x")
        self.react(open_one + frame(HEADERS, 4, 1, fields(("x", "y"))), malformed())
        self.react(open_one + frame(HEADERS, 5, 1, fields((":path", "/other"))), malformed())
        self.react(open_one + frame(HEADERS, 5, 1, fields(("content-length", "99"))), malformed() | {("status", 200)})

    def test_prefaces(self):
        for data in [PREFACE[:-1] + b"X", PREFACE + frame(PING, 0, 0, bytes(8)), PREFACE + b"GET / HTTP/1.1\r\n\r\n", PREFACE + frame(HEADERS, 5, 1, request())]:
            with self.subTest(data), Wire(self.host.port, self.tls, "h2") as wire:
                wire.send(data)
                wire.read_to_end()
                self.assertTrue(wire.closed)

    def test_large_heads(self):
        self.react(frame(HEADERS, 5, 1, request("/healthz", "GET", *[(f"x{i}", "y") for i in range(101)])), {("status", 431)})
        self.react(frame(HEADERS, 5, 1, request("/" + "p" * 9000)), {("status", 414)})
        big = request("/healthz", "GET", ("x", "y" * 20_000))
        self.react(frame(HEADERS, 1, 1, big[:16_000]) + frame(CONTINUATION, 4, 1, big[16_000:]), {("status", 431)})


class RulesOverTLS(Rules):
    tls = True


class Floods(Hostile):
    """Each ends with the connection, soon, in bounded memory and processor time."""

    def flood(self, piece, start=b"", most=64 * MEBI, reads=False, codes=(ENHANCE_YOUR_CALM,), settings=b"", polite=True):
        """Sends `piece(turn)` until the host hangs up; it may have taken `most` bytes by then."""
        with self.bounded(), self.h2(settings=settings, polite=polite) as wire:
            wire.send(start)
            sent, turn = 0, 0
            while sent < most:
                data = piece(turn)
                if not wire.send(data):
                    break
                sent, turn = sent + len(data), turn + 1
                if reads and turn % 8 == 0:
                    while wire.read_frame(0.0005):
                        pass
                    if wire.closed:
                        break
            if sent >= most and start:
                # The host ended the stream for a reason of its own: what still comes for it costs nothing, within the bounds.
                while wire.read_frame(0.5):
                    pass
                self.assertTrue(any(f[2] == 1 and (f[0] == RST_STREAM or f[0] in (DATA, HEADERS) and f[1] & END_STREAM) for f in wire.frames), "the host did not hang up")
                return
            self.assertLess(sent, most, "the host did not hang up")
            if wire.closed:  # a reset may have taken the GOAWAY with it
                return
            code = wire.hears_goodbye()
            self.assertIn(code, (*codes, None))

    def streams(self, block, after, per_turn=50):
        """Turns that open streams and do something to each."""
        def piece(turn):
            first = 1 + 2 * per_turn * turn
            return b"".join(frame(HEADERS, 4, first + 2 * i, block) + after(first + 2 * i) for i in range(per_turn))
        return piece

    def both(self, piece, **options):
        for reads in (True, False):
            with self.subTest(reads=reads):
                self.flood(piece, reads=reads, **options)
                self.assert_serves()

    def test_rapid_reset(self):
        """CVE-2023-44487."""
        self.both(self.streams(ECHO, lambda s: frame(RST_STREAM, 0, s, U32(CANCEL))), most=4 * MEBI)

    def test_resets_that_we_are_made_to_send(self):
        """CVE-2025-8671: the client breaks a rule, and the host resets the stream in its place."""
        for after in [lambda s: frame(WINDOW_UPDATE, 0, s, U32(0x7fffffff)), lambda s: frame(HEADERS, 4, s, fields(("x", "y"))), lambda s: frame(HEADERS, 5, s, fields((":path", "/"))),
                      lambda s: frame(DATA, 1, s, b"x") + frame(DATA, 1, s, b"x")]:
            self.both(self.streams(ECHO, after), most=4 * MEBI, codes=(ENHANCE_YOUR_CALM, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED))

    def test_malformed_heads(self):
        self.both(self.streams(request("/healthz", "GET", ("Upper", "x")), lambda s: b""), most=4 * MEBI)
        self.both(self.streams(request("/fn/default/echo/", "POST", ("content-length", "1")), lambda s: frame(DATA, 1, s, b"xx")), most=4 * MEBI)

    def test_streams_beyond_the_limit(self):
        for polite in (True, False):
            self.both(self.streams(ECHO, lambda s: b""), most=16 * MEBI, codes=(ENHANCE_YOUR_CALM, PROTOCOL_ERROR, REFUSED_STREAM), polite=polite)

    def test_continuations(self):
        """CVE-2024-27316."""
        field = literal("x", "y" * 4000)
        start = frame(HEADERS, 1, 1, request())
        codes = (ENHANCE_YOUR_CALM, PROTOCOL_ERROR, INTERNAL_ERROR)
        self.flood(lambda turn: frame(CONTINUATION, 0, 1, field * 4), start, most=8 * MEBI, codes=codes)
        self.flood(lambda turn: frame(CONTINUATION, 0, 1) * 1000, start, most=8 * MEBI, codes=codes)
        self.flood(lambda turn: frame(CONTINUATION, 0, 1, field[:1]) + frame(CONTINUATION, 0, 1, field[1:]), start, most=8 * MEBI, codes=codes)

    def test_housekeeping(self):
        for one in [frame(SETTINGS, 0, 0), frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 5) * 30), frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 0) + struct.pack(">HI", 1, 4096)), frame(PING, 0, 0, bytes(8)), frame(SETTINGS, ACK, 0),
                    frame(PING, ACK, 0, bytes(8)), frame(PRIORITY, 0, 1, U32(3) + b"\x10"), frame(PRIORITY, 0, 1, U32(0) + b"\x10")]:
            with self.subTest(one[:40]):
                self.both(lambda turn: one * 100, most=16 * MEBI)

    def test_empty_frames(self):
        open_one = frame(HEADERS, 4, 1, ECHO)
        self.both(lambda turn: frame(DATA, 0, 1) * 200, start=open_one, most=8 * MEBI)
        self.both(lambda turn: frame(DATA, PADDED, 1, b"\0") * 200, start=open_one, most=8 * MEBI)
        self.both(lambda turn: frame(DATA, PADDED, 1, b"\xff" + bytes(255)) * 20, start=open_one, most=64 * MEBI, codes=(ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR))

    def test_what_must_be_ignored_costs_nothing(self):
        """Frames of no known type, and those of a stream that is over: others are served meanwhile."""
        for one in [frame(0xfe, 0, 0) * 500, frame(0xfe, 0, 0, bytes(16_000)), frame(DATA, 0, 1, b"x") * 500]:
            with self.subTest(one[:12]), self.bounded(), self.h2() as wire:
                wire.send(frame(HEADERS, 5, 1, request()))
                self.assertEqual(wire.outcome(), ("status", 200))
                sent = 0
                while sent < 16 * MEBI and wire.send(one):
                    sent += len(one)
                self.assert_serves()

    def test_window_updates(self):
        self.both(lambda turn: frame(WINDOW_UPDATE, 0, 0, U32(1)) * 200, most=16 * MEBI)
        self.both(lambda turn: frame(WINDOW_UPDATE, 0, 1, U32(1)) * 200, start=frame(HEADERS, 4, 1, ECHO), most=16 * MEBI)

    def test_compression_bombs(self):
        """A large field in the table, and then thousands of references to it."""
        name, value = b"x" * 1000, b"y" * 3000
        stored = literal(name, value, 0x40)
        codes = (ENHANCE_YOUR_CALM, PROTOCOL_ERROR, INTERNAL_ERROR, COMPRESSION_ERROR)
        start = frame(HEADERS, 5, 1, request() + stored)
        self.flood(lambda turn: frame(HEADERS, 5, 3 + 2 * turn, request()[:len(request())] + b"\xbe" * 15_000), start, most=32 * MEBI, codes=codes)
        cookie = literal("cookie", "c" * 3000, 0x40)
        self.flood(lambda turn: frame(HEADERS, 5, 3 + 2 * turn, request() + b"\xbe" * 15_000), frame(HEADERS, 5, 1, request() + cookie), most=32 * MEBI, codes=codes)

    def test_answers_that_nobody_reads(self):
        """Many connections with full answers behind closed windows."""
        body = bytes(60_000)
        with self.bounded(memory=96 * MEBI, processor=20):
            wires = []
            for _ in range(20):
                wire = self.h2(settings=struct.pack(">HI", 4, 0))
                for stream in range(1, 24, 2):
                    wire.send(frame(HEADERS, 4, stream, ECHO))
                    for at in range(0, 60_000, 15_000):
                        wire.send(frame(DATA, END_STREAM if at == 45_000 else 0, stream, body[at:at + 15_000]))
                wires.append(wire)
            self.assert_serves()
            for wire in wires:
                wire.socket.close()

    def test_pings_of_a_client_that_never_reads(self):
        self.flood(lambda turn: frame(PING, 0, 0, os.urandom(8)) * 100, most=16 * MEBI)

    def test_goodbyes(self):
        self.both(lambda turn: frame(GOAWAY, 0, 0, bytes(8)) * 100, most=16 * MEBI, codes=(ENHANCE_YOUR_CALM, NO_ERROR))


class FloodsOverTLS(Floods):
    tls = True


del Hostile

if __name__ == "__main__":
    unittest.main(verbosity=2)
