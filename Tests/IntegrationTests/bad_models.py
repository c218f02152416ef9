"""Whatever is sent to a model's routes: a clear 4xx in the route's own shape and in time, while a neighbour's stream goes on. Usage: bad_models.py PREFIX"""
import http.client
import json
import threading
import time
import unittest

from metrics import deploy
from run import PREFIX, Host

# Milliseconds are promised elsewhere; this says that nothing hangs, on a machine that does other things as well.
SOON = 5
CHAT = {"model": "plain", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
ROUTES = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "plain", "prompt": "hi", "max_tokens": 2},
    "/v1/embeddings": {"model": "minilm", "input": "hi"},
    "/v1/rerank": {"model": "minilm", "query": "hi", "documents": ["a", "b"]},
    "/tokenize": {"model": "plain", "content": "hi"},
}
# Fields that each route reads, and the kinds of JSON values that are right for them; `null` is always as good as nothing.
NUMBER, TEXT, TRUTH, LIST, OBJECT = "number", "text", "truth", "list", "object"
FIELDS = {
    "/v1/chat/completions": {
        "model": [TEXT], "messages": [LIST], "stream": [TRUTH], "stream_options": [OBJECT], "max_tokens": [NUMBER],
        "max_completion_tokens": [NUMBER], "temperature": [NUMBER], "top_p": [NUMBER], "top_k": [NUMBER], "min_p": [NUMBER], "seed": [NUMBER],
        "stop": [TEXT, LIST], "frequency_penalty": [NUMBER], "presence_penalty": [NUMBER], "repeat_penalty": [NUMBER],
        "repetition_penalty": [NUMBER], "logprobs": [TRUTH], "top_logprobs": [NUMBER], "n": [NUMBER], "service_tier": [TEXT], "user": [TEXT],
        "response_format": [OBJECT], "tools": [LIST], "tool_choice": [TEXT, OBJECT], "parallel_tool_calls": [TRUTH], "modalities": [LIST]},
    "/v1/completions": {"model": [TEXT], "prompt": [TEXT, LIST], "max_tokens": [NUMBER], "logprobs": [NUMBER], "echo": [TRUTH], "best_of": [NUMBER]},
    "/v1/embeddings": {"model": [TEXT], "input": [TEXT, LIST], "encoding_format": [TEXT], "dimensions": [NUMBER], "user": [TEXT]},
    "/v1/rerank": {"model": [TEXT], "query": [TEXT], "documents": [LIST], "top_n": [NUMBER], "return_documents": [TRUTH]},
    "/tokenize": {"model": [TEXT], "content": [TEXT], "add_special": [TRUTH]},
}
WRONG = {NUMBER: 1.5, TEXT: "\u0000strange", TRUTH: True, LIST: [{"a": [1]}], OBJECT: {"a": {"b": 1}}}


class Neighbour(threading.Thread):
    """Streams all the while, and notes the longest wait for a piece."""

    def __init__(self, host):
        super().__init__(daemon=True)
        self.host, self.over, self.longest, self.pieces, self.failure = host, threading.Event(), 0, 0, None

    def run(self):
        try:
            while not self.over.is_set():
                connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
                body = {"model": "plain", "stream": True, "messages": [{"role": "user", "content": "all the while " * 20}]}
                connection.request("POST", "/v1/chat/completions", json.dumps(body), {"x-swiftlet-tenant": "neighbour"})
                answer = connection.getresponse()
                assert answer.status == 200, answer.read()
                last, tail = time.monotonic(), b""
                while piece := answer.read1(65536):
                    now = time.monotonic()
                    self.longest, last, self.pieces, tail = max(self.longest, now - last), now, self.pieces + 1, (tail + piece)[-64:]
                assert b"[DONE]" in tail, tail
                connection.close()
        except Exception as error:
            self.failure = error


