"""What goes wrong outside the host, or on purpose: each error names step, cause and next step, and nothing is lost or left."""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest

from run import PREFIX, ROOT, SWIFTLET, Host, handler, make_work, wait_for, zygote_processes

ECHO = PREFIX / "plugins/echo"
STRANGER = 65_500  # a user without a name or a group


def serve(state, *words):
    """Runs a host that must not start."""
    return subprocess.run(
        [SWIFTLET, "serve", "--listen", "127.0.0.1:0", "--state", str(state), *words], capture_output=True, text=True, timeout=30)


class RequiredLayers(unittest.TestCase):
    def setUp(self):
        self.work = make_work()

    def tearDown(self):
        shutil.rmtree(self.work)

    def test_a_missing_layer_refuses_the_start(self):
        done = serve(self.work / "state", "--sandbox-without", "landlock,mdwe", "--require-layers", "landlock,seccomp")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("landlock", done.stderr)
        self.assertIn("left out by --without", done.stderr)
        self.assertNotIn("mdwe", done.stderr.split("this machine does not give")[1], "nobody asked for that one")

    def test_all_of_them(self):
        done = serve(self.work / "state", "--sandbox-without", "mdwe", "--require-layers", "all")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("mdwe", done.stderr)

    def test_a_layer_that_is_none(self):
        done = serve(self.work / "state", "--require-layers", "armour")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("armour", done.stderr)

    def test_what_is_there_serves(self):
        host = Host("--require-layers", "seccomp,caps,rlimits")
        host.stop()

    def test_doctor(self):
        run = lambda *words: subprocess.run([SWIFTLET, "doctor", *words], capture_output=True, text=True, timeout=30)
        self.assertEqual(run("--require", "seccomp,caps").returncode, 0)
        self.assertEqual(run("--require", "armour").returncode, 2)
        report = json.loads(run("--json").stdout)
        missing = [layer["name"] for layer in report["layers"] if not layer["in_force"]]
        self.assertEqual(run().returncode, 1 if missing else 0)
        # What can't be watched says why, in words and as a value.
        watch = report["devices"]["gpu_memory_watch"]
        self.assertEqual(watch["in_force"], watch["reason"] == "")
        self.assertIn("gpu-memory-watch: " + ("there" if watch["in_force"] else "absent: " + watch["reason"]), run().stdout)
        self.assertIsInstance(report["dmem"], bool)


class StateDirectory(unittest.TestCase):
    def setUp(self):
        self.work = make_work()

    def tearDown(self):
        shutil.rmtree(self.work)

    def refused(self, done, *words):
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stdout, "")
        # "swiftlet: STEP: CAUSE; NEXT"
        for word in (*words, "swiftlet: ", "; "):
            self.assertIn(word, done.stderr)

    def test_not_to_be_reached_by_the_user_that_the_host_becomes(self):
        closed = self.work / "closed"
        closed.mkdir(mode=0o700)
        self.refused(serve(closed / "state"), "as user", "Permission denied")

    def test_not_writable(self):
        with self.read_only(self.work / "disk") as disk:
            self.refused(serve(disk / "state"), "Read-only file system")

    @contextlib.contextmanager
    def read_only(self, place):
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", place], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)

    def make_registry(self):
        host = Host(work=self.work)
        host.deploy_c("kept", handler("return echo(call, host);"))
        self.assertEqual(host.end(), 0)
        return self.work / "state/registry.db"

    def test_a_registry_of_a_newer_host(self):
        path = self.make_registry()
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version=9999")
        before = path.read_bytes()
        self.refused(serve(self.work / "state"), "9999", "newer")
        self.assertEqual(path.read_bytes(), before, "it was not touched")

    def test_a_registry_that_is_none(self):
        path = self.make_registry()
        path.write_bytes(b"these are not the bytes of a database" * 500)
        for beside in path.parent.glob("registry.db-*"):  # they would repair it
            beside.unlink()
        self.refused(serve(self.work / "state"), "registry.db", "not a database")

    def test_two_hosts_on_one_directory(self):
        host = Host()
        try:
            self.refused(serve(host.work / "state"), "another")
        finally:
            host.stop()

    def test_old_artefacts_are_swept_and_current_ones_kept(self):
        self.make_registry()
        artefacts = self.work / "state/artefacts/default"
        kept = set(artefacts.iterdir())
        (artefacts / ("0" * 64)).mkdir()
        (artefacts / ("0" * 64) / "plugin.so").write_text("old")
        (self.work / "state/staging/upload-1.tar.d").mkdir()
        host = Host(work=self.work)
        try:
            self.assertEqual(set(artefacts.iterdir()), kept)
            self.assertEqual(list((self.work / "state/staging").iterdir()), [])
            self.assertEqual(host.request("POST", "/fn/default/kept/", "x")[1], b"x")
        finally:
            host.stop()
            self.work.mkdir()


