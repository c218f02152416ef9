"""The life of models in a real host: versions, memory, replicas, incidents, what wakes them. Usage: lifecycle.py PREFIX"""
import hashlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
import unittest

from clients import CLIENTS, Chats
from models import ECHO
from run import PREFIX, Host, wait_for

SMOLLM = PREFIX / "plugins/smollm2"


class Lives(Chats, unittest.TestCase):
    """A host, and what to ask of it."""
    OPTIONS = ()

    def setUp(self):
        self.host = Host(*self.OPTIONS)
        self.addCleanup(self.end)

    def end(self):
        self.host.stop()

    def restart(self):
        self.host.end()
        self.host = Host(*self.OPTIONS, work=self.host.work)

    def deploy(self, name, version="1.0.0", source=ECHO, **manifest):
        folder = self.host.work / f"{name}-{version}-{time.monotonic_ns()}"
        folder.mkdir()
        for file in source.iterdir():
            if file.name != "swiftlet.json5":
                os.link(file, folder / file.name) if os.stat(file).st_dev == os.stat(folder).st_dev else shutil.copy(file, folder)
        fields = {
            "name": name, "kind": "backend", "version": version, "library": "EchoBackend.so", "context_tokens": 4096,
            "limits": {"memory_mb": 64, "threads": 1}, "max_sequences": 8, "max_step_tokens": 128, **manifest}
        (folder / "swiftlet.json5").write_text(json.dumps(fields))
        self.host.cli("deploy", str(folder))
        return folder

    def version(self, reference):
        name, alias = reference.split("@")
        rows = json.loads(self.host.cli("models", "--json").stdout)["models"]
        return next((r for r in rows if r["name"] == name and (alias in r["aliases"] or r["version"] == alias)), None)

    def metric(self, name):
        text = self.host.request("GET", "/metrics")[1].decode()
        return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)[1])


