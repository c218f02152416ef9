"""The usage ledger: its rows add up to /metrics and to what clients saw, over kills and a full disk. Usage: usage.py PREFIX"""
import concurrent.futures
import csv
import ctypes
import decimal
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import threading
import time
import unittest

from run import PREFIX, Host, handler, make_work, wait_for

SAMPLE = re.compile(r'^(\w+)(?:\{(.*)\})? (\S+)$')


def deploy(host, tenant, name, body, **manifest):
    folder = host.work / f"{tenant}-{name}"
    folder.mkdir()
    (folder / "handler.c").write_text(handler(body))
    (folder / "swiftlet.json5").write_text(json.dumps(
        {"name": name, "kind": "handler", "version": "1.0.0", "language": "c", "idle_timeout_s": 60, **manifest}))
    host.cli("deploy", str(folder), "--tenant", tenant)


def deploy_echo(host, name, **config):
    """A model of the Echo backend."""
    folder = host.work / f"model-{name}"
    folder.mkdir()
    shutil.copy(PREFIX / "plugins/echo/EchoBackend.so", folder)
    (folder / "swiftlet.json5").write_text(json.dumps({
        "name": name, "kind": "backend", "version": "1.0.0", "library": "EchoBackend.so", "context_tokens": 4096,
        "limits": {"memory_mb": 64, "threads": 1}, "max_sequences": 8, "max_step_tokens": 128, "config": config}))
    host.cli("deploy", str(folder))