class DiskFull(unittest.TestCase):
    def test_a_deploy_without_room_leaves_nothing_and_later_ones_work(self):
        work = make_work()
        (work / "state").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", work / "state"], check=True)
        try:
            host = Host(work=work)
            try:
                self.fill_and_free(host)
            finally:
                self.assertEqual(host.end(), 0)
        finally:
            subprocess.run(["umount", work / "state"], check=True)
            shutil.rmtree(work)

    def fill_and_free(self, host):
        host.deploy_c("first", handler("return echo(call, host);"))
        before = sorted((host.work / "state/artefacts").rglob("*"))
        filler = host.work / "state/filler"
        with contextlib.suppress(OSError), open(filler, "wb") as file:
            while True:
                file.write(bytes(65_536))
                file.flush()
        done = host.deploy_c("second", handler('host->fail(text("no")); return SWIFTLET_FAILED;'))
        self.assertEqual(done.returncode, 1)
        self.assertIn("No space left on device", done.stderr)
        self.assertIn("free space", done.stderr)
        self.assertEqual(sorted((host.work / "state/artefacts").rglob("*")), before)
        self.assertEqual(list((host.work / "state/staging").iterdir()), [])
        self.assertEqual(host.request("POST", "/fn/default/first/", "still here")[1], b"still here")
        filler.unlink()
        self.assertEqual(host.deploy_c("second", handler("return echo(call, host);")).returncode, 0)
        self.assertEqual(host.request("POST", "/fn/default/second/", "x")[1], b"x")


# How a handler sends any bytes it likes to the host: its channel is descriptor 3.
FORGE = """
#include <stdint.h>
static void forge(unsigned type, unsigned flags, unsigned size, unsigned id, const void *payload, unsigned bytes) {
    static unsigned char frame[65536];
    const struct { uint16_t type, flags; uint32_t size, id, call; } head = {type, flags, size, id, 0};
    memcpy(frame, &head, 16);
    if (bytes > 0) memcpy(frame + 16, payload, bytes);
    send(3, frame, 16 + bytes, 0);
}
"""


