"""/metrics as Prometheus reads it: what was sent is what is counted, under our names and those of vLLM and Triton. Usage: metrics.py PREFIX"""
import http.client
import json
import shutil
import subprocess
import threading
import unittest

from clients import CLIENTS
from run import PREFIX, Host, wait_for

# Reads with prometheus_client, unmodified; prints families as JSON.
READER = """
import json, sys
from prometheus_client.parser import text_string_to_metric_families
families = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.name not in families, f"{family.name} is there twice"
    assert family.documentation, family.name
    families[family.name] = {"type": family.type, "samples": [[s.name, s.labels, s.value] for s in family.samples]}
json.dump(families, sys.stdout)
"""


def deploy(host, name, config={}):
    """An Echo of this name."""
    folder = host.work / f"deploy-{name}"
    folder.mkdir()
    shutil.copy(PREFIX / "plugins/echo/EchoBackend.so", folder)
    (folder / "swiftlet.json5").write_text(json.dumps({
        "name": name, "kind": "backend", "version": "1.0.0", "library": "EchoBackend.so", "context_tokens": 4096,
        "limits": {"memory_mb": 64, "threads": 1}, "max_sequences": 8, "max_step_tokens": 128, "config": config}))
    host.cli("deploy", str(folder))


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host("--log-answers")
        for name in ("plain", "counted", "cut", "cached", "unused"):
            deploy(cls.host, name)
        deploy(cls.host, "slow", config={"step_us": 20_000})

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def read(self, query=""):
        status, body, headers = self.host.request("GET", "/metrics" + query)
        self.assertEqual(status, 200, body)
        self.assertEqual(headers["content-type"], "text/plain; version=0.0.4")
        done = subprocess.run([CLIENTS, "-c", READER], input=body.decode(), capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def value(self, families, name, **labels):
        """One sample by its whole name and labels."""
        found = [s for family in families.values() for s in family["samples"] if s[0] == name and labels.items() <= s[1].items()]
        self.assertEqual(len(found), 1, f"{name}{labels}: {found}")
        return found[0][2]

    def ask(self, model, text="hello", tenant="acme", headers={}, **fields):
        body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **fields}
        status, answer, headers = self.host.request(
            "POST", "/v1/chat/completions", json.dumps(body), {"x-swiftlet-tenant": tenant, **headers})
        return status, json.loads(answer), headers

    def test_counts_are_what_was_sent(self):
        usage = []
        for number in range(7):
            status, body, _ = self.ask("counted", "word " * (number + 1), tenant=f"tenant-{number % 2}")
            self.assertEqual(status, 200, body)
            usage.append(body["usage"])
        prompt, answer = sum(u["prompt_tokens"] for u in usage), sum(u["completion_tokens"] for u in usage)
        hits = sum(u["prompt_tokens_details"]["cached_tokens"] for u in usage)
        self.assertEqual(self.ask("counted", max_tokens=10**7)[0], 400)
        families = self.read()
        ours = lambda name, **labels: self.value(families, "swiftlet_model_" + name, model="counted", **labels)
        theirs = lambda name, **labels: self.value(families, "vllm:" + name, model_name="counted", **labels)
        for name, expected in {
            "requests_total": 8, "prompt_tokens_total": prompt, "generation_tokens_total": answer, "refused_requests_total": 1,
            "prefix_queries_total": prompt, "prefix_hits_total": hits, "time_to_first_token_seconds_count": 7,
            "inter_token_seconds_count": answer - 7, "request_seconds_count": 7, "queue_seconds_count": 7, "prefill_seconds_count": 7,
            "decode_seconds_count": 7, "request_prompt_tokens_count": 7, "request_prompt_tokens_sum": prompt,
            "request_generation_tokens_sum": answer, "load_duration_seconds_count": 1, "loads_total": 1,
        }.items():
            self.assertEqual(ours(name), expected, name)
        for name, expected in {
            "prompt_tokens_total": prompt, "generation_tokens_total": answer, "prefix_cache_queries_total": prompt,
            "prefix_cache_hits_total": hits, "time_to_first_token_seconds_count": 7, "inter_token_latency_seconds_count": answer - 7,
            "time_per_output_token_seconds_count": answer - 7, "e2e_request_latency_seconds_count": 7,
            "request_generation_tokens_sum": answer, "num_requests_running": 0, "num_requests_waiting": 0, "kv_cache_usage_perc": 0,
            "gpu_cache_usage_perc": 0,
        }.items():
            self.assertEqual(theirs(name), expected, name)
        self.assertEqual(theirs("request_success_total", finished_reason="stop"), 7)
        self.assertEqual(theirs("request_success_total", finished_reason="error"), 0)
        # One step at least for each token, and every token of prompt or answer in some step.
        self.assertEqual(ours("step_duration_seconds_count"), ours("steps_total"))
        self.assertAlmostEqual(ours("step_duration_seconds_sum"), ours("step_seconds_total"), places=6)
        self.assertEqual(ours("batch_size_sum"), ours("step_sequences_total"))
        self.assertEqual(ours("tokens_per_step_sum"), ours("step_tokens_total"))
        # Times that contain others.
        self.assertLessEqual(ours("time_to_first_token_seconds_sum"), ours("request_seconds_sum"))
        self.assertLessEqual(ours("queue_seconds_sum") + ours("prefill_seconds_sum"), ours("time_to_first_token_seconds_sum") + 1e-3)
        # What is kept for the next prompts is no use of the memory.
        self.assertGreater(ours("kv_tokens", of="prefixes"), 0)
        self.assertEqual(ours("kv_tokens", of="running"), 0)
        tenants = [self.value(families, "swiftlet_tenant_tokens_total", model="counted", tenant=f"tenant-{n}", kind="prompt") for n in (0, 1)]
        self.assertEqual(sum(tenants), prompt)

    def test_histograms_are_whole(self):
        self.ask("plain")
        for name, family in self.read().items():
            if family["type"] != "histogram":
                continue
            rows = {}
            for sample, labels, value in family["samples"]:
                key = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
                rows.setdefault(key, []).append((sample, labels.get("le"), value))
            for key, samples in rows.items():
                buckets = [(float(le), value) for sample, le, value in samples if le is not None]
                self.assertEqual(buckets, sorted(buckets), f"{name}{key}")
                self.assertEqual(buckets[-1][0], float("inf"))
                self.assertEqual([v for _, v in buckets], sorted(v for _, v in buckets), "they add up")
                count = next(v for s, _, v in samples if s == name + "_count")
                self.assertEqual(buckets[-1][1], count)
                self.assertEqual(sum(s == name + "_sum" for s, _, _ in samples), 1)

    def test_an_answer_that_is_cut_and_one_that_is_left(self):
        self.assertEqual(self.ask("cut", "many words", max_tokens=2)[1]["choices"][0]["finish_reason"], "length")
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
        body = {"model": "slow", "messages": [{"role": "user", "content": "x" * 400}], "stream": True}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"x-swiftlet-tenant": "acme"})
        answer = connection.getresponse()
        answer.read(2000)
        families = self.read()
        self.assertEqual(self.value(families, "vllm:num_requests_running", model_name="slow"), 1)
        share = self.value(families, "vllm:kv_cache_usage_perc", model_name="slow")
        held = self.value(families, "swiftlet_model_kv_tokens", model="slow", of="running")
        self.assertGreater(held, 0)
        self.assertAlmostEqual(share, held / self.value(families, "swiftlet_model_kv_capacity_tokens", model="slow"))
        answer.close()
        connection.close()
        wait_for(lambda: self.value(self.read(), "vllm:request_success_total", model_name="slow", finished_reason="abort") == 1, "it is counted")
        families = self.read()
        self.assertEqual(self.value(families, "vllm:request_success_total", model_name="cut", finished_reason="length"), 1)
        left = [s for s in families["swiftlet_model_request_seconds"]["samples"] if s[1]["model"] == "slow"]
        self.assertEqual(left, [], "who left tells nothing of how long answers take")

    def test_views(self):
        self.ask("plain")
        self.assertTrue(any(name.startswith("vllm:") for name in self.read()))
        self.assertTrue(any(name.startswith("vllm:") for name in self.read("?compat=triton%2Cvllm")))
        for query in ("?compat=none", "?compat=triton"):
            self.assertFalse(any(name.startswith("vllm:") for name in self.read(query)), query)
        self.assertEqual(self.host.request("GET", "/metrics?compat=datadog")[0], 400)

    def test_a_model_that_nobody_asked_has_no_histograms_and_is_not_loaded(self):
        families = self.read()
        for family in families.values():
            if family["type"] == "histogram":
                self.assertFalse(any("unused" in s[1].values() for s in family["samples"]))
        self.assertEqual(self.value(families, "swiftlet_model_loaded", model="unused"), 0)

    def test_a_flood_of_tenants_grows_nothing_without_bound(self):
        def flood(part):
            connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=60)
            for number in range(part, 1200, 8):
                body = {"model": "plain", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
                connection.request("POST", "/v1/chat/completions", json.dumps(body), {"x-swiftlet-tenant": f"flood-{number}"})
                answer = connection.getresponse()
                answer.read()
            connection.close()
        threads = [threading.Thread(target=flood, args=(part,)) for part in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        samples = self.read()["swiftlet_tenant_device_seconds"]["samples"]
        names = {labels["tenant"] for _, labels, _ in samples if labels["model"] == "plain"}
        self.assertEqual(len(names), 1001)
        self.assertIn("_others", names)

    def test_the_log_has_opentelemetrys_words(self):
        status, body, _ = self.ask("plain", "a line of its own", tenant="logged")
        self.assertEqual(status, 200)
        self.ask("plain", tenant="logged", max_tokens=10**7)
        lines = lambda: [json.loads(line) for line in (self.host.work / "host.log").read_text().splitlines() if '"logged"' in line]
        wait_for(lambda: len(lines()) == 2, "two lines")
        good, bad = lines()
        self.assertEqual(
            (good["gen_ai.operation.name"], good["gen_ai.request.model"], good["gen_ai.response.finish_reasons"]), ("chat", "plain", "stop"))
        self.assertEqual(int(good["gen_ai.usage.input_tokens"]), body["usage"]["prompt_tokens"])
        self.assertEqual(int(good["gen_ai.usage.output_tokens"]), body["usage"]["completion_tokens"])
        self.assertEqual(bad["error.type"], "context_length_exceeded")
        self.assertNotIn("a line of its own", (self.host.work / "host.log").read_text())


class Triton(unittest.TestCase):
    def test_names_of_triton(self):
        host = Host()
        try:
            host.cli("deploy", str(PREFIX / "plugins/magika"), "--name", "files")
            status, body, _ = host.request("GET", "/v2/models/files")
            self.assertEqual(status, 200, body)
            inputs = json.loads(body)["inputs"]
            tensors = [{"name": i["name"], "datatype": i["datatype"], "shape": [1 if n < 0 else n for n in i["shape"]]} for i in inputs]
            for tensor in tensors:
                size = 1
                for n in tensor["shape"]:
                    size *= n
                tensor["data"] = [0] * size
            for _ in range(3):
                self.assertEqual(host.request("POST", "/v2/models/files/infer", json.dumps({"inputs": tensors}))[0], 200)
            tensors[0]["shape"][-1] += 1
            tensors[0]["data"].append(0)
            self.assertEqual(host.request("POST", "/v2/models/files/infer", json.dumps({"inputs": tensors}))[0], 400)
            metrics = Metrics()
            metrics.host = host
            families = metrics.read()
            value = lambda name, **labels: metrics.value(families, "nv_inference_" + name, model="files", version="1.0.0", **labels)
            for name, expected in {"request_success_total": 3, "count_total": 3, "exec_count_total": 3, "pending_request_count": 0}.items():
                self.assertEqual(value(name), expected, name)
            self.assertEqual(value("request_failure_total", reason="OTHER"), 1)
            self.assertGreater(value("compute_infer_duration_us_total"), 0)
            self.assertGreaterEqual(value("request_duration_us_total"), value("compute_infer_duration_us_total"))
            self.assertEqual(metrics.value(families, "swiftlet_model_batch_size_sum", model="files"), 3)
            self.assertFalse(any(name.startswith("vllm:") for name in families), "it has no tokens")
        finally:
            host.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