class Versions(Lives):
    def test_a_new_version_takes_over_and_no_stream_is_cut(self):
        real = dict(source=SMOLLM, library="LlamaBackend.so", model="SmolLM2-135M-Instruct.Q4_0.gguf", context_tokens=2048,
                    limits={"memory_mb": 1024, "threads": 1}, keep_alive_s=60)
        self.deploy("smol", "1.0.0", **real)
        story = "Tell me a long story about a lighthouse."
        self.assertEqual(self.ask("smol", "Hi", max_tokens=2)[0], 200)
        whole = self.ask("smol", story, max_tokens=160)[1]["choices"][0]
        old = [w["pid"] for w in self.workers("smol")]
        connection, answer = self.stream("smol", story, max_tokens=160)
        self.assertTrue(answer.readline().startswith(b"data: {"))
        self.deploy("smol", "1.1.0", **real)
        self.assertEqual(self.ask("smol", "Hi", max_tokens=2)[0], 200)
        during = [w["pid"] for w in self.workers("smol")]
        running = self.version("smol@1.0.0")["running"]
        rest = answer.read()
        connection.close()
        # The new one answered while the old one still did.
        self.assertEqual((len(old), len(during), running), (1, 2, 1))
        self.assertTrue(rest.endswith(b"data: [DONE]\n\n"), rest[-200:])
        chunks = [json.loads(line[6:]) for line in rest.split(b"\n\n") if line.startswith(b"data: {")]
        text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
        self.assertTrue(text and whole["message"]["content"].endswith(text), (text, whole))
        wait_for(lambda: [w["pid"] for w in self.workers("smol")] == [p for p in during if p not in old],
                 "the old worker is gone, and the new one is not")

    def test_names_of_versions(self):
        for count, version in enumerate(["1.0.0", "1.1.0", "2.0.0"], start=3):
            self.deploy("m", version, config={"tokens": count})
            if version == "1.0.0":
                self.host.cli("alias", "m", "stable", "1.0.0")

        def tokens(reference):
            status, answer, _ = self.ask(reference)
            return answer["usage"]["completion_tokens"] if status == 200 else answer["error"]["code"]

        digest = self.version("m@stable")["digest"]
        for reference, expected in [
            ("m", 5), ("m@latest", 5), ("m@previous", 4), ("m@1.1.0", 4), ("m@stable", 3), ("m@1.0.0", 3),
            (f"m@{digest[:12]}", 3), (f"m@{digest[:5]}", "model_not_found"), ("m@3", "model_not_found"),
            ("m@", "model_not_found"), ("@latest", "model_not_found"),
        ]:
            self.assertEqual(tokens(reference), expected, reference)
        # Back to the version before, and from there to one by its digest.
        self.assertIn("1.1.0", self.host.cli("alias", "m", "latest", "previous").stdout)
        self.assertEqual((tokens("m"), tokens("m@previous"), tokens("m@2.0.0")), (4, 5, 5))
        self.host.cli("alias", "m", "latest", digest[:12])
        # 2.0.0 has no name any more.
        self.assertEqual((tokens("m"), tokens("m@previous"), tokens("m@2.0.0")), (3, 4, "model_not_found"))
        for words, cause in [
            (("m", "latest", "9"), "no version"), (("m", "previous", "1.0.0"), "keeps this alias"), (("m", "B!", "1.0.0"), "B!"),
            (("nobody", "a", "latest"), "no version"), (("m", "nothing", "--remove"), "no version"),
            (("m", "latest", "--remove"), "keeps this alias"),
        ]:
            refused = self.host.cli("alias", *words, check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn(cause, refused.stderr)
        # All of it is there after a restart.
        self.restart()
        self.assertEqual((tokens("m"), tokens("m@previous"), tokens("m@stable")), (3, 4, 3))
        self.host.cli("alias", "m", "stable", "--remove")
        self.assertEqual((tokens("m@stable"), tokens("m@1.0.0")), ("model_not_found", 3))
        self.host.cli("rm", "m", "--tenant", "platform")
        self.assertEqual((tokens("m"), tokens("m@previous")), ("model_not_found",) * 2)

    def test_a_file_that_was_changed_is_not_loaded(self):
        folder = self.deploy("m", keep_alive_s=0)
        row = self.version("m@latest")
        files = {f["name"]: f for f in row["files"]}
        content = (folder / "EchoBackend.so").read_bytes()
        self.assertEqual(files["EchoBackend.so"]["sha256"], hashlib.sha256(content).hexdigest())
        stored = self.host.work / "state/artefacts/platform" / row["digest"] / "EchoBackend.so"
        self.assertEqual(self.ask("m")[0], 200)
        wait_for(lambda: not self.workers("m"), "the model is unloaded")
        stored.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        status, answer, headers = self.ask("m")
        self.assertEqual((status, answer["error"]["code"]), (503, "model_unavailable"))
        self.assertIn("EchoBackend.so was changed after it was deployed", answer["error"]["message"])
        self.assertIn("retry-after", headers)
        # The same folder again mends it.
        self.host.cli("deploy", str(folder))
        self.assertEqual(self.ask("m")[0], 200)
        wait_for(lambda: not self.workers("m"), "the model is unloaded")
        # A copy with the same bytes is refused too, until a start has compared them.
        os.utime(stored, (1, 1))
        self.assertEqual(self.ask("m")[0], 503)
        self.restart()
        self.assertEqual(self.ask("m")[0], 200)


class Memory(Lives):
    OPTIONS = ("--models-memory-mb", "130")

    def test_the_model_used_longest_ago_goes_for_another(self):
        for name in "abc":
            self.deploy(name, keep_alive_s=300)
        for name in "aba":
            self.assertEqual(self.ask(name)[0], 200)
        self.assertEqual(self.metric("swiftlet_models_memory_reserved_bytes"), 128 << 20)
        self.assertEqual(self.ask("c")[0], 200)
        self.assertEqual([len(self.workers(name)) for name in "abc"], [1, 0, 1])
        self.assertEqual(self.metric("swiftlet_model_evictions_total"), 1)
        self.assertEqual(self.ask("b")[0], 200)
        self.assertEqual([len(self.workers(name)) for name in "abc"], [0, 1, 1])

    def test_a_busy_model_is_never_sent_away(self):
        for name in "ab":
            self.deploy(name, config={"step_us": 50_000, "tokens": 60})
        self.deploy("c", load_timeout_s=1)
        self.deploy("d", load_timeout_s=30)
        with self.assertRaisesRegex(AssertionError, "it needs 256 MiB .*--models-memory-mb"):
            self.deploy("huge", limits={"memory_mb": 256, "threads": 1})
        streams = [self.stream(name) for name in "ab"]
        for _, answer in streams:
            self.assertTrue(answer.readline().startswith(b"data: {"))
        begun = time.time()
        status, answer, headers = self.ask("c")
        self.assertEqual((status, answer["error"]["code"]), (503, "model_unavailable"), answer)
        self.assertIn("no memory for it after 1000 ms", answer["error"]["message"])
        self.assertGreater(int(headers["retry-after"]), 0)
        self.assertLess(time.time() - begun, 3)
        # Who may wait longer gets its turn when one of them is done.
        waits, first = self.stream("d")
        self.assertEqual(first.status, 200)
        text = first.read()
        waits.close()
        self.assertIn(b": model d waits for memory", text)
        self.assertIn(b"data: [DONE]", text)
        for connection, answer in streams:
            self.assertTrue(answer.read().endswith(b"data: [DONE]\n\n"))
            connection.close()


class Replicas(Lives):
    def test_another_replica_comes_with_the_queue_and_goes(self):
        self.deploy("m", max_sequences=1, replicas={"max": 2}, keep_alive_s=1, config={"step_us": 30_000, "tokens": 100})
        answers = []

        def call(number):
            answers.append(self.ask("m", f"{number}")[0])

        threads = []
        for number in range(6):
            threads.append(threading.Thread(target=call, args=(number,)))
            threads[-1].start()
            time.sleep(0.5)
        wait_for(lambda: len(self.workers("m")) == 2, "a second replica")
        row = self.version("m@latest")
        for thread in threads:
            thread.join()
        self.assertEqual((answers, row["replicas"]["max"]), ([200] * 6, 2))
        wait_for(lambda: not self.workers("m"), "both are gone")

    def test_so_many_stay_loaded_and_come_back(self):
        self.deploy("m", replicas={"min": 2}, keep_alive_s=0)
        wait_for(lambda: self.version("m@latest")["replicas"]["loaded"] == 2, "two replicas without a request")
        self.assertEqual(self.ask("m")[0], 200)
        time.sleep(1)
        pids = [w["pid"] for w in self.workers("m")]
        self.assertEqual(len(pids), 2)
        os.kill(pids[0], 9)
        wait_for(lambda: len({w["pid"] for w in self.workers("m")} - {pids[0]}) == 2, "a new one in its place")
        # Only the latest version is kept loaded.
        self.deploy("m", "2.0.0", replicas={"min": 1}, keep_alive_s=0)
        wait_for(lambda: len(self.workers("m")) == 1 and self.version("m@2.0.0")["replicas"]["loaded"] == 1, "one")

    def test_a_tenants_conversation_stays_with_its_replica(self):
        self.deploy("m", replicas={"min": 2}, max_sequences=8, config={"step_us": 20_000})
        wait_for(lambda: self.version("m@latest")["replicas"]["loaded"] == 2, "two replicas")
        conversation = "one beginning, long enough to be kept as a prefix: " + "x" * 200

        def cached():
            return self.ask("m", conversation, max_tokens=2)[1]["usage"]["prompt_tokens_details"]["cached_tokens"]

        # While the first is busy the conversation begins in the second, and goes on there when both are idle.
        connection, answer = self.stream("m", "something else, said at some length")
        self.assertTrue(answer.readline().startswith(b"data: {"))
        self.assertEqual((cached(), self.version("m@latest")["running"]), (0, 1))
        answer.read()
        connection.close()
        again = [cached() for _ in range(3)]
        self.assertTrue(all(count > 200 for count in again), again)


class Loading(Lives):
    CLIENT = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
chunks = list(client.chat.completions.create(
    model="slow", messages=[{"role": "user", "content": "hello"}], temperature=0, stream=True))
assert "".join(c.choices[0].delta.content or "" for c in chunks) == "hello", chunks
"""

    def test_a_stream_says_that_its_model_is_being_loaded(self):
        self.deploy("slow", keep_alive_s=0, config={"open_us": 4_000_000})
        begun = time.time()
        connection, answer = self.stream("slow", "hello")
        self.assertLess(time.time() - begun, 3, "the head came before the model")
        self.assertEqual(answer.getheader("content-type"), "text/event-stream")
        self.assertRegex(answer.readline(), rb"^: loading model slow, 1 s, 1 waiting\n$")
        models = json.loads(self.host.request("GET", "/v1/models")[1])["data"]
        ours = next(m for m in models if m["id"] == "slow")["swiftlet"]
        self.assertEqual((ours["state"], ours["waiting"]), ("loading", 1))
        self.assertIn("loading", self.host.cli("models").stdout)
        lines = answer.read().split(b"\n\n")
        connection.close()
        self.assertGreaterEqual(sum(line.startswith(b": loading") for line in lines), 1)
        self.assertFalse(any(line.startswith(b":") for line in lines[lines.index(next(l for l in lines if l.startswith(b"data"))):]))
        # OpenAI's client skips them, and one that does not stream just waits.
        wait_for(lambda: not self.workers("slow"), "the model is unloaded")
        done = subprocess.run([CLIENTS, "-c", self.CLIENT, self.host.url], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        wait_for(lambda: not self.workers("slow"), "the model is unloaded")
        self.assertEqual(self.ask("slow", "hello")[1]["choices"][0]["message"]["content"], "hello")

    def test_a_load_that_fails_late_ends_the_stream_with_an_error(self):
        self.deploy("dies", config={"open_us": 2_500_000, "crash_open": 1})
        connection, answer = self.stream("dies")
        text = answer.read()
        connection.close()
        self.assertEqual(answer.status, 200)
        self.assertTrue(text.startswith(b": loading model dies"), text)
        self.assertIn(b'"code":"model_unavailable"', text)
        self.assertNotIn(b"[DONE]", text)


class Incidents(Lives):
    def incident(self, name, **config):
        self.deploy(name, config=config, replicas={"max": 4})
        codes = [self.ask(name)[1]["error"]["code"] for _ in range(30)]
        self.assertLessEqual(self.metric(f'swiftlet_model_crashes_total{{model="{name}"}}'), 4, "no storm of starts")
        self.assertEqual(self.metric(f'swiftlet_model_incident{{model="{name}"}}'), 1)
        self.assertEqual(self.metric(f'swiftlet_model_incidents_total{{model="{name}"}}'), 1)
        row = self.version(f"{name}@latest")
        self.assertGreaterEqual(row["incident"]["count"], 3)
        self.assertIn("SIGABRT", row["incident"]["cause"])
        self.assertIn(f"incident: {name} 1.0.0: its worker died", self.host.cli("models").stdout)
        lines = [json.loads(line) for line in (self.host.work / "host.log").read_text().split("\n") if '"incident"' in line]
        lines = [line for line in lines if line["model"] == name]
        self.assertEqual(len(lines), 1, lines)
        for field in ("version", "count", "cause", "next_try_ms"):
            self.assertTrue(lines[0][field], field)
        self.assertEqual(lines[0]["level"], "error")
        return codes

    def test_a_worker_that_dies_while_it_loads(self):
        codes = self.incident("opens", crash_open=1)
        self.assertEqual(set(codes), {"model_unavailable"})

    def test_a_worker_that_dies_in_a_step(self):
        codes = self.incident("steps", crash_at=1)
        self.assertEqual(set(codes), {"model_failed", "model_unavailable"})
        self.assertLessEqual(codes.count("model_failed"), 4)


class Sleep(Lives):
    def test_whoever_looks_at_a_model_does_not_keep_it_awake(self):
        self.deploy("m", keep_alive_s=2)
        self.assertEqual(self.ask("m")[0], 200)
        end = time.time() + 15
        loads = self.metric('swiftlet_model_loads_total{model="m"}')
        while self.workers("m") and time.time() < end:
            for path in ("/healthz", "/readyz", "/v1/models", "/metrics", "/v2", "/v2/health/live", "/v2/health/ready",
                         "/v2/models/m/ready", "/v2/models/m/stats", "/admin/v1/models", "/admin/v1/functions"):
                self.assertEqual(self.host.request("GET", path)[0], 200, path)
            time.sleep(0.02)
        self.assertLess(time.time(), end, "it was unloaded")
        for path in ("/v1/models", "/v2/models/m/ready", "/metrics"):
            self.assertEqual(self.host.request("GET", path)[0], 200)
        time.sleep(0.5)
        self.assertFalse(self.workers("m"), "nor does it wake it")
        self.assertEqual(self.metric('swiftlet_model_loads_total{model="m"}'), loads)


if __name__ == "__main__":
    unittest.main(verbosity=2)
