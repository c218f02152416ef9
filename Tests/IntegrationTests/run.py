"""Drives a real host with real sandboxed workers over HTTP; each test says what a user would miss if it failed."""
import contextlib
import fcntl
import http.client
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PREFIX = (ROOT / (sys.argv.pop(1) if len(sys.argv) > 1 else ".build/swiftlet")).resolve()
SWIFTLET = PREFIX / "bin/swiftlet"
FIXTURES = pathlib.Path(__file__).resolve().parent / "handlers"


def make_work():
    """A folder that the user whom the host becomes may pass through."""
    work = pathlib.Path(tempfile.mkdtemp(prefix="swiftlet-test-"))
    work.chmod(0o755)
    return work


class Host:
    """One `swiftlet serve` on a free port with a state directory of its own."""

    def __init__(self, *extra, authorities=None, work=None, **process):
        self.authorities = authorities
        self.trusted = authorities and ssl.create_default_context(cafile=authorities)
        self.work = work or make_work()
        # What every command of `cli` finds besides this program's own environment.
        self.environment = {}
        self.extra, self.settings = extra, process
        self.start()
        self.admin_key = self.ready.get("admin_key")

    def start(self):
        self.log = open(self.work / "host.log", "ab")
        self.process = subprocess.Popen(
            [SWIFTLET, "serve", "--listen", "127.0.0.1:0", "--state", self.work / "state", "--json", *self.extra],
            stdout=subprocess.PIPE, stderr=self.log, **self.settings)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError((self.work / "host.log").read_text())
        self.ready = json.loads(line)
        self.url, self.port = self.ready["url"], int(self.ready["address"].rsplit(":", 1)[1])
        self.tls = self.ready.get("tls", {})
        if self.tls.get("self_signed") and not self.authorities:
            self.trusted = ssl.create_default_context(cafile=self.work / "state/tls/certificate.pem")
        wait_for(lambda: self.request("GET", "/readyz")[0] == 200, "the host is ready")

    def restart(self):
        """Ends the host in an orderly way and starts another one on its state."""
        self.end()
        self.start()

    def end(self, how=signal.SIGTERM):
        """Ends the process, if it still lives, and keeps its state; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(timeout=60)
        self.process.stdout.close()
        self.log.close()
        return status

    def kill(self):
        """SIGKILL, and waits until nothing holds the state directory any more."""
        self.end(signal.SIGKILL)

        def is_free():
            with open(self.work / "state/lock", "r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
                except OSError:
                    return False

        wait_for(is_free, "the workers of the dead host are gone")

    @contextlib.contextmanager
    def workers_killed(self):
        """Kills whatever worker there is, all the time."""
        over = threading.Event()

        def killer():
            while not over.wait(0.05):
                # 0: it is not told yet, and would name this very process's group.
                workers = json.loads(self.request("GET", "/admin/v1/workers")[1])["workers"]
                for worker in [worker for worker in workers if worker["pid"] > 1]:
                    try:
                        os.kill(worker["pid"], signal.SIGKILL)
                    except ProcessLookupError:
                        pass

        thread = threading.Thread(target=killer)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def cli_environment(self):
        environment = dict(os.environ, SWIFTLET_HOST=self.url, **self.environment)
        if self.tls:
            environment["SWIFTLET_FINGERPRINT"] = self.tls["pin"]
        return environment

    def cli(self, *words, check=True):
        done = subprocess.run([SWIFTLET, *words], capture_output=True, text=True, env=self.cli_environment(), timeout=120)
        if check and done.returncode != 0:
            raise AssertionError(f"swiftlet {words}: {done.stdout}{done.stderr}")
        return done

    def request(self, method, path, body=None, headers={}):
        if self.trusted:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.trusted)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()

    def error(self, path, method="GET", body=None):
        """The status and the error's words of a call that must fail."""
        status, text, _ = self.request(method, path, body)
        return status, json.loads(text)

    def deploy_c(self, name, source, **manifest):
        folder = self.work / name
        folder.mkdir(exist_ok=True)
        (folder / "handler.c").write_text(source)
        fields = {"name": name, "kind": "handler", "version": "1.0.0", "language": "c", "idle_timeout_s": 60, **manifest}
        (folder / "swiftlet.json5").write_text(json.dumps(fields))
        return self.cli("deploy", str(folder), check=False)

    def stop(self):
        code = self.end()
        text = (self.work / "host.log").read_text()
        shutil.rmtree(self.work)
        return code, text


