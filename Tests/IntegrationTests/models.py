"""Real backend workers behind the OpenAI routes: batches, cancellation, crashes, idle unload. Usage: models.py PREFIX"""
import contextlib
import json
import os
import pty
import signal
import subprocess
import threading
import time
import unittest

from clients import CLIENTS, Chats
from run import PREFIX, SWIFTLET, Host, wait_for

ECHO = PREFIX / "plugins/echo"
OPENAI = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
assert "plain" in [model.id for model in client.models.list()]
messages = [{"role": "user", "content": "caf\u00e9 au lait"}]
whole = client.chat.completions.create(model="plain", messages=messages, temperature=0, logprobs=True, top_logprobs=2)
assert whole.choices[0].message.content == "caf\u00e9 au lait" and whole.choices[0].finish_reason == "stop", whole
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens > 0
assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 2, whole
chunks = list(client.chat.completions.create(
    model="plain", messages=messages, temperature=0, stream=True, stream_options={"include_usage": True}))
assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "caf\u00e9 au lait"
assert chunks[0].choices[0].delta.role == "assistant", chunks
assert chunks[-1].usage.total_tokens == whole.usage.total_tokens, (chunks[-1].usage, whole.usage)
# All but the last token, behind which the answer begins: nobody asked before.
assert whole.usage.prompt_tokens_details.cached_tokens == 0, whole.usage
assert chunks[-1].usage.prompt_tokens_details.cached_tokens == whole.usage.prompt_tokens - 1, chunks[-1].usage
text = client.completions.create(model="plain", prompt="abcdef", max_tokens=4, temperature=0, logprobs=1)
assert text.choices[0].finish_reason == "length" and len(text.choices[0].logprobs.tokens) == 4, text
for error, fields in [(openai.BadRequestError, {"temperature": 9}), (openai.NotFoundError, {"model": "nobody"})]:
    try:
        client.chat.completions.create(**{"model": "plain", "messages": messages, **fields})
    except error as refused:
        assert refused.code in ("invalid_value", "model_not_found") and refused.request_id, refused
    else:
        raise AssertionError(fields)