class BadModels(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        deploy(cls.host, "plain", {"step_us": 2_000})
        for plugin in ("minilm", "magika", "smollm2"):
            cls.host.cli("deploy", str(PREFIX / "plugins" / plugin))
        for path, body in ROUTES.items():
            assert cls.host.request("POST", path, json.dumps(body))[0] == 200, path
        cls.neighbour = Neighbour(cls.host)
        cls.neighbour.start()
        cls.before = cls.rss()

    @classmethod
    def tearDownClass(cls):
        cls.neighbour.over.set()
        cls.neighbour.join(60)
        code, log = cls.host.stop()
        assert cls.neighbour.failure is None, cls.neighbour.failure
        assert cls.neighbour.pieces > 100, cls.neighbour.pieces
        assert cls.neighbour.longest < SOON, cls.neighbour.longest
        assert code == 0 and "unexpectedly" not in log, log

    @classmethod
    def rss(cls):
        """KiB of the host."""
        return int(next(line for line in open(f"/proc/{cls.host.process.pid}/status") if line.startswith("VmRSS")).split()[1])

    def tearDown(self):
        # Bodies of 8 MiB, parsers that grew for them on each loop, and nothing that piles up.
        self.assertLess(self.rss() - self.before, 300_000, "KiB more than before")
        self.assertIsNone(self.neighbour.failure)

    def send(self, path, body, headers={}):
        body = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
        try:
            connection.request("POST", path, body, {"x-swiftlet-tenant": "bad", **headers})
        except (BrokenPipeError, ConnectionResetError):
            # Refused by its announced length: the answer is there already.
            pass
        answer = connection.getresponse()
        status, answer = answer.status, answer.read()
        connection.close()
        self.assertLess(time.monotonic() - began, SOON, (path, body[:200]))
        return status, answer

    def refused(self, path, body, status=400, code=None, param=None):
        """The error of a request that must be refused."""
        found, answer = self.send(path, body)
        text = body[:300] if isinstance(body, (str, bytes)) else str(body)[:300]
        self.assertEqual(found, status, (path, text, answer[:300]))
        error = json.loads(answer)["error"]
        if path.startswith("/v2"):
            self.assertIsInstance(error, str)
        else:
            self.assertEqual(set(error), {"message", "type", "param", "code"}, (path, text))
            self.assertEqual(error["type"], "invalid_request_error", (path, text))
            self.assertLess(len(error["message"]), 1000, "what was sent is not sent back")
        if code:
            self.assertEqual(error["code"], code, (path, text, error))
        if param:
            self.assertEqual(error["param"], param, (path, text, error))
        return error

    def test_unknown_models(self):
        for path, body in ROUTES.items():
            for name in ("nobody", "", "../plain", "plain\u0000", "PLAIN", "x" * 256):
                self.refused(path, {**body, "model": name}, 404, "model_not_found", "model")
            self.refused(path, {**body, "model": "x" * 100_000}, 400, "invalid_value", "model")
        for path in ("/v2/models/nobody/infer", "/v2/models/" + "x" * 2000 + "/infer"):
            self.refused(path, {"inputs": []}, 404)
        self.refused("/v2/models/magika/versions/9/infer", {"inputs": []}, 404)

    def test_models_of_another_kind(self):
        self.refused("/v1/chat/completions", {**CHAT, "model": "minilm"}, code="unsupported_value")
        self.refused("/v1/chat/completions", {**CHAT, "model": "magika"}, code="unsupported_value")
        self.refused("/v1/embeddings", {"model": "plain", "input": [[70000]]}, code=None)
        self.refused("/v2/models/plain/infer", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]})

    def test_prompts_that_are_too_long(self):
        for text in (" " * (4 << 20), "ab " * 30_000, "\u00e9" * 100_000, "\n" * 70_000):
            error = self.refused("/v1/chat/completions", {**CHAT, "messages": [{"role": "user", "content": text}]}, code="context_length_exceeded")
            self.assertIn("4096 tokens", error["message"])
            self.refused("/v1/completions", {"model": "plain", "prompt": text}, code="context_length_exceeded", param="prompt")
        # Many short ones are one long one.
        messages = [{"role": "user", "content": "x" * 100}] * 4096
        self.refused("/v1/chat/completions", {**CHAT, "messages": messages}, code="context_length_exceeded")
        # A real tokenizer takes seconds for these, and is not asked.
        for text in (" " * (4 << 20), "a" * (1 << 20)):
            self.refused("/v1/chat/completions", {**CHAT, "model": "smollm2", "messages": [{"role": "user", "content": text}]}, code="context_length_exceeded")
        for path, body in {
            "/v1/embeddings": {"model": "minilm", "input": ["a", " " * (4 << 20)]},
            "/v1/rerank": {"model": "minilm", "query": "q", "documents": ["x" * (4 << 20)]},
        }.items():
            self.refused(path, body, code="context_length_exceeded")
        self.refused("/tokenize", {"model": "smollm2", "content": " " * (1 << 20)}, code="invalid_value", param="content")

    def test_impossible_limits(self):
        for field in ("max_tokens", "max_completion_tokens"):
            for value in (0, -1, 10**18, 2**63, -(2**63), 2**63 - 1, 1.5, "5", [5], True, 1e300):
                body = {k: v for k, v in CHAT.items() if k != "max_tokens"}
                self.refused("/v1/chat/completions", {**body, field: value}, param=field)
        for value in (0, -1, 9, 2**40):
            self.refused("/v1/chat/completions", {**CHAT, "n": value}, param="n")
        self.refused("/v1/chat/completions", {**CHAT, "max_tokens": 10**7}, code="context_length_exceeded")
        for value in (0, -1, 10**18):
            self.refused("/v1/rerank", {**ROUTES["/v1/rerank"], "top_n": value}, param="top_n")
            self.refused("/v1/embeddings", {**ROUTES["/v1/embeddings"], "dimensions": value}, param="dimensions")

    def test_numbers_that_are_none(self):
        for field in ("temperature", "top_p", "min_p", "frequency_penalty", "presence_penalty", "repeat_penalty", "max_tokens", "seed", "top_k"):
            for value in ("NaN", "nan", "Infinity", "-Infinity", "inf", "1e999", "-1e999", "0x10", "1_000", ".5", "1.", "01", "--1", "+1"):
                text = json.dumps({k: v for k, v in CHAT.items() if k != field})[:-1] + f', "{field}": {value}}}'
                self.refused("/v1/chat/completions", text)
            for value in (1e300, -1e300, 10**30, -(10**30)):
                if not (field == "seed" and isinstance(value, int) and abs(value) < 2**63):
                    self.refused("/v1/chat/completions", {**CHAT, field: value})

    def test_bytes_that_are_no_json(self):
        good = json.dumps(CHAT).encode()
        for body in (
            b"", b" ", b"null", b"[]", b"3", b'"x"', b"{", good[:-1], good + b"}", good + good, good.replace(b":", b"=", 1), b"\xef\xbb\xbf" + good,
            b"\x00" * 100, b"\xff\xfe" * 50, good.decode().encode("utf-16"), good.replace(b"hi", b"\xff"), good.replace(b"hi", b"\xc0\xaf"),
            good.replace(b"hi", b"\xed\xa0\x80"), good.replace(b"hi", b"\xf4\x90\x80\x80"), good.replace(b"hi", b"\\ud800"), good.replace(b"hi", b"a\nb"),
            good.replace(b"hi", b"\\x41"),
        ):
            for path in ROUTES:
                if body.startswith(good) and path != "/v1/chat/completions":
                    continue
                self.refused(path, body)
            self.refused("/v2/models/magika/infer", body)

    def test_ten_megabytes(self):
        for field, value in {"stop": ["x" * (5 << 20)] * 2, "logit_bias": {str(n): 100 for n in range(700_000)}, "user": "u" * (10 << 20)}.items():
            self.refused("/v1/chat/completions", {**CHAT, field: value}, 413)
        for field, value in {
            "stop": ["x" * (1 << 20)] * 4, "logit_bias": {str(n): 100 for n in range(50_000)}, "user": "u" * (7 << 20),
            "tools": [{"type": "function", "function": {"name": f"f{n}", "description": "d" * 1000}} for n in range(5000)],
        }.items():
            self.refused("/v1/chat/completions", {**CHAT, field: value})
        self.refused("/v1/chat/completions", {**CHAT, "stop": ["x"] * 100_001})
        self.refused("/v1/chat/completions", {**CHAT, **{f"field{n}": n for n in range(1000)}})

    def test_depth_and_numbers_of_things(self):
        for depth in (40, 10_000, 1_000_000):
            for open_, close in (("[", "]"), ('{"a":', "}")):
                self.refused("/v1/chat/completions", '{"model":"plain","messages":' + open_ * depth + "1" + close * depth + "}")
                self.refused("/v2/models/magika/infer", '{"inputs":' + open_ * depth + "1" + close * depth + "}")
        self.refused("/v1/chat/completions", {**CHAT, "messages": CHAT["messages"] * 4097}, param="messages")
        self.refused("/v1/chat/completions", {**CHAT, "messages": []}, param="messages")
        tool = lambda n: {"type": "function", "function": {"name": f"f{n}"}}
        self.refused("/v1/chat/completions", {**CHAT, "tools": [tool(n) for n in range(129)]}, param="tools")
        self.refused("/v1/chat/completions", {**CHAT, "tools": [tool(1), tool(1)]})
        self.refused("/v1/embeddings", {"model": "minilm", "input": ["a"] * 2049}, param="input")
        self.refused("/v1/embeddings", {"model": "minilm", "input": [10**9]}, param="input")
        self.refused("/v1/rerank", {"model": "minilm", "query": "q", "documents": ["a"] * 2048}, param="documents")
        twice = json.dumps(CHAT)[:-1] + ', "model": "plain"}'
        self.refused("/v1/chat/completions", twice, code="duplicate_field")

    def test_wrong_types_for_every_field(self):
        for path, fields in FIELDS.items():
            for field, right in fields.items():
                for kind, value in WRONG.items():
                    if kind in right:
                        continue
                    body = {**ROUTES[path], field: value}
                    if field == "max_completion_tokens":
                        body.pop("max_tokens")
                    if field == "top_logprobs":
                        body["logprobs"] = True
                    if field == "stream_options":
                        body["stream"] = True
                    self.refused(path, body)
            for body in ({}, {**ROUTES[path], "model": None}):
                self.refused(path, body, code="missing_required_parameter")
        for message in ({}, [], 1, "x", None, {"role": "user"}, {"role": 1, "content": "x"}, {"role": "robot", "content": "x"}, {"role": "user", "content": 1},
                        {"role": "user", "content": [1]}, {"role": "user", "content": [{"type": "image_url"}]}, {"role": "tool", "content": "x"},
                        {"role": "assistant", "content": None, "tool_calls": 1}, {"role": "assistant", "tool_calls": [{"id": 1}]}):
            self.refused("/v1/chat/completions", {**CHAT, "messages": [message]})
        for tools in (1, [1], [{}], [{"type": "x"}], [{"type": "function"}], [{"type": "function", "function": {"name": "a b"}}],
                      [{"type": "function", "function": {"name": "f", "parameters": []}}]):
            self.refused("/v1/chat/completions", {**CHAT, "tools": tools})

    def test_schema_bombs(self):
        deep = {"type": "string"}
        for _ in range(10):
            deep = {"anyOf": [deep, {"type": "array", "items": deep}]}
        wide = lambda n, of: {"type": "object", "properties": {f"p{i}": of for i in range(n)}, "required": [f"p{i}" for i in range(n)]}
        bombs = [
            deep, wide(501, True), wide(6, wide(490, {"type": "string"})), {"type": "string", "pattern": "^(a|aa)+$" * 50},
            {"type": "string", "pattern": "^((((a{1,900}){1,900}){1,900}){1,900})$"}, {"type": "string", "minLength": 10**9},
            {"type": "array", "items": {"type": "array", "items": {"type": "string", "maxLength": 1000}, "maxItems": 1000}, "maxItems": 10**6},
            {"$ref": "#"}, {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, {"$ref": "https://example.com"},
            {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}, {"enum": list(range(100_000))}, {"enum": ["x" * 100_000]}, {"anyOf": [True] * 1000},
            {"type": "array", "prefixItems": [{"type": "integer", "minimum": -(10**14) - n, "maximum": 10**14 + n * 7} for n in range(900)]},
            {"oneOf": [{"type": "object", "properties": {f"p{j}": {"const": f"{j}{i}"} for j in range(24)}, "required": [f"p{j}" for j in range(24)]} for i in range(100)]},
            {"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}, f"b{i}": deep}} for i in range(3)]}, [], 7, "x", False,
            {"type": "object", "properties": {"x" * 70_000: True}}, {"minimum": 1e300}, {"type": ["string"] * 9}, {"not": {}},
        ]
        began = time.monotonic()
        for schema in bombs:
            self.refused("/v1/chat/completions", {**CHAT, "model": "smollm2", "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}})
            self.refused("/v1/chat/completions", {**CHAT, "model": "smollm2", "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]})
        self.assertLess(time.monotonic() - began, SOON, "all of them")

    def test_tensors(self):
        found = json.loads(self.host.request("GET", "/v2/models/magika")[1])["inputs"][0]
        shape = [1 if n < 0 else n for n in found["shape"]]
        size = 1
        for n in shape:
            size *= n
        good = {"name": found["name"], "datatype": found["datatype"], "shape": shape, "data": [0] * size}
        path = "/v2/models/magika/infer"
        self.assertEqual(self.send(path, {"inputs": [good]})[0], 200)
        for change in (
            {"name": "nobody"}, {"name": 5}, {"name": ""}, {"datatype": "FP99"}, {"datatype": "BYTES"}, {"datatype": 1}, {"shape": []}, {"shape": [-1, 2]},
            {"shape": [0]}, {"shape": shape + [2]}, {"shape": [2**62, 4]}, {"shape": [2**63 - 1] * 8}, {"shape": [2**63]}, {"shape": [1.5]}, {"shape": "x"},
            {"shape": [1] * 10_000}, {"data": []}, {"data": [0] * (size + 1)}, {"data": [0] * (size - 1)}, {"data": ["x"] * size},
            {"data": [1e300] * size}, {"data": [0.5] * size if found["datatype"].startswith("INT") else ["a"] * size}, {"data": 5}, {"data": None},
            {"parameters": {"binary_data_size": 10**12}}, {"parameters": {"binary_data_size": -1}},
        ):
            self.refused(path, {"inputs": [{**good, **change}]})
        for body in ({}, {"inputs": []}, {"inputs": 1}, {"inputs": [good, good]}, {"inputs": [good] * 300}, {"inputs": [None]},
                     {"inputs": [good], "outputs": [{"name": "nobody"}]}, {"inputs": [good], "outputs": 1}):
            self.refused(path, body)
        whole = json.dumps({"inputs": [{k: v for k, v in good.items() if k != "data"} | {"parameters": {"binary_data_size": 8}}]}).encode()
        for length in ("-1", "x", "99999999999999999999", str(len(whole) + 1), "0", ""):
            status, answer = self.send(path, whole + b"\0" * 8, {"inference-header-content-length": length})
            self.assertEqual(status, 400, (length, answer[:200]))
            self.assertIsInstance(json.loads(answer)["error"], str)

    def test_strange_headers(self):
        for name in ("No Such!", "", "x" * 500, "../a", "a\"b"):
            self.assertEqual(self.send("/v1/chat/completions", CHAT, {"x-swiftlet-tenant": name})[0], 400, name)
        for value in ("yes", "ON", "on, off", "1" * 1000):
            self.assertEqual(self.send("/v1/chat/completions", CHAT, {"x-swiftlet-cache": value})[0], 400, value)
        for value in ("max-age=x", "max-age=-1", "max-age=99999999999999999999999", "max-age="):
            self.assertEqual(self.send("/v1/chat/completions", CHAT, {"x-swiftlet-cache": "on", "cache-control": value})[0], 400, value)


if __name__ == "__main__":
    unittest.main(verbosity=2)
