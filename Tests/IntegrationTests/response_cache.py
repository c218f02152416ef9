"""Answers that are given again: to the same tenant, to the same request, for a while, and only when they are asked for. Usage: response_cache.py PREFIX"""
import http.client
import json
import os
import shutil
import subprocess
import time
import unittest

from clients import CLIENTS
from metrics import deploy
from run import PREFIX, Host, wait_for

OPENAI = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0, default_headers={"x-swiftlet-cache": "on"})
ask = lambda **more: client.chat.completions.with_raw_response.create(
    model="plain", messages=[{"role": "user", "content": "by openai-python"}], temperature=0, **more)
first, second = ask(), ask()
assert (first.headers["x-swiftlet-cache"], second.headers["x-swiftlet-cache"]) == ("miss", "hit")
assert first.parse().choices == second.parse().choices and first.parse().usage == second.parse().usage
assert first.parse().id != second.parse().id
streamed = ask(stream=True, stream_options={"include_usage": True})
assert streamed.headers["x-swiftlet-cache"] == "hit", streamed.headers
chunks = list(streamed.parse())
assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "by openai-python", chunks
assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].usage == first.parse().usage
assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
"""


class ResponseCache(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host("--response-cache-ttl", "3")
        for name in ("plain", "changes", "second"):
            deploy(cls.host, name)
        deploy(cls.host, "slow", {"step_us": 20_000})

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def ask(self, text, model="plain", tenant="acme", cache="on", control=None, path="/v1/chat/completions", host=None, **fields):
        """The word of the cache, the body, and all headers."""
        body = {"model": model, "temperature": 0, **({"messages": [{"role": "user", "content": text}]} if "chat" in path else {}), **fields}
        headers = {"x-swiftlet-tenant": tenant, **({"x-swiftlet-cache": cache} if cache else {}), **({"cache-control": control} if control else {})}
        status, answer, headers = (host or self.host).request("POST", path, json.dumps(body), headers)
        return headers.get("x-swiftlet-cache", status), answer if fields.get("stream") else json.loads(answer), headers

    def counted(self, name, model="plain"):
        line = next(l for l in self.host.request("GET", "/metrics")[1].decode().splitlines() if l.startswith(f'swiftlet_model_{name}{{model="{model}"}}'))
        return float(line.split()[1])

    def test_the_same_again_costs_nothing(self):
        word, first, _ = self.ask("once more")
        self.assertEqual(word, "miss")
        before = [self.counted(n) for n in ("steps_total", "prompt_tokens_total", "response_cache_hits_total", "requests_total")]
        word, second, headers = self.ask("once more")
        self.assertEqual((word, headers["age"]), ("hit", "0"))
        self.assertEqual((second["choices"], second["usage"]), (first["choices"], first["usage"]))
        after = [self.counted(n) for n in ("steps_total", "prompt_tokens_total", "response_cache_hits_total", "requests_total")]
        self.assertEqual(after, [before[0], before[1], before[2] + 1, before[3] + 1])

    def test_nobody_gets_it_unasked(self):
        self.assertEqual(self.ask("unasked")[0], "miss")
        for cache in (None, "off"):
            word, _, headers = self.ask("unasked", cache=cache)
            self.assertEqual(word, 200)
            self.assertNotIn("age", headers)
        status, body, _ = self.ask("unasked", cache="yes")
        self.assertEqual((status, body["error"]["code"]), (400, "invalid_value"))

    def test_another_tenant_never_hits(self):
        self.assertEqual(self.ask("a secret of acme")[0], "miss")
        self.assertEqual(self.ask("a secret of acme")[0], "hit")
        for tenant in ("other", "acme2", "acm", "public"):
            self.assertEqual(self.ask("a secret of acme", tenant=tenant)[0], "miss", tenant)

    def test_another_request_never_hits(self):
        self.assertEqual(self.ask("some words")[0], "miss")
        for fields in ({"max_tokens": 3}, {"stop": "w"}, {"top_p": 0.5}, {"logprobs": True}, {"seed": 3}):
            self.assertEqual(self.ask("some words", **fields)[0], "miss", fields)
        self.assertEqual(self.ask("some words ")[0], "miss")
        self.assertEqual(self.ask("some words", model="second")[0], "miss")
        self.assertEqual(self.ask("some words", user="who", service_tier="flex")[0], "hit")

    def test_what_may_come_out_otherwise_is_not_kept(self):
        for fields in ({"temperature": 0.7}, {"n": 2}):
            for _ in range(2):
                self.assertEqual(self.ask("by chance", **fields)[0], "bypass", fields)
        for expected in ("miss", "hit"):
            self.assertEqual(self.ask("by a seed", temperature=0.7, seed=5)[0], expected)

    def test_streams_and_logprobs(self):
        for expected in ("miss", "hit"):
            word, body, headers = self.ask("in a stream", stream=True)
            self.assertEqual((word, headers["content-type"]), (expected, "text/event-stream"))
            self.assertTrue(body.endswith(b"data: [DONE]\n\n"))
            chunks = [json.loads(line[6:]) for line in body.split(b"\n\n")[:-2]]
            self.assertEqual("".join(c["choices"][0]["delta"].get("content") or "" for c in chunks), "in a stream")
        self.assertEqual(self.ask("in a stream")[1]["choices"][0]["message"]["content"], "in a stream")
        first, second = self.ask("x y", logprobs=True, top_logprobs=2), self.ask("x y", logprobs=True, top_logprobs=2)
        self.assertEqual((second[0], second[1]["choices"]), ("hit", first[1]["choices"]))
        for expected in ("miss", "hit"):
            word, body, _ = self.ask("", path="/v1/completions", prompt="abcdef", max_tokens=4)
            self.assertEqual((word, body["choices"][0]["finish_reason"]), (expected, "length"))

    def test_openai_python(self):
        done = subprocess.run([CLIENTS, "-c", OPENAI, self.host.url], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_age(self):
        self.assertEqual(self.ask("ages")[0], "miss")
        time.sleep(1.1)
        self.assertEqual(self.ask("ages", control="max-age=0")[0], "miss")
        self.assertEqual(self.ask("grows old")[0], "miss")
        time.sleep(1.1)
        word, _, headers = self.ask("grows old", control="max-age=60")
        self.assertEqual((word, headers["age"]), ("hit", "1"))
        self.assertEqual(self.ask("grows old", control="max-age=2, no-transform")[0], "hit")
        time.sleep(2.2)
        self.assertEqual(self.ask("grows old")[0], "miss", "three seconds are over")
        self.assertEqual(self.ask("grows old", control="no-cache")[0], "miss")
        self.assertEqual(self.ask("grows old")[0], "hit", "no-cache keeps the new answer")
        self.assertEqual(self.ask("grows old", control="no-store")[0], 200)
        self.assertEqual(self.ask("grows old", control="max-age=-1")[0], 400)

    def test_a_new_version_answers_itself(self):
        self.assertEqual(self.ask("versions", model="changes")[0], "miss")
        self.assertEqual(self.ask("versions", model="changes")[0], "hit")
        folder = self.host.work / "deploy-changes"
        manifest = json.loads((folder / "swiftlet.json5").read_text())
        (folder / "swiftlet.json5").write_text(json.dumps({**manifest, "version": "2.0.0"}))
        self.host.cli("deploy", str(folder))
        self.assertEqual(self.ask("versions", model="changes")[0], "miss")
        self.host.cli("rm", "changes", "--tenant", "platform")
        self.assertEqual(self.ask("versions", model="changes")[0], 404)

    def test_half_an_answer_is_none(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
        body = {"model": "slow", "temperature": 0, "stream": True, "messages": [{"role": "user", "content": "left early " * 10}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"x-swiftlet-tenant": "acme", "x-swiftlet-cache": "on"})
        answer = connection.getresponse()
        self.assertEqual(answer.getheader("x-swiftlet-cache"), "miss")
        answer.read(1500)
        answer.close()
        connection.close()
        wait_for(lambda: self.counted("cancelled_requests_total", "slow") == 1, "it is cancelled")
        self.assertEqual(self.ask("left early " * 10, model="slow")[0], "miss")

    def test_a_hit_wakes_no_model(self):
        folder = self.host.work / "brief"
        folder.mkdir()
        shutil.copy(PREFIX / "plugins/echo/EchoBackend.so", folder)
        (folder / "swiftlet.json5").write_text(json.dumps({
            "name": "brief", "kind": "backend", "version": "1.0.0", "library": "EchoBackend.so", "keep_alive_s": 1, "limits": {"memory_mb": 64}}))
        self.host.cli("deploy", str(folder))
        self.assertEqual(self.ask("asleep", model="brief")[0], "miss")
        loaded = lambda: self.counted("loaded", "brief")
        wait_for(lambda: loaded() == 0, "it sleeps")
        self.assertEqual(self.ask("asleep", model="brief")[0], "hit")
        self.assertEqual((loaded(), self.counted("loads_total", "brief")), (0, 1))


class OtherRoutes(unittest.TestCase):
    def test_embeddings_and_rerank(self):
        host = Host()
        try:
            host.cli("deploy", str(PREFIX / "plugins/minilm"))
            ask = lambda **more: ResponseCache.ask(None, "", model="minilm", host=host, **more)
            answers = [ask(path="/v1/embeddings", input=["a", "b"], encoding_format=form)[:2] for form in ("float", "float", "base64")]
            self.assertEqual([word for word, _ in answers], ["miss", "hit", "hit"])
            self.assertEqual(answers[0][1], answers[1][1])
            self.assertEqual(ask(path="/v1/embeddings", input=["ab"])[0], "miss")
            self.assertEqual(ask(path="/v1/embeddings", input=["a", "b"], tenant="other")[0], "miss")
            ranks = [ask(path="/v1/rerank", query="cats", documents=["a cat", "a car"])[:2] for _ in range(2)]
            self.assertEqual([word for word, _ in ranks], ["miss", "hit"])
            self.assertEqual(ranks[0][1]["results"], ranks[1][1]["results"])
            self.assertEqual(ask(path="/tokenize", content="a")[0], "bypass")
        finally:
            host.stop()


class Admission(unittest.TestCase):
    def host_with(self, tenants, *extra):
        from run import make_work
        work = make_work()
        (work / "tenants.json5").write_text(tenants)
        host = Host("--tenants", str(work / "tenants.json5"), *extra, work=work)
        deploy(host, "plain")
        return host

    def test_who_may_ask_nothing_more_gets_nothing_more(self):
        import signal
        host = self.host_with("{ acme: { tokens_total: 100 } }")
        try:
            ask = lambda text, **more: ResponseCache.ask(None, text, host=host, **more)
            word, body, _ = ask("hello")
            self.assertEqual(word, "miss")
            left = ask("hello")[2]["x-ratelimit-remaining-tokens"]
            self.assertEqual(ask("hello")[2]["x-ratelimit-remaining-tokens"], left, "a hit takes no tokens")
            # A prompt that leaves five tokens for an answer that is as long as itself.
            long = "x" * (int(left) - (body["usage"]["prompt_tokens"] - len("hello")) - 5)
            word, body, _ = ask(long, max_tokens=500)
            self.assertEqual((word, body["choices"][0]["finish_reason"]), ("miss", "length"))
            self.assertEqual(ask("hello")[0], 429)
            # More is granted: the old answer is there, the one that a quota cut was not kept.
            (host.work / "tenants.json5").write_text("{ acme: { tokens_total: 5000 } }")
            host.process.send_signal(signal.SIGHUP)
            wait_for(lambda: ask("hello")[0] == "hit", "the new limit holds")
            self.assertEqual(ask(long, max_tokens=500)[0], "miss")
            # The tenant is gone, and what was kept for it.
            (host.work / "tenants.json5").write_text("{ }")
            host.process.send_signal(signal.SIGHUP)
            wait_for(lambda: ask("hello")[0] == "miss", "its answers are gone")
        finally:
            host.stop()

    def test_it_can_be_switched_off(self):
        host = self.host_with("{ }", "--response-cache-mb", "0")
        try:
            for _ in range(2):
                self.assertEqual(ResponseCache.ask(None, "hello", host=host)[0], "bypass")
        finally:
            host.stop()

    def test_memory_is_bounded(self):
        host = self.host_with("{ }", "--response-cache-mb", "1")
        try:
            rss = lambda: int(next(l for l in open(f"/proc/{host.process.pid}/status") if l.startswith("VmRSS")).split()[1])
            ask = lambda n: ResponseCache.ask(None, f"{n}", host=host, tenant=f"t{n % 7}", max_tokens=4)[0]
            for n in range(300):
                ask(n)
            before = rss()
            for n in range(300, 2700):
                self.assertEqual(ask(n), "miss")
            self.assertLess(rss() - before, 8_000, "KiB")
            self.assertEqual([ask(n) for n in (2699, 2500, 0, 100)], ["hit", "hit", "miss", "miss"])
        finally:
            host.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