def wait_for(condition, what, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def zygote_processes(host_pid):
    """Every process below the host: forker, zygotes, workers."""
    rows = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True).stdout.split("\n")[1:]
    parents = {int(r.split()[0]): int(r.split()[1]) for r in rows if r.strip()}
    below = {host_pid}
    while True:
        more = {pid for pid, parent in parents.items() if parent in below} - below
        if not more:
            return below - {host_pid}
        below |= more


def handler(body, extra=""):
    """A C handler whose invoke runs `body`."""
    return (FIXTURES / "frame.c").read_text().replace("/*EXTRA*/", extra).replace("/*BODY*/", body)


class MainJob(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        for example in ["hello-c", "hello-swift"]:
            cls.host.cli("deploy", str(ROOT / "examples" / example))
        cls.host.deploy_c("echo", handler("return echo(call, host);"))

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def test_a_c_handler_answers(self):
        status, body, headers = self.host.request("GET", "/fn/default/hello-c/?name=ada")
        self.assertEqual((status, body), (200, b"hello ada\n"))
        self.assertIn("x-request-id", headers)
        self.assertIn("run;dur=", headers["server-timing"])

    def test_a_swift_handler_answers(self):
        status, body, _ = self.host.request("GET", "/fn/default/hello-swift/?name=ada")
        self.assertEqual(status, 200)
        self.assertIn(b"ada", body)

    def test_bodies_go_both_ways(self):
        for size in [0, 1, 1000, 32_768, 32_769, 300_000, 3_000_000]:
            sent = os.urandom(size)
            status, got, _ = self.host.request("POST", "/fn/default/echo/", sent)
            self.assertEqual(status, 200, size)
            self.assertEqual(got, sent, size)

    def test_a_plugin_of_the_first_abi_still_runs(self):
        folder = self.host.work / "first"
        folder.mkdir()
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", folder / "plugin.so", FIXTURES / "first_abi.c"], check=True)
        (folder / "swiftlet.json5").write_text('{name: "first", kind: "handler", version: "1", library: "plugin.so"}')
        self.host.cli("deploy", str(folder))
        status, body, headers = self.host.request("POST", "/fn/default/first/a?b", "c")
        self.assertEqual((status, body, headers["content-type"]), (201, b"POST/abc", "text/plain"))

    def test_a_callers_request_id_is_kept(self):
        _, _, headers = self.host.request("GET", "/fn/default/hello-c/", headers={"x-request-id": "mine-1"})
        self.assertEqual(headers["x-request-id"], "mine-1")

    def test_many_at_once(self):
        wrong = []

        def caller(number):
            connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
            for turn in range(50):
                connection.request("POST", "/fn/default/echo/", f"{number}-{turn}")
                answer = connection.getresponse().read()
                if answer != f"{number}-{turn}".encode():
                    wrong.append(answer)
            connection.close()

        threads = [threading.Thread(target=caller, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_an_unknown_function_is_a_404_that_helps(self):
        status, body, _ = self.host.request("GET", "/fn/default/nobody/")
        self.assertEqual(status, 404)
        self.assertIn("swiftlet deploy", json.loads(body)["next"])

    def test_the_command_line_lists_what_is_there(self):
        self.assertIn("hello-c", self.host.cli("ls").stdout)
        self.host.cli("invoke", "hello-c")
        workers = json.loads(self.host.cli("ps", "--json").stdout)["workers"]
        mine = [w for w in workers if w["name"] == "hello-c" and w["kind"] == "handler"]
        self.assertTrue(mine and mine[0]["pid"] > 0 and mine[0]["memory_bytes"] > 0, workers)
        self.assertIn("greeting", self.host.cli("logs", "hello-c").stdout)

    def test_metrics(self):
        self.host.request("GET", "/fn/default/hello-c/")
        text = self.host.request("GET", "/metrics")[1].decode()
        self.assertRegex(text, r'(?m)^swiftlet_invocations_total\{outcome="success"\} [1-9]')
        for line in text.splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]+"(,\w+="[^"]+")*\})? [0-9.]+)$')

    def test_every_answer_says_where_its_time_went(self):
        for path, status in [("/fn/default/hello-c/", 200), ("/fn/default/nobody/", 404), ("/nowhere", 404), ("/healthz", 200)]:
            got, _, headers = self.host.request("GET", path)
            self.assertEqual(got, status, path)
            self.assertRegex(headers["server-timing"], r"total;dur=\d+\.\d{3}", path)
            self.assertIn("x-request-id", headers, path)


