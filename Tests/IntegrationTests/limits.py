"""Limits of the platform, of tenants, keys and functions over HTTP: each bounds what it says, exactly, and says so in its answer."""
import concurrent.futures
import http.client
import json
import re
import signal
import socket
import struct
import subprocess
import time
import unittest

from run import PREFIX, Host, handler, make_work, wait_for

# Answers with the moments at which it began and ended, and works for as long as the query says: `s` sleeps, `b` burns.
WORK = r"""
    struct timespec began, now, cpu;
    clock_gettime(CLOCK_MONOTONIC, &began);
    char query[32] = "s";
    size_t size = call->query.size < sizeof query ? call->query.size : sizeof query - 1;
    if (size) memcpy(query, call->query.data, size), query[size] = 0;
    char what = query[0];
    long wanted = atol(query + 1);
    if (what == 'c') abort();
    if (what == 's' && wanted) usleep(wanted * 1000);
    if (what == 'b') do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
        while (cpu.tv_nsec / 1000000 + cpu.tv_sec * 1000 < wanted);
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (what == 'w') {
        static char zeros[65536];
        for (long left = wanted * 1024; left > 0; left -= sizeof zeros)
            if (host->write((swiftlet_bytes){zeros, sizeof zeros}) != SWIFTLET_OK) return SWIFTLET_FAILED;
        return SWIFTLET_OK;
    }
    char line[80];
    snprintf(line, sizeof line, "%lld %lld\n", began.tv_sec * 1000000000ll + began.tv_nsec, now.tv_sec * 1000000000ll + now.tv_nsec);
    return host->write(text(line));
"""
EXTRA = "#include <stdio.h>\n#include <time.h>\n"