class HostileHandlers(unittest.TestCase):
    """Each misbehaves beside a neighbour that is called all the time and must never notice."""

    @classmethod
    def setUpClass(cls):
        cls.host = Host("--zygotes", "0")
        cls.host.deploy_c("neighbour", handler("return echo(call, host);"), idle_timeout_s=0.2)
        cls.host.request("POST", "/fn/default/neighbour/", "x")
        cls.descriptors = cls.open_descriptors()
        cls.wrong, cls.answered, cls.over = [], 0, threading.Event()
        cls.caller = threading.Thread(target=cls.call_neighbour)
        cls.caller.start()

    @classmethod
    def call_neighbour(cls):
        while not cls.over.wait(0.01):
            status, body, _ = cls.host.request("POST", "/fn/default/neighbour/", f"n{cls.answered}")
            cls.answered += 1
            if (status, body) != (200, f"n{cls.answered - 1}".encode()):
                cls.wrong.append((status, body))

    @classmethod
    def open_descriptors(cls):
        return len(os.listdir(f"/proc/{cls.host.process.pid}/fd"))

    @classmethod
    def tearDownClass(cls):
        cls.over.set()
        cls.caller.join()
        try:
            assert cls.answered > 10 and not cls.wrong, (cls.answered, cls.wrong[:3])
            wait_for(lambda: cls.open_descriptors() <= cls.descriptors + 1, "the host's descriptors are closed again")
            wait_for(lambda: len(zygote_processes(cls.host.process.pid)) == 1, "only the forker is left")
            groups = pathlib.Path("/sys/fs/cgroup")
            wait_for(lambda: not list(groups.glob(f"*/swiftlet-{cls.host.process.pid}/*/")), "no group is left")
            assert list((cls.host.work / "state/staging").iterdir()) == []
        finally:
            cls.host.stop()

    def deploy(self, body, extra="", **manifest):
        name = self.id().rsplit(".test_", 1)[-1].replace("_", "-")
        done = self.host.deploy_c(name, handler(body, extra), **{"idle_timeout_s": 0.2, **manifest})
        self.assertEqual(done.returncode, 0, done.stderr)
        return f"/fn/default/{name}/"

    def fails(self, body, status, words, extra=FORGE, **manifest):
        got, error = self.host.error(self.deploy(body, extra, **manifest))
        self.assertEqual(got, status, error)
        self.assertIn(words, error["cause"])
        self.assertTrue(error["step"] and error["next"], error)

    def breaks(self, path):
        """The answer had begun: the client must see a broken one."""
        with self.assertRaises((http.client.HTTPException, ConnectionError)):
            self.host.request("GET", path)

    def test_answers_twice(self):
        self.fails('host->respond(200, 0, 0); return host->respond(200, 0, 0);', 502, "")

    def test_answers_twice_by_frames(self):
        # The second head comes in the same batch as the first, so nothing was sent yet.
        path = self.deploy(
            "uint32_t head[2] = {200, 0}; uint32_t id; memcpy(&id, \"\\1\\0\\0\\0\", 4);"
            "for (id = 1; id < 4096; id++) forge(99, 0, 8, id, head, 8); for (;;) {}", FORGE, limits={"timeout_ms": 1000})
        status, error = self.host.error(path)
        self.assertEqual(status, 502, error)

    def test_never_answers(self):
        self.fails("for (;;) usleep(10000);", 504, "did not finish", limits={"timeout_ms": 300})

    def test_returns_without_an_answer(self):
        self.assertEqual(self.host.request("GET", self.deploy("return SWIFTLET_OK;"))[:2], (200, b""))

    def test_exits(self):
        self.fails("_exit(0);", 502, "exit")

    def test_a_crash_loop_is_held_back_and_forgiven(self):
        path = self.deploy("if (call->path.size > 1) { __builtin_trap(); }\nreturn echo(call, host);")
        seen = []
        for _ in range(60):
            status, error = self.host.error(path + "x")
            seen.append(status)
            if status == 503:
                break
        self.assertEqual(error["code"], "crash_loop")
        self.assertIn("SIGILL", error["cause"])
        self.assertGreaterEqual(seen.count(502), 20, "the first ones cost nobody a wait")
        status, _, headers = self.host.request("GET", path)
        if status == 503:
            self.assertEqual(headers["retry-after"], "1")
        wait_for(lambda: self.host.request("POST", path, "well")[:2] == (200, b"well"), "it may start again")
        self.assertIn("swiftlet_refused_starts_total", self.host.request("GET", "/metrics")[1].decode())

    def test_closes_its_channel(self):
        self.fails("close(3); for (;;) usleep(10000);", 502, "", limits={"timeout_ms": 2000})

    def test_a_frame_whose_size_is_wrong(self):
        self.fails('forge(100, 0, 4000, 1, "abc", 3); for (;;) usleep(10000);', 502, "protocol")

    def test_half_a_head(self):
        self.fails('send(3, "half", 4, 0); for (;;) usleep(10000);', 502, "protocol")

    def test_an_unknown_type(self):
        self.fails('forge(7777, 0, 0, 1, 0, 0); for (;;) usleep(10000);', 502, "protocol")

    def test_the_frames_of_a_host(self):
        self.fails('forge(64, 1, 0, 1, 0, 0); for (;;) usleep(10000);', 502, "protocol")

    def test_an_answer_to_somebody_elses_invocation(self):
        self.fails("uint32_t head[2] = {200, 0}; forge(99, 1, 8, 123456789, head, 8); for (;;) usleep(10000);", 502, "protocol")

    def test_a_flood(self):
        self.fails('for (;;) forge(98, 0, 3, 0, "log", 3);', 504, "did not finish", limits={"timeout_ms": 700})

    def test_a_flood_while_the_answer_streams(self):
        path = self.deploy(
            'static char page[32768]; for (;;) if (host->write((swiftlet_bytes){page, sizeof page}) != SWIFTLET_OK) return 1;',
            limits={"response_mb": 8, "timeout_ms": 20000})
        self.breaks(path)

    def test_a_header_with_a_line_break(self):
        path = self.deploy(
            'const swiftlet_header h = {text("x-a"), text("1\\r\\nx-b: 2")}; host->respond(200, &h, 1);'
            ' return host->write(text("ok"));')
        status, body, headers = self.host.request("GET", path)
        self.assertNotIn("x-b", headers)
        self.assertIn(status, (200, 502), body)