class BadHandlers(unittest.TestCase):
    """A handler that misbehaves is told so, and its neighbour never notices."""

    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        cls.host.cli("deploy", str(ROOT / "examples" / "hello-c"))

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def tearDown(self):
        self.assertEqual(self.host.request("GET", "/fn/default/hello-c/")[0], 200, "the neighbour answers")

    def call(self, body, status, words, extra="", **manifest):
        name = self.id().rsplit("_", 1)[-1].lower()
        done = self.host.deploy_c(name, handler(body, extra), **manifest)
        self.assertEqual(done.returncode, 0, done.stderr)
        got, text, _ = self.host.request("GET", f"/fn/default/{name}/")
        self.assertEqual(got, status, text)
        self.assertIn(words, json.loads(text)["cause"])

    def test_crash(self):
        self.call("*(volatile int *)8 = 1; return 0;", 502, "SIGSEGV")

    def test_abort(self):
        self.call("abort();", 502, "SIGABRT")

    def test_exit(self):
        self.call("_exit(7);", 502, "exit status 7")

    def test_failure(self):
        self.call('host->fail(text("no luck")); return SWIFTLET_FAILED;', 502, "no luck")

    def test_endless(self):
        self.call("for (;;) {}", 504, "did not finish within 500 ms", limits={"timeout_ms": 500})

    def test_memory(self):
        self.call(
            "for (;;) { char *p = malloc(1 << 20); if (p) memset(p, 1, 1 << 20); }", 502, "memory",
            limits={"memory_mb": 32, "timeout_ms": 20000})

    def test_garbage(self):
        self.call('send(3, "garbage", 7, 0); return 0;', 502, "protocol")

    def test_init(self):
        self.call("return 0;", 502, "init has failed", extra="#define FAILING_INIT")

    def test_constructor(self):
        name = "constructor"
        extra = "__attribute__((constructor)) static void boom(void) { abort(); }"
        done = self.host.deploy_c(name, handler("return 0;", extra))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("SIGABRT", done.stderr)
        self.assertEqual(self.host.request("GET", f"/fn/default/{name}/")[0], 404)

    def test_sandbox(self):
        self.call(
            'int f = open("/etc/passwd", 0); int s = socket(2, 1, 0); host->fail(text(f < 0 && s < 0 ? "held" : "leaked"));'
            " return SWIFTLET_FAILED;", 502, "held")


