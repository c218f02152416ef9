"""Quotas of keys: beside their tenant's, not one token over either, across kills, rotation and live changes. Usage: key_quotas.py PREFIX"""
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import sqlite3
import threading
import time
import unittest

from run import PREFIX, Host, handler, make_work, wait_for

TALK = "{} says something that takes a while to repeat, as long as nobody stops it"
# What Echo repeats at this length is cut by 150 tokens, and its prompt is not.
LONG = "x" * 100
# Hands its body to a model, and the model's answer back.
ASKS = handler("""
    uint32_t number;
    swiftlet_event_v1 event = {.size = sizeof event, .version = 1};
    if (host->call(text("model.chat"), call->body, &number) != SWIFTLET_OK) return SWIFTLET_FAILED;
    do {
        if (host->next(UINT64_MAX, &event) != SWIFTLET_OK) return SWIFTLET_FAILED;
        if (event.data.size > 0 && host->write(event.data) != SWIFTLET_OK) return SWIFTLET_FAILED;
    } while (event.kind == SWIFTLET_EVENT_DATA);
    return SWIFTLET_OK;""")


def used(answers):
    return sum(body["usage"]["total_tokens"] for status, body, _ in answers if status == 200)


class Keyed(unittest.TestCase):
    """A host with the Echo model `plain`; each test makes tenants and keys of its own."""

    def start(self, *options):
        self.work = make_work()
        self.host = Host(*options, work=self.work)
        folder = self.work / "plain"
        shutil.copytree(PREFIX / "plugins/echo", folder)
        manifest = folder / "swiftlet.json5"
        manifest.write_text(manifest.read_text().replace('name: "echo"', 'name: "plain"'))
        self.host.cli("deploy", str(folder))
        self.addCleanup(lambda: self.host.stop())

    def admin(self, method, path, body=None, status=None):
        got, text, _ = self.host.request(method, "/admin/v1" + path, json.dumps(body) if body is not None else None)
        self.assertTrue(got == status if status else got < 300, (got, text))
        return json.loads(text)

    def tenant(self, name, **policy):
        self.admin("POST", "/tenants", {"name": name, "settings": {"policy": policy} if policy else {}})

    def key(self, tenant, **limits):
        made = self.admin("POST", f"/tenants/{tenant}/keys", {"role": "invoker", "limits": limits} if limits else {"role": "invoker"})
        self.assertEqual(made.get("limits"), limits or None)
        return made

    def send(self, key, path, body):
        """Returns the status, the answer or its text, and the headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=60)
        try:
            connection.request(
                "POST", path, json.dumps(body), {"content-type": "application/json", "authorization": f"Bearer {key['key']}"})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text[:1] == b"{" else text.decode(), answer.headers
        finally:
            connection.close()

    def ask(self, key, text="hello", max_tokens=60, **more):
        return self.send(key, "/v1/chat/completions", {
            "model": "plain", "messages": [{"role": "user", "content": text}], "max_tokens": max_tokens, "temperature": 0, **more})

    def many(self, keys, count, text=TALK, **more):
        """So many requests at once of each key, by key; those that a dead host did not answer are left out."""
        def one(job):
            number, key = job
            try:
                return key["id"], self.ask(key, text.format(number), **more)
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                return key["id"], (0, {}, {})
        jobs = [(number, key) for number in range(count) for key in keys]
        with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
            done = list(pool.map(one, jobs))
        return [[answer for name, answer in done if name == key["id"]] for key in keys]

    def refused(self, answer, quota, level, status=429):
        got, body, headers = answer
        self.assertEqual(got, status, body)
        self.assertEqual((body["error"]["swiftlet_quota"], body["error"]["swiftlet_quota_level"]), (quota, level), body)
        self.assertIn(f"quota {quota} of the {level}", body["error"]["message"])
        return body["error"], headers

    def stored(self):
        """What the table says is taken, by level and owner."""
        with sqlite3.connect(f"file:{self.work}/state/quotas.db?mode=ro", uri=True) as database:
            rows = database.execute("SELECT level,owner,sum(taken) FROM taken GROUP BY level,owner").fetchall()
        return {(level, owner): taken for level, owner, taken in rows}


class KeyQuotas(Keyed):
    def setUp(self):
        self.start()

    def test_two_hundred_at_once_take_all_of_it_and_nothing_more(self):
        self.tenant("acme", tokens_total=1_000_000)
        key, free = self.key("acme", tokens_total=3000), self.key("acme")
        answers = self.many([key], 200)[0]
        self.assertLessEqual(used(answers), 3000)
        self.assertGreater(used(answers), 3000 * 0.8)
        self.assertEqual({status for status, _, _ in answers}, {200, 429})
        error, headers = self.refused(self.ask(key), "tokens_total", "key")
        self.assertEqual((error["code"], headers["x-should-retry"]), ("insufficient_quota", "false"))
        # Its tenant and the tenant's other keys go on.
        self.assertEqual(self.ask(free)[0], 200)

    def test_two_keys_of_one_tenant_share_what_the_tenant_has(self):
        self.tenant("acme", tokens_total=2000)
        keys = [self.key("acme", tokens_total=1500), self.key("acme", tokens_total=1500)]
        one, other = self.many(keys, 90)
        self.assertLessEqual(used(one), 1500)
        self.assertLessEqual(used(other), 1500)
        self.assertLessEqual(used(one) + used(other), 2000)
        self.assertGreater(used(one) + used(other), 2000 * 0.8)
        levels = {body["error"].get("swiftlet_quota_level") for status, body, _ in one + other if status == 429}
        self.assertIn("tenant", levels)

    def test_an_answer_is_cut_at_the_very_token_of_whichever_ends_first(self):
        self.tenant("acme", tokens_total=300)
        for limit, level, total in [(150, "key", 150), (1000, "tenant", 150)]:
            key = self.key("acme", tokens_total=limit)
            status, body, headers = self.ask(key, LONG, max_tokens=500)
            self.assertEqual(status, 200, body)
            choice = body["choices"][0]
            self.assertEqual(
                (body["usage"]["total_tokens"], choice["finish_reason"], choice["swiftlet_quota"], choice["swiftlet_quota_level"]),
                (total, "length", "tokens_total", level))
            self.assertEqual(headers["x-ratelimit-limit-tokens"], str(min(limit, 300)))
            self.refused(self.ask(key), "tokens_total", level)

    def test_every_route_reserves_and_names_the_key(self):
        self.tenant("acme")
        chat = {"model": "plain", "messages": [{"role": "user", "content": LONG}], "max_tokens": 500}
        cut = {
            "/v1/chat/completions": chat, "/v1/completions": {"model": "plain", "prompt": LONG, "max_tokens": 500},
            "/v1/messages": chat, "/v1/responses": {"model": "plain", "input": LONG, "max_output_tokens": 500}}
        for path, body in cut.items():
            for streams in (False, True):
                key = self.key("acme", tokens_total=150)
                status, answer, headers = self.send(key, path, {**body, "stream": streams})
                text = answer if streams else json.dumps(answer, separators=(",", ":"))
                self.assertEqual(status, 200, text)
                self.assertIn('"swiftlet_quota":"tokens_total","swiftlet_quota_level":"key"', text, path)
                self.assertEqual(self.stored()["key", key["id"]], 150)
                status, answer, headers = self.send(key, path, body)
                self.assertEqual(status, 429, answer)
                said = answer["error"]["details"] if path == "/v1/messages" else answer["error"]
                self.assertEqual((said["swiftlet_quota"], said["swiftlet_quota_level"]), ("tokens_total", "key"), answer)
                self.assertEqual(headers["x-should-retry"], "false")
        for path, body in {
            "/v1/embeddings": {"model": "plain", "input": ["hello there"] * 20},
            "/v1/rerank": {"model": "plain", "query": "hello there", "documents": ["hello there"] * 20},
        }.items():
            key = self.key("acme", tokens_total=150)
            self.refused(self.send(key, path, body), "tokens_total", "key")
            self.assertNotIn(("key", key["id"]), self.stored(), "what is refused takes nothing")
        key = self.key("acme", device_seconds_per_day=0)
        tensor = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
        status, body, _ = self.send(key, "/v2/models/plain/infer", tensor)
        self.assertEqual(status, 429, body)
        self.assertIn("quota device_seconds_per_day of the key", body["error"])

    def test_a_minute_says_when_to_come_back(self):
        self.tenant("acme", tokens_per_minute=100_000)
        key = self.key("acme", tokens_per_minute=100)
        answers = [self.ask(key) for _ in range(12)]
        granted = [headers for status, _, headers in answers if status == 200]
        self.assertEqual(granted[0]["x-ratelimit-limit-tokens"], "100")
        refused = [answer for answer in answers if answer[0] == 429]
        self.assertTrue(refused)
        error, headers = self.refused(refused[0], "tokens_per_minute", "key")
        wait = int(headers["retry-after-ms"])
        self.assertTrue(0 < wait <= 60_000 and int(headers["retry-after"]) * 1000 >= wait)
        self.assertEqual((error["code"], headers["x-ratelimit-limit-tokens"]), ("rate_limit_exceeded", "100"))
        self.assertTrue(headers["x-ratelimit-reset-tokens"].endswith("s"))

    def test_requests_at_once(self):
        self.tenant("acme", requests_at_once=60)
        key, free = self.key("acme", requests_at_once=2), self.key("acme")
        bound, others = self.many([key, free], 25)
        refusals = [answer for answer in bound if answer[0] == 429]
        self.assertTrue(refusals)
        for answer in refusals:
            self.refused(answer, "requests_at_once", "key")
        self.assertEqual({status for status, _, _ in others}, {200})
        self.assertEqual(self.ask(key)[0], 200, "the places are free again")

    def test_device_time_of_a_key_ends_its_answers_and_no_others(self):
        self.tenant("acme")
        key, free = self.key("acme", device_seconds_per_day=0.000001), self.key("acme")
        self.ask(key)
        self.refused(self.ask(key), "device_seconds_per_day", "key")
        self.assertEqual(self.ask(free)[0], 200)

    def test_a_change_holds_at_once_and_a_bad_one_changes_nothing(self):
        self.tenant("acme")
        key = self.key("acme", tokens_total=1)
        self.refused(self.ask(key), "tokens_total", "key")
        file = self.work / "limits.json5"

        def change(text, check=True):
            file.write_text(text)
            return self.host.cli("key", "set", key["id"], "--tenant", "acme", "--limits", str(file), check=check)

        change("{ tokens_total: 5000, concurrency: 9 }")
        self.assertEqual(self.ask(key)[0], 200)
        shown = [k for k in self.admin("GET", "/tenants/acme/keys")["keys"] if k["id"] == key["id"]]
        self.assertEqual(shown[0]["limits"], {"tokens_total": 5000, "concurrency": 9})
        for wrong in ["{ tokens: 1 }", "{ tokens_total: -1 }", "[]", "{ memory_mb: 1 }", "{ weight: 2 }"]:
            self.assertNotEqual(change(wrong, check=False).returncode, 0, wrong)
        self.assertEqual(self.ask(key)[0], 200)
        change("{ tokens_total: 2 }")
        self.refused(self.ask(key), "tokens_total", "key")
        change("{}")
        self.assertEqual(self.ask(key)[0], 200)
        self.assertNotIn("limits", self.admin("PATCH", f"/tenants/acme/keys/{key['id']}", {"limits": {}}))
        self.admin("PATCH", f"/tenants/acme/keys/{key['id']}", {}, status=400)
        self.admin("PATCH", "/tenants/acme/keys/0123456789abcdef", {"limits": {}}, status=404)
        # What it took while nothing bounded it does not count, and what it took before does.
        change("{ tokens_total: 5 }")
        self.refused(self.ask(key), "tokens_total", "key")

    def test_a_change_cuts_an_answer_that_runs(self):
        self.tenant("acme")
        slow = self.work / "slow"
        shutil.copytree(self.work / "plain", slow)
        manifest = slow / "swiftlet.json5"
        manifest.write_text(manifest.read_text().replace('name: "plain"', 'name: "slow"').replace(
            "config: {}", "config: { token_us: 5000, tokens: 2000 }"))
        self.host.cli("deploy", str(slow))
        key = self.key("acme", tokens_total=100_000)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.ask, key, "hello", 1500, model="slow")
            wait_for(lambda: ("key", key["id"]) in self.stored(), "it has begun")
            time.sleep(0.5)
            self.admin("PATCH", f"/tenants/acme/keys/{key['id']}", {"limits": {"tokens_total": 10}})
            status, body, _ = running.result()
        self.assertEqual(status, 200, body)
        self.assertEqual(body["choices"][0].get("swiftlet_quota_level"), "key", body)
        self.assertLess(body["usage"]["total_tokens"], 1000)

    def test_a_rotated_key_goes_on_in_the_same_account(self):
        self.tenant("acme")
        old = self.key("acme", tokens_total=200)
        first = used([self.ask(old, "hello", max_tokens=20)])
        new = self.admin("POST", f"/tenants/acme/keys/{old['id']}/rotate", {"overlap_s": 600})
        self.assertEqual(new["limits"], {"tokens_total": 200})
        answers = [answer for both in self.many([old, new], 20, text="{}") for answer in both]
        total = first + used(answers)
        self.assertTrue(160 < total <= 200, total)
        for key in (old, new):
            self.refused(self.ask(key), "tokens_total", "key")
        third = self.admin("POST", f"/tenants/acme/keys/{new['id']}/rotate", {"overlap_s": 0})
        self.admin("DELETE", f"/tenants/acme/keys/{old['id']}")
        self.refused(self.ask(third), "tokens_total", "key")
        self.host.restart()
        self.refused(self.ask(third), "tokens_total", "key")
        self.assertEqual(set(self.stored()), {("key", old["id"])})

    def test_accounts_go_with_their_keys_and_tenants(self):
        self.tenant("acme", tokens_total=10_000)
        self.tenant("other", tokens_total=10_000)
        keys = [self.key("acme", tokens_total=1000), self.key("acme", tokens_total=1000), self.key("other", tokens_total=1000)]
        for key in keys:
            self.assertEqual(self.ask(key)[0], 200)
        everything = {("key", key["id"]) for key in keys} | {("tenant", "acme"), ("tenant", "other")}
        self.assertEqual(set(self.stored()), everything)
        self.admin("DELETE", f"/tenants/acme/keys/{keys[0]['id']}")
        wait_for(lambda: set(self.stored()) == everything - {("key", keys[0]["id"])}, "the revoked key's account is gone")
        self.host.cli("tenant", "delete", "acme", "--confirm", "acme")
        left = {("key", keys[2]["id"]), ("tenant", "other")}
        wait_for(lambda: set(self.stored()) == left, "the tenant's accounts are gone")
        self.host.restart()
        self.assertEqual(set(self.stored()), left)

    def test_host_calls_of_a_function_count_for_the_key_that_called_it(self):
        self.tenant("acme", tokens_total=100_000)
        folder = self.work / "asks"
        folder.mkdir()
        (folder / "handler.c").write_text(ASKS)
        (folder / "swiftlet.json5").write_text(json.dumps(
            {"name": "asks", "kind": "handler", "version": "1.0.0", "language": "c", "models": ["plain"], "idle_timeout_s": 60}))
        self.host.cli("deploy", str(folder), "--tenant", "acme")
        key, free = self.key("acme", tokens_total=150), self.key("acme")
        body = {"model": "plain", "messages": [{"role": "user", "content": LONG}], "max_tokens": 500}
        status, answer, _ = self.send(key, "/fn/acme/asks/", body)
        self.assertEqual(status, 200, answer)
        self.assertEqual((answer["usage"]["total_tokens"], answer["choices"][0]["swiftlet_quota_level"]), (150, "key"), answer)
        answer = self.send(key, "/fn/acme/asks/", body)[1]
        self.assertEqual(answer["error"]["swiftlet_quota_level"], "key", answer)
        self.assertEqual(self.send(free, "/fn/acme/asks/", body)[1]["choices"][0]["finish_reason"], "stop")


class Operators(Keyed):
    """What the operator says of keys and of the whole platform, in `serve --limits`."""

    def setUp(self):
        self.file = make_work() / "limits.json5"
        self.file.write_text("{ key: { tokens_total: 150 } }")
        self.addCleanup(lambda: shutil.rmtree(self.file.parent))
        self.start("--limits", str(self.file))

    def reload(self, text):
        self.file.write_text(text)
        self.host.process.send_signal(signal.SIGHUP)

    def test_every_key_is_bound_and_the_tighter_one_holds(self):
        self.tenant("acme")
        for limits, total in [({}, 150), ({"tokens_total": 140}, 140), ({"tokens_total": 500}, 150)]:
            key = self.key("acme", **limits)
            status, body, _ = self.ask(key, LONG, max_tokens=500)
            self.assertEqual((status, body["usage"]["total_tokens"]), (200, total), body)
            self.refused(self.ask(key), "tokens_total", "key")
        self.reload("{ key: { tokens_total: 5000 } }")
        wait_for(lambda: self.ask(key)[0] == 200, "the new file holds")
        # A file that can't be read changes nothing.
        self.reload("{ key: { tokens_total: 'x' } }")
        time.sleep(0.3)
        self.assertEqual(self.ask(key)[0], 200)

    def test_all_together_are_bound_and_nobody_is_told_how_the_platform_stands(self):
        self.tenant("acme")
        self.tenant("other")
        keys = [self.key("acme"), self.key("other")]
        self.reload("{ platform: { tokens_total: 900 } }")
        wait_for(lambda: self.ask(keys[0]) and ("platform", "") in self.stored(), "the new file holds")
        answers = [answer for both in self.many(keys, 60) for answer in both]
        self.assertLessEqual(used(answers), 900)
        self.assertGreater(used(answers), 900 * 0.7)
        error, headers = self.refused(self.ask(keys[0]), "tokens_total", "platform")
        self.assertNotIn("x-ratelimit-remaining-tokens", headers)


class Killed(Keyed):
    LIMIT, TENANTS = 2000, 3000

    def setUp(self):
        self.start()
        self.tenant("acme", tokens_total=self.TENANTS)
        self.keys = [self.key("acme", tokens_total=self.LIMIT), self.key("acme", tokens_total=self.LIMIT)]
        self.totals = [0, 0]

    def burst(self, count):
        for index, answers in enumerate(self.many(self.keys, count)):
            self.totals[index] += used(answers)

    def check(self):
        for total in self.totals:
            self.assertLessEqual(total, self.LIMIT)
        self.assertLessEqual(sum(self.totals), self.TENANTS)
        self.assertGreater(sum(self.totals), 0)

    def test_a_host_that_is_killed_gives_nothing_twice(self):
        # Some that certainly got their answers: whoever dies under a burst may take all the rest along, reserved.
        self.burst(2)
        for _ in range(3):
            killer = threading.Timer(0.15, lambda: os.kill(self.host.process.pid, signal.SIGKILL))
            killer.start()
            self.burst(40)
            killer.join()
            self.host.kill()
            self.host.start()
        self.burst(60)
        self.check()
        # And what is stored knows of all of it.
        stored = self.stored()
        for key, total in zip(self.keys, self.totals):
            self.assertLessEqual(total, stored["key", key["id"]])
        self.assertLessEqual(sum(self.totals), stored["tenant", "acme"])

    def test_a_backend_that_is_killed_gives_nothing_twice(self):
        with self.host.workers_killed():
            self.burst(40)
        # After so many crashes the model is not started again at once.
        self.tenant("other")
        stranger = self.key("other")
        wait_for(lambda: self.ask(stranger)[0] == 200, "the model is back", seconds=60)
        self.burst(60)
        self.check()


if __name__ == "__main__":
    unittest.main(verbosity=2)
