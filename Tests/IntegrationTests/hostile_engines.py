"""Backend plugins that break their contract, each beside a neighbour who must never notice. Usage: hostile_engines.py PREFIX"""
import http.client
import json
import os
import pathlib
import re
import subprocess
import threading
import time
import unittest

from run import PREFIX, ROOT, Host, wait_for, zygote_processes

HERE = pathlib.Path(__file__).resolve().parent


def build(folder):
    """The plugin that obeys prompts which begin with "!"."""
    library = folder / "hostile.so"
    subprocess.run(
        ["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden",
         f"-I{ROOT}/Sources/SwiftletABI/include", HERE / "backends/hostile.c", "-o", library], check=True)
    return library.read_bytes()


class Neighbour(threading.Thread):
    """Another tenant with another model, without a pause."""

    def __init__(self, host):
        super().__init__()
        self.host, self.over = host, threading.Event()
        self.wrong, self.times = [], []

    def run(self):
        while not self.over.is_set():
            begun = time.time()
            try:
                answer = self.host.chat("neighbour", "hello", tenant="neighbour")
            except (OSError, http.client.HTTPException) as error:
                answer = (0, repr(error))
            self.times.append(time.time() - begun)
            if answer[0] != 200 or answer[1]["choices"][0]["message"]["content"] != "ok":
                self.wrong.append(answer)
            time.sleep(0.005)