"""


class Models(Chats, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        cls.deploy("plain")
        cls.deploy("slow", config={"step_us": 20_000})
        cls.deploy("fails", config={"fail_at": 4, "step_us": 20_000})
        cls.deploy("crashes", config={"crash_at": 3})
        cls.deploy("brief", keep_alive_s=1)
        cls.deploy("victim", config={"step_us": 20_000})

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    @classmethod
    def deploy(cls, name, **manifest):
        folder = cls.host.work / name
        folder.mkdir()
        (folder / "EchoBackend.so").write_bytes((ECHO / "EchoBackend.so").read_bytes())
        fields = {
            "name": name, "kind": "backend", "version": "1.0.0", "library": "EchoBackend.so", "context_tokens": 4096,
            "limits": {"memory_mb": 64, "threads": 1}, "max_sequences": 8, "max_step_tokens": 128, **manifest}
        (folder / "swiftlet.json5").write_text(json.dumps(fields))
        cls.host.cli("deploy", str(folder))

    def test_many_callers_load_once_and_get_their_own_answers(self):
        texts = [f"caller {number} says " + "x" * (number * 7) for number in range(24)]
        answers = {}

        def call(text):
            answers[text] = self.ask("plain", text)

        threads = [threading.Thread(target=call, args=(text,)) for text in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for text in texts:
            status, answer, _ = answers[text]
            self.assertEqual(status, 200, answer)
            self.assertEqual(answer["choices"][0]["message"]["content"], text)
            self.assertEqual(answer["choices"][0]["finish_reason"], "stop")
        self.assertEqual(len(self.workers("plain")), 1)

    def test_text_of_many_bytes_a_character_arrives_whole(self):
        text = "né €uro 😀 漢字 🏳️‍🌈 end"
        self.assertEqual(self.ask("plain", text)[1]["choices"][0]["message"]["content"], text)
        connection, answer = self.stream("plain", text)
        chunks = [json.loads(line[6:]) for line in answer.read().split(b"\n\n") if line.startswith(b"data: {")]
        connection.close()
        self.assertEqual("".join(c["choices"][0]["delta"].get("content", "") for c in chunks), text)

    def test_openai_python_works_unmodified(self):
        done = subprocess.run(
            [CLIENTS, "-c", OPENAI, self.host.url], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_stop_strings_and_limits_end_an_answer(self):
        _, answer, _ = self.ask("plain", "one two three four", stop=["three", "nowhere"])
        self.assertEqual(answer["choices"][0]["message"]["content"], "one two ")
        self.assertEqual(answer["choices"][0]["finish_reason"], "stop")
        _, answer, _ = self.ask("plain", "one two three four", max_tokens=3)
        self.assertEqual(answer["choices"][0]["finish_reason"], "length")
        self.assertEqual(answer["usage"]["completion_tokens"], 3)

    def test_what_cannot_be_served_is_refused_by_name(self):
        for fields, param, code in [
            ({"max_tokens": 100_000}, "messages", "context_length_exceeded"),
            ({"temperature": 9}, "temperature", "invalid_value"),
            ({"logit_bias": {"7": 1}}, "logit_bias", "unsupported_parameter"),
            ({"response_format": {"type": "json_object"}}, "model", "unsupported_value"),
        ]:
            status, answer, _ = self.ask("plain", **fields)
            self.assertEqual((status, answer["error"]["param"], answer["error"]["code"]), (400, param, code))
        status, answer, _ = self.ask("nobody")
        self.assertEqual((status, answer["error"]["code"]), (404, "model_not_found"))

    def test_a_caller_who_leaves_frees_the_place(self):
        # Eight places; nine long answers. The ninth starts only because others left.
        connections = [self.stream("slow", "x" * 200) for _ in range(8)]
        for _, answer in connections:
            self.assertEqual(answer.status, 200)
        begun = time.time()
        for connection, answer in connections:
            answer.close()
            connection.close()
        status, answer, _ = self.ask("slow", "hi")
        self.assertEqual((status, answer["choices"][0]["message"]["content"]), (200, "hi"))
        self.assertLess(time.time() - begun, 3)

    def test_a_failed_step_fails_only_its_own_requests(self):
        status, answer, _ = self.ask("fails", "x" * 50)
        self.assertEqual((status, answer["error"]["code"]), (500, "model_failed"))
        self.assertIn("step", answer["error"]["message"])
        self.assertEqual(self.ask("fails", "again")[0], 200)

    def test_a_crash_is_named_and_the_next_request_loads_again(self):
        status, answer, _ = self.ask("crashes", "x" * 50)
        self.assertEqual((status, answer["error"]["code"]), (500, "model_failed"))
        self.assertIn("SIGABRT", answer["error"]["message"])
        for _ in range(3):
            status, answer, headers = self.ask("crashes", "x" * 50)
        # It keeps dying: no storm of loads, and the client is told when to come back.
        self.assertEqual((status, answer["error"]["code"]), (503, "model_unavailable"))
        self.assertGreater(int(headers["retry-after-ms"]), 0)
        self.assertEqual(self.ask("plain", "still here")[0], 200)

    def test_a_killed_worker_ends_its_stream_with_an_error(self):
        connection, answer = self.stream("victim", "x" * 300)
        self.assertTrue(answer.readline().startswith(b"data: {"))
        wait_for(lambda: self.workers("victim") and self.workers("victim")[0]["pid"], "the worker is known")
        os.kill(self.workers("victim")[0]["pid"], signal.SIGKILL)
        rest = answer.read()
        connection.close()
        self.assertIn(b'"code":"model_failed"', rest)
        self.assertNotIn(b"[DONE]", rest)
        self.assertEqual(self.ask("victim", "ok")[0], 200)

    def test_an_idle_model_is_unloaded_and_comes_back(self):
        self.assertEqual(self.ask("brief", "one")[0], 200)
        wait_for(lambda: not self.workers("brief"), "the idle model has no process")
        self.assertEqual(self.ask("brief", "two")[1]["choices"][0]["message"]["content"], "two")


class Uploads(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.addCleanup(self.host.stop)

    def test_a_long_one_says_how_far_it_is_to_a_terminal_only(self):
        leader, follower = pty.openpty()
        self.addCleanup(os.close, leader)
        words = [SWIFTLET, "deploy", PREFIX / "plugins/smollm2"]
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=follower, env=self.host.cli_environment(), text=True, timeout=120)
        os.close(follower)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: nobody holds the other end any more
            while part := os.read(leader, 65536):
                shown += part
        self.assertEqual(done.returncode, 0, shown)
        self.assertNotIn("MiB", done.stdout)
        self.assertRegex(shown, rb"\r\x1b\[K\d+ of \d+ MiB sent")
        self.assertTrue(shown.endswith(b"\r\x1b[K"), shown)
        self.assertEqual(self.host.cli("deploy", PREFIX / "plugins/smollm2").stderr, "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