class BadDeployments(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def refused(self, words, manifest=None, library=b"", source=None):
        folder = self.host.work / "bad"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        fields = {"name": "bad", "kind": "handler", "version": "1.0.0", "library": "plugin.so"}
        (folder / "swiftlet.json5").write_text(manifest or json.dumps(fields))
        (folder / "plugin.so").write_bytes(library)
        if source:
            (folder / "a.c").write_text(source)
            subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "plugin.so", folder / "a.c"], check=True)
            (folder / "a.c").unlink()
        done = self.host.cli("deploy", str(folder), check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(words, done.stderr)
        self.assertEqual(json.loads(self.host.cli("ls", "--json").stdout)["functions"], [])
        self.assertEqual(list((self.host.work / "state/staging").glob("*")), [], "nothing is left behind")

    def test_not_a_library(self):
        self.refused("ELF", library=b"hello" * 100)

    def test_without_the_entry(self):
        self.refused("swiftlet_plugin_entry", source="int x;")

    def test_a_newer_abi(self):
        source = """
            struct p { unsigned size, abi, kind, r; const char *n, *v; const void *t; };
            static const unsigned table[16] = {40, 1};
            static const struct p plugin = {sizeof(struct p), 99, 1, 0, "bad", "1", table};
            const void *swiftlet_plugin_entry(unsigned v) { return &plugin; }"""
        self.refused("99", source=source)

    def test_an_unknown_key(self):
        self.refused("colour", manifest='{name: "bad", kind: "handler", version: "1.0.0", library: "plugin.so", colour: "red"}')

    def test_a_wrong_type(self):
        self.refused("limits", manifest='{name: "bad", kind: "handler", version: "1.0.0", library: "plugin.so", limits: 7}')


class ScaleToZero(unittest.TestCase):
    def test_nothing_is_left_and_the_next_request_works(self):
        host = Host("--zygotes", "0")
        try:
            host.deploy_c("echo", handler("return echo(call, host);"), idle_timeout_s=0.5)
            for _ in range(2):
                self.assertEqual(host.request("POST", "/fn/default/echo/", "x")[1], b"x")
                wait_for(lambda: host.cli("ps").stdout.startswith("TENANT") and "0 workers, 0 tenants" in host.cli("ps").stdout, "asleep")
                wait_for(lambda: len(zygote_processes(host.process.pid)) == 1, "only the forker is left")
                groups = list(pathlib.Path("/sys/fs/cgroup").glob(f"*/swiftlet-{host.process.pid}/*/"))
                self.assertEqual(groups, [])
        finally:
            host.stop()

    def test_a_stopped_host_leaves_nothing(self):
        host = Host()
        host.cli("deploy", str(ROOT / "examples" / "hello-c"))
        host.request("GET", "/fn/default/hello-c/")
        below = zygote_processes(host.process.pid)
        self.assertGreater(len(below), 1)
        code, log = host.stop()
        self.assertEqual(code, 0, log)
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in below), "every process is gone")
        self.assertEqual(list(pathlib.Path("/sys/fs/cgroup").glob(f"*/swiftlet-{host.process.pid}")), [])

    def test_a_killed_host_leaves_nothing(self):
        host = Host()
        below = zygote_processes(host.process.pid)
        host.process.kill()
        host.process.wait()
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in below), "every process is gone")
        host.stop()


class Models(unittest.TestCase):
    """A real model, and openai-python as it comes from PyPI."""

    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        for plugin in ["smollm2", "echo"]:
            cls.host.cli("deploy", str(PREFIX / "plugins" / plugin))
        cls.host.cli("deploy", str(ROOT / "examples" / "chat"))

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def chat(self, content, **fields):
        body = {"model": "smollm2", "temperature": 0, "max_tokens": 24, "messages": [{"role": "user", "content": content}], **fields}
        status, text, _ = self.host.request("POST", "/v1/chat/completions", json.dumps(body))
        return status, json.loads(text)

    def answer(self, content, **fields):
        status, body = self.chat(content, **fields)
        self.assertEqual(status, 200, body)
        return body["choices"][0]["message"]["content"]

    def test_the_answer_is_real_and_differs_with_the_prompt(self):
        paris = self.answer("What is the capital of France?")
        self.assertIn("Paris", paris)
        self.assertNotEqual(paris, self.answer("Write one word about the sea."))

    def test_a_seed_repeats_an_answer(self):
        first = self.answer("Tell me a story.", temperature=1.2, seed=7)
        self.assertEqual(first, self.answer("Tell me a story.", temperature=1.2, seed=7))
        self.assertNotEqual(first, self.answer("Tell me a story.", temperature=1.2, seed=8))

    def test_a_handler_streams_the_models_answer(self):
        status, body, _ = self.host.request("GET", "/fn/default/chat/?q=What%20is%20the%20capital%20of%20France%3F")
        self.assertEqual(status, 200)
        self.assertIn(b"Paris", body)

    def test_several_at_once(self):
        answers = {}

        def ask(n):
            answers[n] = self.answer(f"What comes after the number {n}?")

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(answers), 6)

    def test_an_unknown_model(self):
        status, body = self.chat("hello", model="nobody")
        self.assertEqual((status, body["error"]["code"]), (404, "model_not_found"))

    def test_bad_requests_are_told_which_field(self):
        self.assertEqual(self.chat("x", temperature=99)[1]["error"]["param"], "temperature")
        self.assertEqual(self.chat("x", max_tokens=0)[0], 400)
        status, text, _ = self.host.request("POST", "/v1/chat/completions", b"{")
        self.assertEqual(status, 400, text)

    def test_a_disconnect_ends_the_work(self):
        import socket
        body = json.dumps({"model": "smollm2", "stream": True, "max_tokens": 400, "messages": [{"role": "user", "content": "Go on."}]})
        with socket.create_connection(("127.0.0.1", self.host.port)) as client:
            client.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
            self.assertIn(b"200", client.recv(64))
        self.assertIn("Paris", self.answer("What is the capital of France?"))

    def test_openai_python(self):
        script = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none")
