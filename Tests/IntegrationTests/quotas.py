"""Quotas of models: not one token over a limit, with 200 requests at once, and when host or backend is killed meanwhile."""
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import unittest

from clients import CLIENTS
from run import PREFIX, Host, make_work, wait_for

LIMIT = 3000


def ask(host, tenant, text, max_tokens=60, **more):
    """Returns the status, the answer or the error, and the headers."""
    body = {"model": "plain", "messages": [{"role": "user", "content": text}], "max_tokens": max_tokens, "temperature": 0, **more}
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=60)
    try:
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json", "x-swiftlet-tenant": tenant})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers
    finally:
        connection.close()


def used(answers):
    return sum(body["usage"]["total_tokens"] for status, body, _ in answers if status == 200)


def many(host, tenant, count, **more):
    """So many requests at once; those that a dead host did not answer are left out."""
    def one(number):
        try:
            return ask(host, tenant, f"{number} says something that takes a while to repeat, as long as nobody stops it", **more)
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return 0, {}, {}
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


class Quotas(unittest.TestCase):
    def setUp(self):
        self.work = make_work()
        self.write(
            f"{{ acme: {{ tokens_total: {LIMIT}, weight: 2 }}, few: {{ requests_at_once: 2 }}, short: {{ tokens_total: 60 }},"
            " minute: { tokens_per_minute: 100 } }")
        folder = self.work / "plain"
        shutil.copytree(PREFIX / "plugins/echo", folder)
        manifest = folder / "swiftlet.json5"
        manifest.write_text(manifest.read_text().replace('name: "echo"', 'name: "plain"'))
        self.host = self.start()
        self.host.cli("deploy", str(folder))

    def write(self, text):
        (self.work / "tenants.json5").write_text(text)

    def start(self):
        return Host("--tenants", str(self.work / "tenants.json5"), work=self.work)

    def tearDown(self):
        self.host.stop()

    def test_two_hundred_at_once_take_all_of_it_and_nothing_more(self):
        answers = many(self.host, "acme", 200)
        self.assertLessEqual(used(answers), LIMIT)
        self.assertGreater(used(answers), LIMIT * 0.8)
        self.assertEqual({status for status, _, _ in answers}, {200, 429})
        refused = [(body["error"]["code"], headers["x-should-retry"]) for status, body, headers in answers if status == 429]
        # More than 128 of one tenant don't even wait: that is another refusal, and worth another try.
        self.assertIn(("insufficient_quota", "false"), refused)
        self.assertLessEqual(set(refused), {("insufficient_quota", "false"), ("rate_limit_exceeded", None)})
        # Nobody else is touched.
        self.assertEqual(ask(self.host, "other", "hello")[0], 200)

    def test_an_answer_is_cut_at_the_very_token(self):
        status, body, headers = ask(self.host, "short", "x" * 30, max_tokens=500)
        self.assertEqual(status, 200, body)
        choice = body["choices"][0]
        if body["usage"]["total_tokens"] < 60:
            self.fail(f"the answer ended by itself: {body}")
        self.assertEqual((body["usage"]["total_tokens"], choice["finish_reason"], choice["swiftlet_quota"]), (60, "length", "tokens_total"))
        self.assertEqual(headers["x-ratelimit-limit-tokens"], "60")
        self.assertEqual(ask(self.host, "short", "more")[0], 429)

    def test_a_minute_says_when_to_come_back(self):
        answers = [ask(self.host, "minute", "hello") for _ in range(12)]
        refused = [headers for status, _, headers in answers if status == 429]
        self.assertTrue(refused, [status for status, _, _ in answers])
        wait = int(refused[0]["retry-after-ms"])
        self.assertTrue(0 < wait <= 60_000 and int(refused[0]["retry-after"]) * 1000 >= wait)
        self.assertEqual(refused[0]["x-ratelimit-limit-tokens"], "100")
        self.assertTrue(refused[0]["x-ratelimit-reset-tokens"].endswith("s"))

    def test_a_host_that_is_killed_gives_nothing_twice(self):
        total = 0
        for _ in range(4):
            killer = threading.Timer(0.15, lambda: os.kill(self.host.process.pid, signal.SIGKILL))
            killer.start()
            total += used(many(self.host, "acme", 100))
            killer.join()
            self.host.kill()
            self.host.start()
        total += used(many(self.host, "acme", 200))
        self.assertLessEqual(total, LIMIT)

    def test_a_backend_that_is_killed_gives_nothing_twice(self):
        with self.host.workers_killed():
            answers = many(self.host, "acme", 100)
        time.sleep(1.2)
        answers += many(self.host, "acme", 200)
        self.assertLessEqual(used(answers), LIMIT)

    def test_requests_at_once(self):
        answers = many(self.host, "few", 40)
        self.assertIn(200, {status for status, _, _ in answers})
        refused = [body["error"]["message"] for status, body, _ in answers if status == 429]
        self.assertTrue(refused and all("requests_at_once" in words for words in refused), refused[:2])

    def test_a_new_file_counts_after_a_hangup_and_a_bad_one_changes_nothing(self):
        self.assertEqual(ask(self.host, "short", "hello")[0], 200)
        self.write("{ short: { tokens_total: 1 } }")
        self.host.process.send_signal(signal.SIGHUP)
        wait_for(lambda: ask(self.host, "short", "hello")[0] == 429, "the new limit holds")
        self.write("{ short: { tokens: 1 } }")
        self.host.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        self.assertEqual(ask(self.host, "short", "hello")[0], 429)

    def test_device_time_adds_up_to_the_models(self):
        for tenant in ("one", "two", "three"):
            many(self.host, tenant, 5)
        lines = self.host.request("GET", "/metrics")[1].decode().splitlines()

        def total(name):
            return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{"))
        busy, billed = total("swiftlet_model_step_seconds_total"), total("swiftlet_tenant_device_seconds_total")
        self.assertGreater(busy, 0)
        self.assertAlmostEqual(billed / busy, 1, delta=0.02)

    def test_a_strange_tenant_is_refused(self):
        self.assertEqual(ask(self.host, "No Such!", "hello")[0], 400)

    def test_openai_python_waits_and_tries_again_or_gives_up(self):
        script = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=2, default_headers={"x-swiftlet-tenant": "short"})
try:
    while True:
        client.chat.completions.create(model="plain", messages=[{"role": "user", "content": "hello"}], temperature=0)
except openai.RateLimitError as error:
    assert error.code == "insufficient_quota" and error.request_id, error
"""
        done = subprocess.run([CLIENTS, "-c", script, f"http://127.0.0.1:{self.host.port}"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
