"""Real models of several tenants on one core: who gets how much of it, and whether the receipts add up. Usage: shares.py PREFIX"""
import http.client
import json
import os
import re
import shutil
import threading
import time
import unittest

from run import PREFIX, Host, make_work

SECONDS = 12


class OneCoreOfThree(unittest.TestCase):
    """Two chat models and an embedder, each one tenant's, always busy; ada weighs as much as the two others."""

    def setUp(self):
        work = make_work()
        (work / "tenants.json5").write_text("{ ada: { weight: 2 }, bob: { weight: 1 }, cy: { weight: 1 } }")
        core = min(os.sched_getaffinity(0))
        self.host = Host(
            "--tenants", str(work / "tenants.json5"), work=work, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        for plugin, name in (("smollm2", "one"), ("smollm2", "two"), ("minilm", "vectors")):
            folder = work / name
            shutil.copytree(PREFIX / "plugins" / plugin, folder)
            manifest = folder / "swiftlet.json5"
            manifest.write_text(re.sub(r'name: "[^"]+"', f'name: "{name}"', manifest.read_text(), count=1))
            self.host.cli("deploy", str(folder))
        self.over, self.wrong = threading.Event(), []

    def tearDown(self):
        self.over.set()
        self.host.stop()

    def post(self, path, tenant, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=120)
        try:
            connection.request("POST", path, json.dumps(body), {"x-swiftlet-tenant": tenant})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def keep_busy(self, path, tenant, body):
        while not self.over.is_set():
            status, answer = self.post(path, tenant, body)
            if status != 200:
                self.wrong.append(answer)

    def counted(self):
        text = self.host.request("GET", "/metrics")[1].decode()
        models = {
            name: dict((metric, float(value)) for metric, value in re.findall(
                rf'(?m)^swiftlet_model_(\w+){{model="{name}"}} (\S+)$', text))
            for name in ("one", "two", "vectors")}
        tenants = dict(re.findall(r'(?m)^swiftlet_tenant_device_seconds_total\{model="\w+",tenant="(\w+)"\} (\S+)$', text))
        return time.monotonic(), models, {name: float(value) for name, value in tenants.items()}

    def test_shares_follow_weights_and_receipts_add_up(self):
        story = {"prompt": "Once upon a time, in a small village between the mountains and the sea,", "max_tokens": 160}
        text = {"model": "vectors", "input": "the old ship came into the harbour at night " * 8}
        calls = [("/v1/completions", tenant, {"model": model, **story}, count) for tenant, model, count in (("ada", "one", 3), ("bob", "two", 6))]
        calls.append(("/v1/embeddings", "cy", text, 3))
        threads = []
        for path, tenant, body, count in calls:
            self.assertEqual(self.post(path, tenant, {**body, **({"max_tokens": 1} if "prompt" in body else {})})[0], 200)
            threads += [threading.Thread(target=self.keep_busy, args=(path, tenant, body)) for _ in range(count)]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        begun, models, tenants = self.counted()
        time.sleep(SECONDS)
        ended, models_after, tenants_after = self.counted()
        self.over.set()
        for thread in threads:
            thread.join()
        self.assertEqual(self.wrong, [])
        passed = ended - begun
        held = {name: models_after[name]["device_held_seconds_total"] - models[name]["device_held_seconds_total"] for name in models}
        receipts = {name: tenants_after[name] - tenants.get(name, 0) for name in tenants_after}
        waits = {name: models_after[name]["device_wait_seconds_total"] - models[name]["device_wait_seconds_total"] for name in models}
        print(f"in {passed:.2f} s held {held} receipts {receipts} waits {waits}")
        # One core, one model at a time; and it was never idle for long while all had more to do.
        self.assertLessEqual(sum(held.values()), passed * 1.03)
        self.assertGreater(sum(held.values()), passed * 0.85)
        self.assertLess(abs(sum(receipts.values()) / sum(held.values()) - 1), 0.02)
        whole = sum(held.values())
        for name, weight in (("one", 2), ("two", 1), ("vectors", 1)):
            self.assertLess(abs(held[name] / whole / (weight / 4) - 1), 0.1, held)
        self.assertGreater(min(waits.values()), 1)


if __name__ == "__main__":
    unittest.main(verbosity=1)