class HostWithModels(Host):
    def __init__(self, **process):
        super().__init__(**process)
        self.library = build(self.work)

    def deploy(self, name, config={}, **manifest):
        folder = self.work / name
        folder.mkdir()
        (folder / "hostile.so").write_bytes(self.library)
        limits = {"memory_mb": 48, "step_ms": 700, **manifest.pop("limits", {})}
        fields = {"name": name, "kind": "backend", "version": "1.0.0", "library": "hostile.so", "config": config, "limits": limits,
                  "max_sequences": 8, **manifest}
        (folder / "swiftlet.json5").write_text(json.dumps(fields))
        self.cli("deploy", str(folder))

    def chat(self, model, text, tenant="mallory", **fields):
        body = {"model": model, "temperature": 0, "messages": [{"role": "user", "content": text}], **fields}
        return self.ask("/v1/chat/completions", body, tenant)

    def ask(self, path, body, tenant="mallory"):
        status, answer, _ = self.request("POST", path, json.dumps(body), {"x-swiftlet-tenant": tenant})
        return status, json.loads(answer)

    def metric(self, name, **labels):
        text = self.request("GET", "/metrics")[1].decode()
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        found = re.search(rf"(?m)^{name}\{{{wanted}\}} ([0-9.]+)$", text)
        return float(found[1]) if found else 0.0

    def memory(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class HostileEngines(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = HostWithModels()
        cls.host.deploy("neighbour", limits={"step_ms": 20_000})
        cls.neighbour = Neighbour(cls.host)
        cls.neighbour.start()
        wait_for(lambda: len(cls.neighbour.times) > 3, "the neighbour is served")

    @classmethod
    def tearDownClass(cls):
        cls.neighbour.over.set()
        cls.neighbour.join()
        cls.host.stop()

    def tearDown(self):
        self.assertIsNone(self.host.process.poll(), "the host lives")
        before = len(self.neighbour.times)
        wait_for(lambda: len(self.neighbour.times) > before + 1, "the neighbour is served")
        self.assertEqual(self.neighbour.wrong, [])
        self.assertEqual(self.host.metric("swiftlet_model_crashes_total", model="neighbour"), 0)

    def fails(self, act, words, status=500, code="model_failed", crashes=1, call=None, **manifest):
        """A request that makes the engine do `act` is told so, and the next one is served, by another worker if that one was ended."""
        name = act
        self.host.deploy(name, **manifest)
        call = call or (lambda: self.host.chat(name, "!" + act))
        # One token: behind a longer answer a step may have been sent that never ran, and the engine counts operations to forge them.
        self.assertEqual(self.host.chat(name, "first", max_tokens=1)[0], 200)
        got, answer = call()
        self.assertEqual(got, status, answer)
        error = answer["error"]
        self.assertEqual(sorted(error), ["code", "message", "param", "type"])
        self.assertEqual(error["code"], code, error)
        self.assertIn(words, error["message"])
        if status >= 500:
            self.assertIn(f"model {name}: ", error["message"])
        got, answer = self.host.chat(name, "again")
        self.assertEqual((got, got == 200 and answer["choices"][0]["message"]["content"]), (200, "ok"), answer)
        self.assertEqual(self.host.metric("swiftlet_model_crashes_total", model=name), crashes)
        self.assertEqual(self.host.metric("swiftlet_model_loads_total", model=name), 1 + crashes)

    def test_hangs(self):
        for act, words in [("hang-step", "step"), ("hang-prompt", "prompt"), ("hang-start", "start a sequence")]:
            with self.subTest(act):
                begun = time.time()
                self.fails(act, f"{words} took longer than 700 ms (limits.step_ms); the worker was ended")
                self.assertLess(time.time() - begun, 15)

    def test_hangs_with_plain_text(self):
        self.fails(
            "hang-tokenize", "tokenize took longer than 700 ms",
            call=lambda: self.host.ask("/v1/embeddings", {"model": "hang-tokenize", "input": "!hang-tokenize"}))
        self.fails(
            "hang-embed", "embed took longer than 700 ms",
            call=lambda: self.host.ask("/v1/embeddings", {"model": "hang-embed", "input": "!hang-embed"}))

    def test_all_who_share_a_worker_that_hangs_are_told(self):
        self.host.deploy("shared", limits={"step_ms": 1500})
        self.assertEqual(self.host.chat("shared", "first")[0], 200)
        answers = []
        callers = [
            threading.Thread(target=lambda tenant=tenant: answers.append(self.host.chat("shared", "!hang-step", tenant=tenant)))
            for tenant in ("ada", "bob", "cy")]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        self.assertEqual([status for status, _ in answers], [500] * 3)
        for _, answer in answers:
            self.assertIn("step took longer than 1500 ms", answer["error"]["message"])
        self.assertEqual(self.host.chat("shared", "again", tenant="ada")[0], 200)

    def test_a_stream_that_hangs_ends_with_the_error(self):
        self.host.deploy("streams")
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
        body = {"model": "streams", "stream": True, "messages": [{"role": "user", "content": "!hang-step"}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        text = connection.getresponse().read().decode()
        connection.close()
        self.assertIn("step took longer than 700 ms", text)
        self.assertIn('"code":"model_failed"', text)

    def test_dies(self):
        for act, words in [("crash-step", "SIGSEGV"), ("exit-step", "ended by itself")]:
            with self.subTest(act):
                self.fails(act, words)
        self.fails(
            "crash-tokenize", "SIGABRT",
            call=lambda: self.host.ask("/v1/completions", {"model": "crash-tokenize", "prompt": "!crash-tokenize"}))
        self.fails(
            "crash-embed", "SIGILL",
            call=lambda: self.host.ask("/v1/embeddings", {"model": "crash-embed", "input": "!crash-embed"}))

    def test_leaks_until_its_group_ends_it(self):
        self.fails("leak-step", "ran out of memory: its limit is 48 MiB; raise limits.memory_mb", limits={"step_ms": 20_000})

    def test_results_that_are_none(self):
        for act, words in [
            ("wrong-sequence", "step: its result is not one for each sequence"),
            ("token-high", "step: the token 257 is none of the model's 257"),
            ("token-negative", "step: the token -5 is none of the model's 257"),
            ("token-prompt", "prompt: the token 257 is none of the model's 257"),
            ("many-tops", ""), ("large-size", ""),
            ("forge-garbage", "step: its result is not one"), ("forge-short", "a result of 1 bytes"),
            ("forge-unasked", "answered what nobody asked"), ("forge-type", "frame 64 out of place"),
            ("forge-many", "a result inside another"),
        ]:
            with self.subTest(act):
                self.fails(act, words)
        self.fails("large-piece", "step: its result is not one", limits={"memory_mb": 512, "step_ms": 30_000})

    def test_fewer_results_than_asked(self):
        # Two answers of one request are in one step from the second token on.
        self.fails("few", "step: its result is not one for each", call=lambda: self.host.chat("few", "!few", n=2))

    def test_failures_that_are_no_breach_leave_the_worker_alone(self):
        for act, words in [
            ("status-item", "the engine dropped the sequence"), ("status-step", "the engine failed and gave no reason"),
            ("fail-step", "the engine failed"), ("fail-start", "start a sequence"),
        ]:
            with self.subTest(act):
                self.fails(act, words, crashes=0)
        self.fails(
            "infinite", "not finite", crashes=0,
            call=lambda: self.host.ask("/v1/embeddings", {"model": "infinite", "input": "!infinite"}))

    def test_a_lie_about_its_time_is_not_billed(self):
        self.host.deploy("forge-time")
        self.assertEqual(self.host.chat("forge-time", "first")[0], 200)
        begun = time.time()
        self.host.chat("forge-time", "!forge-time")
        billed = self.host.metric("swiftlet_tenant_device_seconds_total", model="forge-time", tenant="mallory")
        self.assertLessEqual(billed, time.time() - begun + 2)
        self.assertEqual(self.host.chat("forge-time", "again")[0], 200)

    def test_lies_in_describe(self):
        for lie, status, words in [
            ("silent", 400, ""), ("none", 400, ""), ("vocabulary", 500, "none of the model's 0"),
            ("sequences", 503, "it holds more than 4096 sequences"), ("huge", 200, ""), ("everything", 200, ""),
        ]:
            with self.subTest(lie):
                name = "lies-" + lie
                self.host.deploy(name, {"lie": lie})
                status_got, answer = self.host.chat(name, "hello")
                self.assertEqual(status_got, status, answer)
                if status != 200:
                    self.assertIn(words, answer["error"]["message"])
                    self.assertIn(name, answer["error"]["message"])
        # Vectors of four thousand million numbers.
        status, answer = self.host.ask("/v1/embeddings", {"model": "lies-huge", "input": "x"})
        self.assertEqual(status, 500, answer)

    def test_nothing_is_left(self):
        self.host.deploy("often", limits={"step_ms": 300})
        self.assertEqual(self.host.chat("often", "first")[0], 200)

        def round():
            for act in ("!crash-step", "!token-high"):
                wait_for(lambda: self.host.chat("often", "fine")[0] == 200, "its back-off is over", 90)
                self.host.chat("often", act)

        round()
        wait_for(lambda: self.host.chat("often", "fine")[0] == 200, "its back-off is over", 90)
        memory, descriptors, processes = self.host.memory(), self.host.descriptors(), len(zygote_processes(self.host.process.pid))
        round()
        wait_for(lambda: self.host.chat("often", "fine")[0] == 200, "its back-off is over", 90)
        self.assertLess(self.host.memory(), memory + 8192)
        wait_for(lambda: self.host.descriptors() <= descriptors + 2, "descriptors are given back")
        wait_for(lambda: len(zygote_processes(self.host.process.pid)) <= processes + 1, "processes are gone")


class OneCore(unittest.TestCase):
    """A model that hangs on the only core: whoever waits for the core goes on before the hung one is ended."""

    def test_a_neighbour_of_one_that_hangs_is_served_within_seconds(self):
        core = min(os.sched_getaffinity(0))
        host = HostWithModels(preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        try:
            host.deploy("hung", limits={"step_ms": 20_000})
            host.deploy("neighbour")
            for name in ("hung", "neighbour"):
                self.assertEqual(host.chat(name, "first")[0], 200)
            answers = []
            caller = threading.Thread(target=lambda: answers.append(host.chat("hung", "!hang-step")))
            caller.start()
            time.sleep(0.5)
            begun = time.time()
            self.assertEqual(host.chat("neighbour", "hello", tenant="neighbour")[0], 200)
            self.assertLess(time.time() - begun, 10)
            self.assertEqual(answers, [], "the other one hangs on")
            begun = time.time()
            for _ in range(5):
                self.assertEqual(host.chat("neighbour", "hello", tenant="neighbour")[0], 200)
            self.assertLess(time.time() - begun, 5, "and nobody waits for it any more")
            caller.join()
            self.assertEqual(answers[0][0], 500)
        finally:
            host.stop()


if __name__ == "__main__":
    unittest.main(verbosity=1)