def metrics(host):
    """Samples by name and labels, with all their digits."""
    found = {}
    for line in host.request("GET", "/metrics?compat=none")[1].decode().splitlines():
        match = SAMPLE.match(line)
        if match:
            labels = frozenset(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
            found[match[1], labels] = decimal.Decimal(match[3])
    return found


def pages(host, query):
    """Everything that the route says, and how many rows were lost."""
    lines, after = [], 0
    while True:
        status, body, _ = host.request("GET", f"/admin/v1/usage?{query}&after={after}")
        if status != 200:
            raise AssertionError(body)
        page = json.loads(body)
        lines += page.get("rows", page.get("groups"))
        if "next" not in page:
            return lines, page["lost"]
        after = page["next"]


def rows(host, query="limit=1000"):
    return pages(host, f"rows=1&since=2d&until={int(time.time() * 1000) + 60_000}&{query}")[0]


def settled(host, count):
    """The rows, once there are so many and nothing more comes."""
    wait_for(lambda: len(rows(host)) >= count, f"{count} rows are stored, not {len(rows(host))}", seconds=15)
    time.sleep(0.3)
    return rows(host)


class Sums(unittest.TestCase):
    """After a mixed load: what clients were told, the rows, their sums by hour and day, and /metrics are the same."""

    @classmethod
    def setUpClass(cls):
        cls.work = make_work()
        (cls.work / "tenants.json5").write_text("{ short: { tokens_total: 90 }, few: { requests_at_once: 1 } }")
        cls.host = Host("--tenants", str(cls.work / "tenants.json5"), work=cls.work)
        for tenant in ("a", "b"):
            deploy(cls.host, tenant, "echo", "return echo(call, host);", limits={"body_mb": 1})
            deploy(cls.host, tenant, "slow", "usleep(300000); return echo(call, host);")
        deploy(cls.host, "a", "fails", 'host->fail(text("no")); return SWIFTLET_FAILED;')
        deploy(cls.host, "a", "crashes", "abort();")
        deploy(cls.host, "a", "busy", "for (volatile long i = 0; i < 20000000; i++) {} return echo(call, host);")
        deploy(cls.host, "b", "late", "for (;;) usleep(10000);", limits={"timeout_ms": 200})
        deploy(cls.host, "b", "fresh", "return echo(call, host);", reuse="request")
        deploy_echo(cls.host, "plain")
        deploy_echo(cls.host, "slowly", step_us=20_000)
        deploy_echo(cls.host, "fails", fail_at=4)
        deploy_echo(cls.host, "crashes", crash_at=3)
        cls.lock = threading.Lock()
        cls.seen = {}
        cls.load()
        cls.rows = settled(cls.host, sum(cls.seen.values()))
        cls.metrics = metrics(cls.host)

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    @classmethod
    def saw(cls, tenant, kind, name, status):
        with cls.lock:
            cls.seen[tenant, kind, name, status] = cls.seen.get((tenant, kind, name, status), 0) + 1

    @classmethod
    def call(cls, tenant, name, body=b"hello"):
        status, _, _ = cls.host.request("POST", f"/fn/{tenant}/{name}/", body)
        cls.saw(tenant, "invoke", name, status)

    @classmethod
    def ask(cls, tenant, model, path="/v1/chat/completions", **fields):
        body = {"model": model, **fields}
        if path == "/v1/chat/completions":
            body = {"messages": [{"role": "user", "content": "say something rather long"}], "temperature": 0, **body}
        status, answer, _ = cls.host.request("POST", path, json.dumps(body), {"x-swiftlet-tenant": tenant})
        cls.saw(tenant, "model", model if status != 404 else "_unknown", status)
        return answer

    @classmethod
    def leave(cls, tenant, kind, name, path, body, after, headers={}):
        """Sends a request and goes away."""
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        with socket.create_connection(("127.0.0.1", cls.host.port)) as client:
            client.sendall(f"POST {path} HTTP/1.1\r\nhost: localhost\r\n{lines}content-length: {len(body)}\r\n\r\n{body}".encode())
            time.sleep(after)
        cls.saw(tenant, kind, name, "left")

    @classmethod
    def load(cls):
        chat = lambda model, **more: json.dumps(
            {"model": model, "messages": [{"role": "user", "content": "x" * 60}], "temperature": 0, **more})
        jobs = []
        for tenant in ("a", "b"):
            jobs += [lambda t=tenant: cls.call(t, "echo") for _ in range(60)]
            jobs += [lambda t=tenant: cls.call(t, "echo", b"x" * 200_000) for _ in range(3)]
            jobs += [lambda t=tenant: cls.call(t, "echo", b"x" * 1_200_000) for _ in range(2)]
            jobs += [lambda t=tenant: cls.leave(t, "invoke", "slow", f"/fn/{t}/slow/", "x", 0.1) for _ in range(3)]
            jobs += [lambda t=tenant: cls.ask(t, "plain") for _ in range(10)]
            jobs += [lambda t=tenant: cls.ask(t, "plain", stream=True) for _ in range(10)]
            jobs += [lambda t=tenant: cls.ask(t, "plain", n=3) for _ in range(2)]
            jobs += [lambda t=tenant: cls.ask(t, "plain", "/v1/embeddings", input=["some", "texts here"]) for _ in range(5)]
            jobs += [lambda t=tenant: cls.ask(t, "plain", "/tokenize", content="some text") for _ in range(2)]
            jobs += [lambda t=tenant: cls.leave(
                t, "model", "slowly", "/v1/chat/completions", chat("slowly", stream=True), 0.5, {"x-swiftlet-tenant": t})
                for _ in range(3)]
            jobs += [lambda t=tenant: cls.ask(t, "fails"), lambda t=tenant: cls.ask(t, "fails", stream=True)]
            jobs += [lambda t=tenant: cls.ask(t, "nobody")]
            jobs += [lambda t=tenant: cls.ask(t, "plain", max_tokens=10**7)]
        jobs += [lambda: cls.ask("short", "plain", messages=[{"role": "user", "content": "x" * 40}], max_tokens=500)
                 for _ in range(4)]
        jobs += [lambda: cls.ask("few", "slowly") for _ in range(4)]
        jobs += [lambda: cls.call("a", "fails") for _ in range(5)]
        jobs += [lambda: cls.call("a", "crashes") for _ in range(3)]
        jobs += [lambda: cls.call("a", "busy") for _ in range(3)]
        jobs += [lambda: cls.call("b", "late") for _ in range(2)]
        jobs += [lambda: cls.call("b", "fresh") for _ in range(4)]
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            for job in [pool.submit(job) for job in jobs]:
                job.result()
        for _ in range(2):
            cls.ask("a", "crashes")

    def sums(self, key, value, where=lambda row: True):
        found = {}
        for row in self.rows:
            if where(row):
                found[key(row)] = found.get(key(row), 0) + value(row)
        return found

    def counter(self, name, *labels):
        """The counter's samples that are not 0 by the values of these labels."""
        return {
            tuple(dict(found)[label] for label in labels): value
            for (sample, found), value in self.metrics.items() if sample == name and value}

    def test_each_request_of_a_client_is_a_row_with_its_status(self):
        status = lambda row: "left" if row["outcome"] == "cancelled" else row["status"]
        found = self.sums(lambda row: (row["tenant"], row["kind"], row["name"], status(row)), lambda row: 1)
        # A stream that failed on its way had begun with 200.
        self.assertEqual(found, self.seen)
        self.assertEqual(len({row["request_id"] for row in self.rows}), len(self.rows))

    def test_outcomes(self):
        found = self.sums(lambda row: (row["kind"], row["name"], row["outcome"]), lambda row: 1)
        for key, expected in {
            ("invoke", "echo", "success"): 126, ("invoke", "echo", "refused"): 4, ("invoke", "slow", "cancelled"): 6,
            ("invoke", "fails", "failed"): 5, ("invoke", "crashes", "crashed"): 3, ("invoke", "late", "timed_out"): 2,
            ("invoke", "fresh", "success"): 4, ("model", "_unknown", "refused"): 2, ("model", "slowly", "cancelled"): 6, ("model", "crashes", "failed"): 2,
        }.items():
            self.assertEqual(found.get(key), expected, key)
        # Requests that share the step that fails do so together.
        self.assertGreater(found["model", "fails", "failed"], 0)
        # The quota cut one short, and refused the rest.
        outcomes = [row["outcome"] for row in self.rows if row["tenant"] == "short"]
        self.assertEqual((len(outcomes), outcomes.count("refused") + outcomes.count("success")), (4, 4))
        self.assertIn("refused", outcomes)
        self.assertIn("success", outcomes)

    def test_calls_by_outcome_are_those_of_metrics(self):
        key = lambda row: (row["tenant"], row["kind"], row["name"], row["outcome"])
        self.assertEqual(
            self.sums(key, lambda row: 1), self.counter("swiftlet_usage_calls_total", "tenant", "kind", "name", "outcome"))
        invoked = self.sums(
            lambda row: (row["outcome"],), lambda row: 1, lambda row: row["kind"] == "invoke" and row["outcome"] != "refused")
        self.assertEqual(invoked, self.counter("swiftlet_invocations_total", "outcome"))
        refused = [row for row in self.rows if row["kind"] == "invoke" and row["outcome"] == "refused"]
        self.assertEqual(len(refused), self.metrics["swiftlet_refusals_total", frozenset()])

    def test_every_sum_is_that_of_metrics(self):
        key = lambda row: (row["tenant"], row["kind"], row["name"])
        for name in ("tokens_in", "tokens_cached", "tokens_out", "bytes_in", "bytes_out", "cold"):
            found = self.sums(key, lambda row: int(row[name]), lambda row: row[name])
            self.assertEqual(found, self.counter(f"swiftlet_usage_{name}_total", "tenant", "kind", "name"), name)
        for name in ("queued", "run", "device", "cpu"):
            found = self.sums(
                key, lambda row: decimal.Decimal(row[name + "_ns"]) / 10**9, lambda row: row.get(name + "_ns"))
            self.assertEqual(found, self.counter(f"swiftlet_usage_{name}_seconds_total", "tenant", "kind", "name"), name)

    def test_models_count_the_same_tokens_and_device_time(self):
        # These are counted step by step, by the models, and not by the ledger.
        models = lambda row: row["kind"] == "model"
        key = lambda row: (row["name"], row["tenant"])
        for kind, name in (("prompt", "tokens_in"), ("cached", "tokens_cached"), ("generation", "tokens_out")):
            theirs = {k[:2]: v for k, v in self.counter("swiftlet_tenant_tokens_total", "model", "tenant", "kind").items() if k[2] == kind}
            self.assertEqual(self.sums(key, lambda row: row[name], lambda row: models(row) and row[name]), theirs, kind)
        device = self.sums(key, lambda row: decimal.Decimal(row["device_ns"]) / 10**9, lambda row: row["device_ns"])
        self.assertEqual(device, self.counter("swiftlet_tenant_device_seconds_total", "model", "tenant"))
        self.assertTrue(device[("plain", "a")] > 0 and device[("slowly", "a")] > 0, device)

    def test_handlers_run_time_is_the_same(self):
        run = sum(row["run_ns"] for row in self.rows if row["kind"] == "invoke")
        self.assertEqual(decimal.Decimal(run) / 10**9, self.metrics["swiftlet_invocation_run_seconds_total", frozenset()])
        cold = sum(row["cold"] for row in self.rows if row["kind"] == "invoke")
        self.assertEqual(cold, self.metrics["swiftlet_cold_starts_total", frozenset()])

    def test_roll_ups_are_the_rows(self):
        for by, key in {
            "function": lambda row: (row["tenant"], "invoke", row["name"]), "model": lambda row: (row["tenant"], "model", row["name"]),
        }.items():
            groups, _ = pages(self.host, f"by={by}&limit=2")
            for name in ("tokens_in", "tokens_out", "device_ns", "run_ns", "bytes_in", "bytes_out"):
                found = self.sums(key, lambda row: row[name], lambda row: row["kind"] == key(row)[1])
                self.assertEqual({key(group): group[name] for group in groups}, found, (by, name))
        for by in ("hour", "day", "key"):
            groups, _ = pages(self.host, f"by={by}")
            self.assertEqual(sum(group["calls"] for group in groups), len(self.rows), by)
            for outcome in ("success", "refused", "cancelled"):
                self.assertEqual(
                    sum(group[outcome] for group in groups), len([r for r in self.rows if r["outcome"] == outcome]), by)

    def test_cpu_time_is_told(self):
        busy = [row.get("cpu_ns", 0) for row in self.rows if row["name"] == "busy"]
        run = [row["run_ns"] for row in self.rows if row["name"] == "busy"]
        self.assertTrue(sum(busy) > 0.2 * sum(run) and sum(busy) < 1.5 * sum(run), (busy, run))
        crashed = [row for row in self.rows if row["outcome"] == "crashed"]
        self.assertTrue(all(row["memory_peak_bytes"] > 0 for row in crashed), crashed)

    def test_a_tenant_and_a_time_can_be_asked_for(self):
        mine = rows(self.host, "tenant=a&limit=7")
        self.assertEqual(len(mine), len([row for row in self.rows if row["tenant"] == "a"]))
        self.assertEqual({row["tenant"] for row in mine}, {"a"})
        self.assertEqual(pages(self.host, "rows=1&since=2020-01-01&until=2020-01-02")[0], [])
        for query in ("by=year", "since=never", "limit=5000", "what=ever"):
            status, error = self.host.error("/admin/v1/usage?" + query)
            self.assertEqual((status, error["code"]), (400, "bad_request"), query)

    def test_the_command_line(self):
        table = self.host.cli("usage", "--tenant", "a", "--by", "model").stdout
        self.assertRegex(table, r"(?m)^TENANT +KIND +NAME +CALLS")
        self.assertRegex(table, r"(?m)^a +model +plain ")
        lines = list(csv.DictReader(io.StringIO(self.host.cli("usage", "--rows", "--csv").stdout)))
        self.assertEqual(len(lines), len(self.rows))
        self.assertEqual(sum(int(line["tokens_out"]) for line in lines), sum(row["tokens_out"] for row in self.rows))
        lines = [json.loads(line) for line in self.host.cli("usage", "--by", "key", "--json").stdout.splitlines()]
        self.assertEqual(sum(line["calls"] for line in lines), len(self.rows))
        self.assertEqual({line["key"] for line in lines}, {"local"})
        self.assertEqual(self.host.cli("usage", "--by", "year", check=False).returncode, 1)
        self.assertEqual(self.host.cli("usage", "--csv", "--json", check=False).returncode, 2)


class Kills(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.host.deploy_c("echo", handler("return echo(call, host);"))

    def tearDown(self):
        self.host.stop()

    def send(self, count):
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
        for _ in range(count):
            connection.request("POST", "/fn/default/echo/", b"x")
            self.assertEqual(connection.getresponse().read(), b"x")
        connection.close()

    def restart(self):
        work = self.host.work
        self.host.kill()
        self.host = Host(work=work)

    def test_what_a_kill_takes_is_counted_to_the_row(self):
        answered = lost = 0
        for count in (300, 1, 40, 170):
            self.send(count)
            answered += count
            self.restart()
            found, more = pages(self.host, "rows=1&limit=1000")
            self.assertEqual(len(found) + more, answered)
            self.assertGreaterEqual(more, lost)
            lost = more
        self.assertGreater(lost, 0, "each kill came a moment after an answer")
        self.assertLess(lost, answered)
        self.assertEqual(metrics(self.host)["swiftlet_usage_lost_rows_total", frozenset()], lost)
        self.assertIn(f"{lost} calls were lost", self.host.cli("usage").stderr)
        self.assertEqual(sum(group["calls"] for group in pages(self.host, "by=hour")[0]), answered - lost)

    def test_what_is_older_than_a_moment_is_kept(self):
        self.send(500)
        time.sleep(0.3)
        self.restart()
        found, lost = pages(self.host, "rows=1&limit=1000")
        self.assertEqual((len(found), lost), (500, 0))

    def test_a_kill_under_load_loses_no_count(self):
        for _ in range(3):
            before = sum(pages(self.host, "rows=1&limit=1000")[1:], len(rows(self.host)))
            answered, over = [0] * 4, threading.Event()

            def client(number):
                connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
                try:
                    while not over.is_set():
                        connection.request("POST", "/fn/default/echo/", b"x")
                        if connection.getresponse().read() == b"x":
                            answered[number] += 1
                except (OSError, http.client.HTTPException):
                    pass
                finally:
                    connection.close()
            threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.5)
            os.kill(self.host.process.pid, signal.SIGKILL)
            over.set()
            for thread in threads:
                thread.join()
            self.restart()
            found, lost = rows(self.host), pages(self.host, "by=hour")[1]
            # An answer that was made and did not arrive any more is the client's loss, not the ledger's: at most one each.
            self.assertTrue(0 <= len(found) + lost - before - sum(answered) <= 4, (len(found), lost, before, answered))

    def test_a_host_that_ends_by_itself_loses_nothing(self):
        self.send(50)
        self.host.end()
        self.host = Host(work=self.host.work)
        found, lost = pages(self.host, "rows=1&limit=1000")
        self.assertEqual((len(found), lost), (50, 0))


@unittest.skipUnless(os.geteuid() == 0, "a full disk of one's own needs root")
class FullDisk(unittest.TestCase):
    def test_calls_go_on_and_rows_wait(self):
        work = make_work()
        (work / "state").mkdir()
        libc = ctypes.CDLL(None, use_errno=True)

        def own_disk():
            new_mounts, private, recursive = 0x20000, 1 << 18, 1 << 14
            if libc.unshare(new_mounts) or libc.mount(None, b"/", None, private | recursive, None):
                os._exit(97)
            if libc.mount(b"tmpfs", str(work / "state").encode(), b"tmpfs", 0, b"size=24m,mode=755"):
                os._exit(98)
        host = Host(work=work, preexec_fn=own_disk)
        try:
            host.deploy_c("echo", handler("return echo(call, host);"))
            call = lambda: self.assertEqual(host.request("POST", "/fn/default/echo/", b"x")[:2], (200, b"x"))
            call()
            wait_for(lambda: len(rows(host)) == 1, "the first row is stored")
            filler = f"/proc/{host.process.pid}/root{work}/state/filler"
            with open(filler, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
            for _ in range(600):
                call()
            time.sleep(1.5)
            stored = len(rows(host))
            self.assertLess(stored, 601)
            text = (work / "host.log").read_text()
            self.assertEqual(text.count("the usage ledger can't be written"), 1, text)
            os.unlink(filler)
            wait_for(lambda: len(rows(host)) == 601, "what waited is stored")
            self.assertEqual(pages(host, "by=hour")[1], 0)
        finally:
            host.stop()


if __name__ == "__main__":
    unittest.main()