class Limited(unittest.TestCase):
    """One host; each test has a tenant of its own."""
    FILE = "{}"

    @classmethod
    def setUpClass(cls):
        work = make_work()
        cls.file = work / "limits.json5"
        cls.file.write_text(cls.FILE)
        cls.host = Host("--limits", str(cls.file), "--loops", "2", work=work)

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def admin(self, method, path, body=None):
        status, text, _ = self.host.request(method, "/admin/v1" + path, json.dumps(body) if body is not None else None)
        self.assertLess(status, 300, text)
        return json.loads(text)

    def tenant(self, **limits):
        self.name = re.sub("[^a-z0-9]", "", self.id().split(".")[-1].lower())[-40:]
        self.admin("POST", "/tenants", {"name": self.name, "settings": {"limits": limits}})
        return self.name

    def set(self, **limits):
        self.admin("PATCH", f"/tenants/{self.name}", {"settings": {"limits": limits}})

    def key(self, **limits):
        wanted = {"role": "invoker"}
        if limits:
            wanted["limits"] = limits
        return {"authorization": "Bearer " + self.admin("POST", f"/tenants/{self.name}/keys", wanted)["key"]}

    def deploy(self, name="work", fits=True, **manifest):
        folder = self.host.work / f"{self.name}-{name}"
        folder.mkdir(exist_ok=True)
        (folder / "handler.c").write_text(handler(WORK, EXTRA))
        fields = {"name": name, "kind": "handler", "version": "1.0.0", "language": "c", "idle_timeout_s": 30, **manifest}
        (folder / "swiftlet.json5").write_text(json.dumps(fields))
        done = self.host.cli("deploy", str(folder), "--tenant", self.name, check=False)
        self.assertTrue(done.returncode == 0 or not fits, done.stderr)
        return done

    def call(self, query="", name="work", headers={}, body=None):
        method = "POST" if body is not None else "GET"
        return self.host.request(method, f"/fn/{self.name}/{name}/?{query}", body, headers)

    def many(self, count, query, headers={}, parallel=200):
        with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
            return list(pool.map(lambda _: self.call(query, headers=headers), range(count)))

    def refused(self, answer, limit, level, status=429):
        found, text, headers = answer
        self.assertEqual(found, status, text)
        problem = json.loads(text)
        self.assertEqual((problem["limit"], problem["level"]), (limit, level), text)
        self.assertEqual(headers["content-type"], "application/problem+json")
        self.assertEqual((problem["status"], problem["type"]), (status, "urn:swiftlet:error:" + problem["code"]))
        self.assertEqual(problem["instance"], headers["x-request-id"])
        for member in ["title", "detail", "step", "cause", "next"]:
            self.assertTrue(problem[member], member)
        if "retry_after_ms" in problem:
            self.assertEqual(headers["retry-after-ms"], str(problem["retry_after_ms"]))
            self.assertEqual(int(headers["retry-after"]), -(-problem["retry_after_ms"] // 1000))
        return problem

    def refusals(self, level, limit):
        text = self.host.request("GET", "/metrics")[1].decode()
        found = re.search(f'swiftlet_limit_refusals_total{{level="{level}",limit="{limit}"}} (\\d+)', text)
        return int(found.group(1)) if found else 0


def overlap(answers):
    """The most handlers that were inside at the same moment, by their own clocks."""
    edges = []
    for status, text, _ in answers:
        if status == 200:
            began, ended = map(int, text.split())
            edges += [(began, 1), (ended, -1)]
    inside = most = 0
    for _, step in sorted(edges):
        inside += step
        most = max(most, inside)
    return most


class Rates(Limited):
    def test_each_level_has_its_bucket_and_the_tightest_decides(self):
        self.tenant(requests_per_second=0.001, burst=6)
        self.deploy(limits={"requests_per_second": 0.001, "burst": 5})
        key, other = self.key(requests_per_second=0.001, burst=3), self.key()
        for _ in range(3):
            self.assertEqual(self.call(headers=key)[0], 200)
        self.refused(self.call(headers=key), "requests_per_second", "key")
        for _ in range(2):
            self.assertEqual(self.call(headers=other)[0], 200)
        self.refused(self.call(headers=other), "requests_per_second", "function")
        # What the function refused took nothing from the tenant: one is left of six.
        self.deploy("second")
        self.assertEqual(self.call(name="second", headers=other)[0], 200)
        self.refused(self.call(name="second", headers=other), "requests_per_second", "tenant")
        self.assertGreaterEqual(self.refusals("key", "requests_per_second"), 1)

    def test_fields_are_exact(self):
        self.tenant(requests_per_second=0.5, burst=4)
        self.deploy()
        key = self.key(requests_per_second=0.1, burst=2)
        status, _, headers = self.call(headers=key)
        self.assertEqual(status, 200)
        self.assertEqual(headers["ratelimit-policy"], '"key";q=2;w=20, "tenant";q=4;w=8')
        self.assertEqual(headers["ratelimit"], '"key";r=1;t=10, "tenant";r=3;t=2')
        self.call(headers=key)
        problem = self.refused(answer := self.call(headers=key), "requests_per_second", "key")
        headers = answer[2]
        self.assertEqual(headers["ratelimit-policy"], '"key";q=2;w=20')
        self.assertRegex(headers["ratelimit"], '^"key";r=0;t=(9|10)$')
        self.assertTrue(7000 < problem["retry_after_ms"] <= 10_000, problem)
        # Nobody is told about the tenant who is not known.
        self.deploy("open", access="public")
        host = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
        host.request("GET", f"/fn/{self.name}/open/", headers={"x-forwarded-for": "192.0.2.1"})
        answer = host.getresponse()
        answer.read()
        self.assertEqual((answer.status, answer.getheader("ratelimit")), (200, None))
        host.close()

    def test_a_caller_that_waits_as_told_is_served(self):
        self.tenant(requests_per_second=1, burst=2)
        self.deploy()
        while (answer := self.call())[0] == 200:
            pass
        problem = self.refused(answer, "requests_per_second", "tenant")
        time.sleep(problem["retry_after_ms"] / 1000)
        self.assertEqual(self.call()[0], 200)

    def test_two_hundred_at_once_take_the_burst_and_nothing_more(self):
        self.tenant(requests_per_second=0.001, burst=37)
        self.deploy()
        answers = self.many(200, "")
        self.assertEqual(sum(status == 200 for status, _, _ in answers), 37)
        self.assertEqual({status for status, _, _ in answers}, {200, 429})

    def test_a_rate_over_time(self):
        self.tenant(requests_per_second=50, burst=5)
        self.deploy()
        self.call()
        began, served = time.monotonic(), 0
        while time.monotonic() - began < 2:
            served += self.call()[0] == 200
        elapsed = time.monotonic() - began
        self.assertLessEqual(served, 5 + 50 * elapsed)
        self.assertGreaterEqual(served, 50 * elapsed * 0.6)

    def test_changes_hold_for_the_next_request(self):
        self.tenant(requests_per_second=0.001, burst=1)
        self.deploy()
        self.assertEqual([self.call()[0] for _ in range(2)], [200, 429])
        self.set()
        self.assertEqual([self.call()[0] for _ in range(5)], [200] * 5)
        self.set(requests_per_second=0.001, burst=2)
        self.assertEqual(self.call()[0], 429, "taking a limit away for a moment fills no bucket")
        self.set(requests_per_second=1000, burst=1000)
        time.sleep(0.05)
        self.assertEqual(self.call()[0], 200)

    def test_limits_that_are_none(self):
        self.tenant()
        for limits, words in [({"requests_per_second": 0}, "requests_per_second"), ({"burst": 1}, "requests_per_second"),
                              ({"concurency": 1}, "did you mean"), ({"body_mb": "x"}, "body_mb"), ([], "an object")]:
            status, text, _ = self.host.request(
                "PATCH", f"/admin/v1/tenants/{self.name}", json.dumps({"settings": {"limits": limits}}))
            self.assertEqual(status, 422, text)
            problem = json.loads(text)
            self.assertIn(words, problem["cause"] + problem["next"])
        status, text, _ = self.host.request(
            "POST", f"/admin/v1/tenants/{self.name}/keys", json.dumps({"role": "invoker", "limits": {"memory_mb": 64}}))
        self.assertEqual((status, "memory_mb" in text.decode()), (422, True))
        self.assertIn("unknown key", self.deploy(fits=False, limits={"requests": 1}).stderr)

    def test_a_key_keeps_its_limits_when_it_is_rotated(self):
        self.tenant()
        self.deploy()
        made = self.admin("POST", f"/tenants/{self.name}/keys", {"role": "invoker", "limits": {"requests_per_second": 0.001, "burst": 1}})
        self.assertEqual(made["limits"], {"requests_per_second": 0.001, "burst": 1})
        new = self.admin("POST", f"/tenants/{self.name}/keys/{made['id']}/rotate", {})
        key = {"authorization": "Bearer " + new["key"]}
        self.assertEqual([self.call(headers=key)[0] for _ in range(2)], [200, 429])

    def test_the_command_line(self):
        self.tenant()
        self.deploy()
        file = self.host.work / "l.json5"
        file.write_text("{ requests_per_second: 0.001, burst: 1 }")
        made = json.loads(self.host.cli("key", "create", "--tenant", self.name, "--limits", str(file), "--json").stdout)
        key = {"authorization": "Bearer " + made["key"]}
        self.assertEqual([self.call(headers=key)[0] for _ in range(2)], [200, 429])
        file.write_text("{ limits: { body_mb: 0.001 } }")
        self.host.cli("tenant", "set", self.name, "--settings", str(file))
        self.refused(self.call(body=b"x" * 2000), "body_mb", "tenant", 413)
        done = self.host.cli("invoke", f"{self.name}/work", "--data", "x" * 2000, check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout)


class Places(Limited):
    def test_concurrency_at_each_level(self):
        self.tenant(concurrency=7)
        self.deploy(limits={"concurrency": 16, "queue": 300, "memory_mb": 16})
        answers = self.many(200, "s30")
        self.assertLessEqual(overlap(answers), 7)
        self.assertEqual({status for status, _, _ in answers}, {200, 429})
        refused = next(answer for answer in answers if answer[0] == 429)
        self.refused(refused, "concurrency", "tenant")
        key = self.key(concurrency=2)
        answers = self.many(60, "s30", headers=key)
        self.assertLessEqual(overlap(answers), 2)
        self.refused(next(answer for answer in answers if answer[0] == 429), "concurrency", "key")

    def test_one_after_the_other_is_never_refused(self):
        self.tenant(concurrency=1)
        self.deploy()
        connections = [http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30) for _ in range(4)]
        for turn in range(400):
            connection = connections[turn % 4]
            connection.request("GET", f"/fn/{self.name}/work/")
            answer = connection.getresponse()
            answer.read()
            self.assertEqual(answer.status, 200, turn)
        for connection in connections:
            connection.close()

    def test_every_place_comes_back_whatever_happens(self):
        self.tenant(concurrency=8)
        self.deploy(limits={"concurrency": 4, "queue": 20, "queue_timeout_ms": 300, "timeout_ms": 400, "memory_mb": 16})

        def leave(number):
            """Goes away without a word: before the body, while it waits, while it runs, while the answer comes."""
            with socket.create_connection(("127.0.0.1", self.host.port)) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                path = f"/fn/{self.name}/work/?" + ["s50", "w4096", "s20", "b900", "c", "s2000"][number % 6]
                if number % 5 == 0:
                    connection.sendall(f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5000\r\n\r\nx".encode())
                elif number % 5 == 1:
                    connection.sendall(f"POST {path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n".encode())
                else:
                    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
                time.sleep((number % 7) * 0.01)

        for _ in range(3):
            with concurrent.futures.ThreadPoolExecutor(32) as pool:
                list(pool.map(leave, range(150)))
            for query in ["c", "s900", "b900"]:  # a crash, a timeout, a timeout at work
                self.many(8, query, parallel=8)

        def all_free():
            answers = self.many(8, "s100", parallel=8)
            return all(status in (200, 503) for status, _, _ in answers)  # 503: the crashes' own brake

        wait_for(all_free, "all eight places are free", 30)
        # And no more than eight: none was given back twice.
        self.deploy("wide", limits={"concurrency": 16, "queue": 300, "memory_mb": 16})
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(lambda _: self.call("s100", name="wide"), range(80)))
        self.assertLessEqual(overlap(answers), 8)
        self.assertTrue(any(status == 429 for status, _, _ in answers))

    def test_queues(self):
        self.tenant(queue=3)
        self.deploy(limits={"concurrency": 1, "queue": 100, "memory_mb": 16})
        self.call()
        answers = self.many(30, "s300", parallel=30)
        served = sum(status == 200 for status, _, _ in answers)
        self.assertTrue(3 <= served <= 4 + 1, served)
        problem = self.refused(next(answer for answer in answers if answer[0] == 429), "queue", "tenant")
        self.assertEqual(problem["code"], "queue_full")
        self.set(queue=0)
        answers = self.many(10, "s200", parallel=10)
        self.assertEqual(sum(status == 200 for status, _, _ in answers), 1)

    def test_memory_of_live_workers(self):
        self.tenant(memory_mb=100)
        for name in ["one", "two"]:
            self.deploy(name, limits={"memory_mb": 32, "concurrency": 8})
        workers = lambda: [w for w in json.loads(self.host.request("GET", "/admin/v1/workers")[1])["workers"] if w["tenant"] == self.name]
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            calls = [pool.submit(self.call, "s500", "one") for _ in range(12)]
            most = 0
            while not all(call.done() for call in calls):
                most = max(most, len(workers()))
        self.assertTrue(0 < most <= 3, most)
        # More calls than fit wait for those that are there.
        self.assertEqual({call.result()[0] for call in calls}, {200})
        # Idle ones of another function make room.
        self.assertEqual(self.call("", "two")[0], 200)
        # Busy ones don't: nothing of `two` lives while three of `one` work.
        wait_for(lambda: len(workers()) <= 3, "three at most")
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            calls = [pool.submit(self.call, "s1500", "one") for _ in range(3)]
            wait_for(lambda: sum(w["name"] == "one" for w in workers()) == 3, "three at work", 5)
            self.refused(self.call("", "two"), "memory_mb", "tenant")
            self.assertEqual({call.result()[0] for call in calls}, {200})


class Amounts(Limited):
    def test_bodies(self):
        self.tenant(body_mb=0.5)
        self.deploy()
        key = self.key(body_mb=0.25)
        self.assertEqual(self.call(body=b"x" * 524_288)[0], 200)
        problem = self.refused(self.call(body=b"x" * 524_289), "body_mb", "tenant", 413)
        self.assertEqual(problem["code"], "payload_too_large")
        self.refused(self.call(body=b"x" * 300_000, headers=key), "body_mb", "key", 413)
        # The same without a length.
        self.refused(self.call("s500", body=iter([b"x" * 200_000] * 2), headers=key), "body_mb", "key", 413)
        self.assertEqual(self.call(body=b"x" * 262_144, headers=key)[0], 200)

    def test_cpu_seconds(self):
        self.tenant(cpu_seconds_per_day=1)
        self.deploy(limits={"concurrency": 1})
        self.assertEqual([self.call(f"b{sum}")[0] for sum in (400, 800)], [200, 200], "0.8 s are used")
        self.assertEqual(self.call("b1400")[0], 200, "begun before it was used up")
        problem = self.refused(self.call("s"), "cpu_seconds_per_day", "tenant")
        self.assertLessEqual(problem["retry_after_ms"], 86_400_000)
        self.set(cpu_seconds_per_day=1000)
        self.assertEqual(self.call("s")[0], 200)

    def test_a_sleeper_uses_no_cpu_and_a_crash_is_no_way_around(self):
        self.tenant(cpu_seconds_per_day=0.2)
        self.deploy(limits={"timeout_ms": 1500, "concurrency": 1})
        for _ in range(4):
            self.assertEqual(self.call("s300")[0], 200)
        self.assertEqual(self.call("b60000")[0], 504)
        self.refused(self.call("s"), "cpu_seconds_per_day", "tenant")

    def test_egress(self):
        self.tenant(egress_mb_per_day=1)
        self.deploy()
        key = self.key()
        # What has begun is not cut; the next is refused.
        status, text, _ = self.call("w3072", headers=key)
        self.assertEqual((status, len(text)), (200, 3 << 20))
        self.refused(self.call("s", headers=key), "egress_mb_per_day", "tenant")
        self.set(egress_mb_per_day=4)
        self.assertEqual(self.call("s", headers=key)[0], 200, "3 of 4 are used")

    def test_storage(self):
        self.tenant(storage_mb=0.05)
        self.deploy("one")
        self.deploy("one", version="2.0.0")  # in place of the old one it fits as well
        done = self.deploy("two", fits=False, version="1.1.1")
        for number in range(8):
            if done.returncode == 0:
                done = self.deploy(f"more{number}", fits=False)
        self.assertIn("storage_mb", done.stderr)
        kept = len(self.admin("GET", "/functions")["functions"])
        self.set(storage_mb=0.001)
        self.assertIn("storage_mb", self.deploy("one", fits=False, version="3.0.0").stderr)
        self.assertEqual(len(self.admin("GET", "/functions")["functions"]), kept)
        self.assertEqual(self.call(name="one")[0], 200, "what is there serves on")
        folder = next((self.host.work / "state").rglob(self.name))
        left = [path for path in folder.iterdir() if path.is_dir()]
        self.set(storage_mb=100)
        self.deploy("one", version="4.0.0")
        self.assertLessEqual(len(left), 12, "refused ones leave nothing behind")


class Platform(Limited):
    FILE = "{ platform: { requests_per_second: 0.001, burst: 12 }, tenant: { concurrency: 3 }, key: { body_mb: 0.001 } }"

    def test_the_file(self):
        self.tenant()
        self.deploy(limits={"memory_mb": 16})
        key = self.key()
        self.refused(self.call(body=b"x" * 2000, headers=key), "body_mb", "key", 413)
        self.assertEqual(self.call(body=b"x" * 2000)[0], 200, "who has no key has no key's limits")
        answers = self.many(40, "s200", parallel=40)
        self.assertLessEqual(overlap(answers), 3)
        served = 0
        while (answer := self.call())[0] == 200:
            served += 1
            self.assertLess(served, 13)
        self.refused(answer, "requests_per_second", "platform")
        self.assertNotIn("ratelimit", answer[2], "what all others do is nobody's business")
        # Admin routes of the platform, health and metrics are never refused: somebody must be able to help.
        self.assertEqual(self.host.request("GET", "/healthz")[0], 200)
        self.admin("GET", "/tenants")
        self.reload("{ platform: {")
        self.assertEqual(self.call()[0], 429, "a file that can't be read changes nothing")
        self.reload("{}")
        wait_for(lambda: self.call()[0] == 200, "the file is read again", 5)
        self.assertEqual({status for status, _, _ in self.many(8, "s200", parallel=8)}, {200})

    def reload(self, text):
        self.file.write_text(text)
        self.host.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)

    def test_a_file_that_is_wrong_refuses_the_start(self):
        file = make_work() / "limits.json5"
        for text, words in [("{ tenants: {} }", "did you mean 'tenant'"), ("{ key: { storage_mb: 1 } }", "storage_mb"), ("[", "limits file")]:
            file.write_text(text)
            done = subprocess.run(
                [PREFIX / "bin/swiftlet", "serve", "--listen", "127.0.0.1:0", "--state", str(file.parent / "s"), "--limits", str(file)],
                capture_output=True, text=True, timeout=30)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(words, done.stderr)