class BadModels(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        cls.host.deploy_c("neighbour", handler("return echo(call, host);"))

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def folder(self, name, **manifest):
        folder = self.host.work / name
        shutil.copytree(PREFIX / "plugins/smollm2", folder)
        text = (folder / "swiftlet.json5").read_text().replace('name: "smollm2"', f'name: "{name}"')
        (folder / "swiftlet.json5").write_text(text)
        return folder

    def refused(self, folder, *words):
        done = self.host.cli("deploy", str(folder), check=False)
        if done.returncode == 0:  # told at the first use
            body = json.dumps({"model": folder.name, "messages": [{"role": "user", "content": "x"}]})
            status, text, _ = self.host.request("POST", "/v1/chat/completions", body)
            self.assertGreaterEqual(status, 500, text)
            said = text.decode()
        else:
            said = done.stderr
        for word in words:
            self.assertIn(word, said)
        self.assertEqual(self.host.request("POST", "/fn/default/neighbour/", "x")[1], b"x")
        wait_for(lambda: not [w for w in json.loads(self.host.cli("ps", "--json").stdout)["workers"] if w["kind"] == "backend"], "no backend is left")

    def test_a_truncated_model(self):
        folder = self.folder("truncated")
        os.truncate(next(folder.glob("*.gguf")), 1_000_000)
        self.refused(folder, "truncated", "gguf")

    def test_a_model_that_is_text(self):
        folder = self.folder("text")
        next(folder.glob("*.gguf")).write_text("not a model\n" * 1000)
        self.refused(folder, "text", "gguf")

    def test_a_missing_model(self):
        folder = self.folder("missing")
        next(folder.glob("*.gguf")).unlink()
        self.refused(folder, "gguf", "missing")


class Unprivileged(unittest.TestCase):
    @unittest.skipUnless(os.geteuid() == 0, "needs root to become somebody else")
    def test_a_host_without_root_serves_and_says_what_is_missing(self):
        work = make_work()
        (work / "state").mkdir()
        os.chown(work / "state", STRANGER, STRANGER)
        for part in (SWIFTLET, PREFIX / "lib/swift/"):
            reached = subprocess.run(["test", "-r", part], user=STRANGER, group=STRANGER, extra_groups=[])
            if reached.returncode != 0:
                self.skipTest(f"{part} can't be read by an unprivileged user")
        host = Host(work=work, user=STRANGER, group=STRANGER, extra_groups=[])
        try:
            host.cli("deploy", str(ROOT / "examples/hello-swift"))
            self.assertEqual(host.request("GET", "/fn/default/hello-swift/?name=ada")[0], 200)
            self.assertIn('"missing":"user,cgroup', (work / "host.log").read_text())
            layers = json.loads(host.request("GET", "/admin/v1/host")[1])["layers"]
            held = {layer["name"] for layer in layers if layer["in_force"]}
            self.assertGreaterEqual(held, {"pid", "net", "mount", "seccomp", "landlock"})
        finally:
            below = zygote_processes(host.process.pid)
            self.assertEqual(host.stop()[0], 0)
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in below), "every process is gone")