assert "smollm2" in [m.id for m in client.models.list()]
ask = dict(model="smollm2", temperature=0, max_tokens=24, messages=[{"role": "user", "content": "What is the capital of France?"}])
whole = client.chat.completions.create(**ask)
assert "Paris" in whole.choices[0].message.content, whole
assert whole.usage.completion_tokens > 0
parts = [c for c in client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **ask)]
text = "".join(c.choices[0].delta.content or "" for c in parts if c.choices)
assert text == whole.choices[0].message.content, (text, whole)
assert parts[-1].usage.total_tokens > 0
try:
    client.chat.completions.create(**{**ask, "model": "nobody"})
    raise SystemExit("an unknown model was served")
except openai.NotFoundError:
    pass
"""
        done = subprocess.run(
            [ROOT / ".deps/clients/bin/python", "-c", script, self.host.url], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_missing_model_file(self):
        folder = self.host.work / "broken"
        shutil.copytree(PREFIX / "plugins/smollm2", folder, ignore=lambda d, names: [n for n in names if n.endswith(".gguf")])
        done = self.host.cli("deploy", str(folder), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(".gguf", done.stderr)

    def test_a_truncated_model_file(self):
        folder = self.host.work / "cut"
        shutil.copytree(PREFIX / "plugins/smollm2", folder, ignore=lambda d, names: [n for n in names if n.endswith(".gguf")])
        name = "SmolLM2-135M-Instruct.Q4_0.gguf"
        (folder / name).write_bytes((PREFIX / "plugins/smollm2" / name).read_bytes()[:1_000_000])
        manifest = folder / "swiftlet.json5"
        manifest.write_text(manifest.read_text().replace('"smollm2"', '"cut"', 1))
        self.assertEqual(self.host.cli("deploy", str(folder), check=False).returncode, 0)
        status, body = self.chat("hello", model="cut")
        self.assertGreaterEqual(status, 500)
        self.assertIn("model", body["error"]["message"])
        self.assertIn("Paris", self.answer("What is the capital of France?"))


class ModelScaleToZero(unittest.TestCase):
    def test_an_idle_model_unloads_and_the_next_request_works(self):
        host = Host("--zygotes", "0")
        try:
            folder = host.work / "echo"
            shutil.copytree(PREFIX / "plugins/echo", folder)
            manifest = folder / "swiftlet.json5"
            import re
            manifest.write_text(re.sub(r"keep_alive_s: [0-9.]+", "keep_alive_s: 0.5", manifest.read_text()))
            host.cli("deploy", str(folder))
            ask = json.dumps({"model": "echo", "max_tokens": 8, "temperature": 0, "messages": [{"role": "user", "content": "ping"}]})
            for _ in range(2):
                status, text, _ = host.request("POST", "/v1/chat/completions", ask)
                self.assertEqual(status, 200, text)
                wait_for(lambda: "0 workers, 0 tenants" in host.cli("ps").stdout, "asleep")
                wait_for(lambda: len(zygote_processes(host.process.pid)) == 1, "only the forker is left")
        finally:
            host.stop()


class Starting(unittest.TestCase):
    def run_serve(self, *words):
        return subprocess.run([SWIFTLET, "serve", *words], capture_output=True, text=True, timeout=30)

    def test_a_port_in_use(self):
        host = Host()
        try:
            with tempfile.TemporaryDirectory() as state:
                import socket
                with socket.socket() as taken:
                    taken.bind(("127.0.0.1", 0))
                    taken.listen()
                    done = self.run_serve("--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--state", state)
            self.assertEqual(done.returncode, 1)
            self.assertIn("another program has this port", done.stderr)
        finally:
            host.stop()

    def test_a_state_directory_that_is_a_file(self):
        with tempfile.NamedTemporaryFile() as file:
            done = self.run_serve("--listen", "127.0.0.1:0", "--state", file.name)
        self.assertEqual(done.returncode, 1)
        self.assertIn("swiftlet: ", done.stderr)

    def test_help_and_usage(self):
        done = subprocess.run([SWIFTLET, "--help"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0)
        self.assertIn("deploy", done.stdout)
        self.assertEqual(self.run_serve("--nonsense").returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