class Models(Limited):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.host.cli("deploy", str(PREFIX / "plugins/echo"))

    def chat(self, headers, path="/v1/chat/completions", **more):
        body = {"model": "echo", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}], **more}
        status, text, fields = self.host.request("POST", path, json.dumps(body), headers)
        return status, json.loads(text), fields

    def test_openai(self):
        self.tenant(requests_per_second=0.1, burst=2, body_mb=0.01)
        key = self.key()
        status, body, headers = self.chat(key)
        self.assertEqual(status, 200, body)
        self.assertEqual((headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]), ("2", "1"))
        self.assertEqual(headers["x-ratelimit-reset-requests"], "10.0s")
        self.assertEqual((headers["ratelimit-policy"], headers["ratelimit"]), ('"tenant";q=2;w=20', '"tenant";r=1;t=10'))
        self.assertEqual(self.host.request("GET", "/v1/models", headers=key)[0], 200)
        status, body, headers = self.chat(key)
        self.assertEqual((status, body["error"]["type"], body["error"]["code"]), (429, "rate_limit_error", "rate_limit_exceeded"))
        self.assertEqual(headers["x-ratelimit-remaining-requests"], "0")
        self.assertTrue(0 < int(headers["retry-after-ms"]) <= 10_000 and int(headers["retry-after"]) <= 10)
        self.assertIn("requests_per_second", body["error"]["message"])
        # Anthropic's clients read theirs, those of KServe theirs.
        status, body, headers = self.chat(key, "/v1/messages")
        self.assertEqual((status, body["type"], body["error"]["type"]), (429, "error", "rate_limit_error"))
        self.assertEqual((headers["anthropic-ratelimit-requests-limit"], headers["anthropic-ratelimit-requests-remaining"]), ("2", "0"))
        self.assertRegex(headers["anthropic-ratelimit-requests-reset"], r"^\d{4}-\d\d-\d\dT[\d:]+Z$")
        status, text, headers = self.host.request("GET", "/v2/models/echo", headers=key)
        self.assertEqual((status, type(json.loads(text)["error"])), (429, str))
        self.assertIn("ratelimit", headers)
        self.set(body_mb=0.01)
        status, body, _ = self.chat(key, messages=[{"role": "user", "content": "x" * 20_000}])
        self.assertEqual((status, body["error"]["type"]), (413, "invalid_request_error"))

    def test_places_come_back_when_streams_are_left(self):
        self.tenant(concurrency=4)
        key = self.key()

        def leave(number):
            with socket.create_connection(("127.0.0.1", self.host.port)) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                body = json.dumps({"model": "echo", "stream": True, "max_tokens": 200, "messages": [{"role": "user", "content": "a b c " * 50}]})
                connection.sendall((
                    f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: {key['authorization']}\r\n"
                    f"content-length: {len(body)}\r\n\r\n{body}").encode())
                time.sleep((number % 5) * 0.01)

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(leave, range(100)))
        wait_for(lambda: all(a[0] == 200 for a in concurrent.futures.ThreadPoolExecutor(4).map(lambda _: self.chat(key), range(4))), "free", 20)
        with concurrent.futures.ThreadPoolExecutor(60) as pool:
            statuses = list(pool.map(lambda _: self.chat(key, max_tokens=100)[0], range(60)))
        self.assertEqual(set(statuses) - {200, 429}, set())

    def test_a_platform_caller_that_names_a_tenant(self):
        self.tenant(requests_per_second=0.001, burst=1)
        named = {"x-swiftlet-tenant": self.name}
        self.assertEqual([self.chat(named)[0] for _ in range(2)], [200, 429])
        self.assertEqual(self.chat({})[0], 200)


if __name__ == "__main__":
    unittest.main()