class Zygotes(unittest.TestCase):
    def test_a_spare_that_was_killed_costs_no_invocation(self):
        host = Host()
        try:
            host.deploy_c("echo", handler("return echo(call, host);"), idle_timeout_s=0.05)
            for _ in range(10):
                wait_for(lambda: json.loads(host.request("GET", "/admin/v1/workers")[1])["adopted_zygotes"] == 0, "asleep")
                for pid in self.zygotes(host):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                status, body, headers = host.request("POST", "/fn/default/echo/", "x")
                if status == 503:  # it was dying at that moment, and took the worker along
                    self.assertEqual(json.loads(body)["code"], "unavailable")
                    self.assertIn("retry-after", headers)
                    status, body, _ = host.request("POST", "/fn/default/echo/", "x")
                self.assertEqual((status, body), (200, b"x"))
        finally:
            host.stop()

    @staticmethod
    def zygotes(host):
        """The forker's children: the host's children's children."""
        def children(pid):
            text = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
            return [int(word) for word in text.split()]

        return [zygote for forker in children(host.process.pid) for zygote in children(forker)]

    def test_a_deploy_right_after_the_start(self):
        for _ in range(3):
            host = Host()
            try:
                self.assertEqual(host.deploy_c("echo", handler("return echo(call, host);")).returncode, 0)
                self.assertEqual(host.request("POST", "/fn/default/echo/", "x")[1], b"x")
            finally:
                host.stop()


class SentAhead(unittest.TestCase):
    def test_a_crash_fails_its_own_call_and_none_that_waits_in_the_same_worker(self):
        host = Host("--loops", "2", "--restart-rate", "0")
        try:
            host.deploy_c(
                "echo", handler("if (call->query.size > 0) __builtin_trap(); return echo(call, host);"),
                limits={"concurrency": 2, "queue": 100})
            callers = [socket.create_connection(("127.0.0.1", host.port), timeout=30) for _ in range(32)]
            for burst in range(60):
                fatal = burst % len(callers) if burst >= 20 else None
                for number, caller in enumerate(callers):
                    query, text = "?crash" if number == fatal else "", f"{burst:04}-{number:04}"
                    caller.sendall(
                        f"POST /fn/default/echo/{query} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{text}".encode())
                for number, caller in enumerate(callers):
                    answer = http.client.HTTPResponse(caller)
                    answer.begin()
                    body = answer.read()
                    if number == fatal:
                        self.assertEqual(answer.status, 502, body)
                    else:
                        self.assertEqual((answer.status, body), (200, f"{burst:04}-{number:04}".encode()))
            for caller in callers:
                caller.close()
        finally:
            code, log = host.stop()
        self.assertEqual(code, 0, log)


class Drain(unittest.TestCase):
    def test_a_stop_under_load_fails_no_request(self):
        host = Host("--loops", "2")
        host.deploy_c("echo", handler("usleep(2000); return echo(call, host);"))
        failures, answered = [], [0] * 16

        def caller(number):
            connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)
            try:
                connection.connect()
                while True:
                    text = f"{number}-{answered[number]}".encode()
                    connection.request("POST", "/fn/default/echo/", text)
                    answer = connection.getresponse()
                    if answer.status != 200 or answer.read() != text:
                        failures.append((number, answer.status))
                    answered[number] += 1
                    if answer.getheader("connection") == "close":
                        return
            except (http.client.HTTPException, OSError) as error:
                failures.append((number, repr(error)))
            finally:
                connection.close()

        threads = [threading.Thread(target=caller, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        wait_for(lambda: min(answered) > 5, "everybody is being served")
        host.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
        self.assertEqual(failures, [])
        code, log = host.stop()
        self.assertEqual(code, 0, log)


if __name__ == "__main__":
    unittest.main(verbosity=2)
