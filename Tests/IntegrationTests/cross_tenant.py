"""One tenant tries to see, use, change or notice another's things, in every way that we could think of.
Usage: cross_tenant.py PREFIX"""
import json
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import time
import unittest

from clients import Chats
from identity import Keys
from run import PREFIX, SWIFTLET, Host, handler

# What belongs to the victim and must be in no answer that the attacker gets.
MARK = "zebra-4711"
FUNCTION = f"fn-{MARK}"
# Ways to write a tenant's name that a careless program takes for the victim's.
SPELLINGS = [
    "victim", "VICTIM", "Victim", "%76ictim", "victi%6d", "victim%00", "victim%20", "victim.", "./victim", "attacker/../victim",
    "attacker%2f..%2fvictim", "attacker%2F%2E%2E%2Fvictim", "/victim", "victim//", "victim;a=b", "victim%2f", "vic%C2%ADtim", "ｖictim", "..;/victim",
    "attacker\\..\\victim", "*", "victim*", "platform",
]


class Attack(Keys, Chats, unittest.TestCase):
    tries = 0

    @classmethod
    def setUpClass(cls):
        cls.host = Host("--loopback", "key", "--prefix-memory-mb", "64")
        cls.host.environment["SWIFTLET_KEY"] = cls.host.admin_key
        for tenant in ("victim", "attacker"):
            cls.host.cli("tenant", "create", tenant)
        source = handler(f"""
            host->log(1, text("logged {MARK}"));
            host->write(text("answered {MARK}"));
            return SWIFTLET_OK;""")
        assert cls.host.deploy_c(FUNCTION, source, config={"word": MARK}).returncode == 0
        cls.host.cli("rm", FUNCTION)
        cls.host.cli("deploy", str(cls.host.work / FUNCTION), "--tenant", "victim")
        cls.host.deploy_c("own", handler("return echo(call, host);"))
        cls.host.cli("deploy", str(cls.host.work / "own"), "--tenant", "attacker")
        cls.host.cli("deploy", str(PREFIX / "plugins/echo"))
        cls.victim = cls.make("tenant_admin", "victim", comment=f"key {MARK}")
        cls.attackers = {role: cls.make(role, "attacker")["key"] for role in ("tenant_admin", "developer", "invoker", "viewer")}
        cls.routes = json.loads(subprocess.check_output([SWIFTLET, "routes", "--json"]))["routes"]
        assert cls.send("GET", f"/fn/victim/{FUNCTION}/", cls.victim["key"]) == (200, f"answered {MARK}".encode())

    @classmethod
    def tearDownClass(cls):
        text = cls.host.stop()[1]
        assert MARK not in text.replace(FUNCTION, ""), "the host's log holds what a tenant's function wrote or was sent"

    def raw(self, method, path, key, fields=(), body=""):
        """A request whose path goes out as it is, whatever it holds. The status and everything that came."""
        type(self).tries += 1
        lines = [f"{method} {path} HTTP/1.1", "host: localhost", "connection: close", f"content-length: {len(body)}"]
        lines += [f"authorization: Bearer {key}"] if key else []
        with socket.create_connection(("127.0.0.1", self.host.port), timeout=30) as line:
            line.sendall(("\r\n".join(lines + list(fields)) + "\r\n\r\n" + body).encode())
            got = b""
            while more := line.recv(65536):
                got += more
        return int(got.split()[1]), got

    def nothing(self, status, got, what):
        # Its own words come back in an error; the victim's never do.
        got = got.replace(what[-1].encode(), b"").replace(FUNCTION.encode(), b"")
        self.assertNotIn(MARK.encode(), got, what)
        self.assertNotIn(self.victim["id"].encode(), got, what)
        self.assertGreaterEqual(status, 400, what)
        self.assertLess(status, 500, (what, got))

    def test_every_route_of_a_tenant_in_every_spelling(self):
        for route in self.routes:
            if "{tenant}" not in route["path"]:
                continue
            for spelling in SPELLINGS:
                path = route["path"].replace("{tenant}", spelling).replace("{function}", FUNCTION).replace("{key}", self.victim["id"])
                path = path.replace("{name}", MARK).replace("{keyid}", MARK)
                method = route["method"] or "GET"
                status, got = self.raw(method, path, self.attackers["tenant_admin"], body="{}" if method != "GET" else "")
                self.nothing(status, got, (method, path))
        # What the victim has is still there.
        self.assertEqual(self.send("GET", f"/fn/victim/{FUNCTION}/", self.victim["key"]), (200, f"answered {MARK}".encode()))
        self.assertEqual(self.send("GET", "/admin/v1/tenants/victim", self.host.admin_key)[1]["state"], "active")

    def test_every_role_at_every_route_of_a_tenant(self):
        for route in self.routes:
            if "{tenant}" not in route["path"]:
                continue
            for role, key in self.attackers.items():
                path = route["path"].replace("{tenant}", "victim").replace("{function}", FUNCTION).replace("{key}", self.victim["id"])
                path = path.replace("{name}", MARK).replace("{keyid}", MARK)
                method = route["method"] or "GET"
                status, got = self.raw(method, path, key, body="{}" if method != "GET" else "")
                self.assertEqual(status, 403, (role, method, path, got))
                self.nothing(status, got, (role, method, path))

    def test_headers_that_claim_to_be_another(self):
        for field in ("x-swiftlet-tenant: victim", "x-swiftlet-principal: key:" + self.victim["id"], "x-tenant: victim", "host: victim",
                      "x-forwarded-host: victim", "x-original-url: /fn/victim/" + FUNCTION, "x-rewrite-url: /fn/victim/" + FUNCTION,
                      "x-http-method-override: DELETE", "openai-organization: victim", "openai-project: victim", "anthropic-version: victim",
                      "forwarded: for=127.0.0.1;host=localhost", "x-forwarded-for: 127.0.0.1", "cookie: tenant=victim"):
            for path in (f"/fn/victim/{FUNCTION}/", "/admin/v1/tenants/victim/keys", f"/admin/v1/logs/victim/{FUNCTION}"):
                status, got = self.raw("GET", path, self.attackers["tenant_admin"], [field])
                self.nothing(status, got, (field, path))

    def test_lists_hold_ones_own(self):
        for role, key in self.attackers.items():
            for path in ("/admin/v1/functions", "/admin/v1/whoami", "/v1/models", "/v2/repository/index", "/v2", "/admin/v1/tenants", "/admin/v1/keys",
                         "/admin/v1/workers", "/admin/v1/host", "/metrics", "/metrics?compat=vllm", "/admin/v1/models", "/v2/models/stats",
                         "/v2/models/echo/stats", "/admin/v1/usage", "/admin/v1/audit", "/admin/v1/tenants/attacker", "/admin/v1/tenants/attacker/keys"):
                status, got = self.raw("POST" if path.endswith("index") else "GET", path, key)
                self.assertNotIn(MARK.encode(), got, (role, path))
                self.assertNotIn(self.victim["id"].encode(), got, (role, path))
                self.assertNotIn(b"victim", got, (role, path))
                self.assertLess(status, 500, (role, path, got))

    def test_what_is_there_and_what_is_not_look_the_same(self):
        """Status, body and headers of a refusal say nothing about the other tenant."""
        def shape(path, key):
            status, got = self.raw("GET", path, key)
            head, _, body = got.partition(b"\r\n\r\n")
            lines = sorted(l.split(b":")[0] for l in head.split(b"\r\n")[1:])
            body = body.replace(FUNCTION.encode(), b"F").replace(b"fn-never-there", b"F").replace(b"victim", b"T").replace(b"never-was", b"T")
            try:
                fields = json.loads(body)
            except ValueError:
                return status, lines, body
            for words in (fields, fields.get("error", {})):
                for name in ("request_id", "instance"):
                    words.pop(name, None)
            return status, lines, fields
        for key in (*self.attackers.values(), None):
            for there, absent in (
                    (f"/fn/victim/{FUNCTION}/", "/fn/victim/fn-never-there/"), (f"/fn/victim/{FUNCTION}/", "/fn/never-was/fn-never-there/"),
                    ("/admin/v1/tenants/victim", "/admin/v1/tenants/never-was"), ("/admin/v1/tenants/victim/keys", "/admin/v1/tenants/never-was/keys"),
                    (f"/admin/v1/logs/victim/{FUNCTION}", "/admin/v1/logs/never-was/fn-never-there")):
                self.assertEqual(shape(there, key), shape(absent, key), (there, absent, key))

    def test_time_says_nothing(self):
        """The time of a refusal tells a function that is there from one that is not no better than chance."""
        key = self.attackers["invoker"]
        paths = {"there": f"/fn/victim/{FUNCTION}/", "absent": "/fn/victim/fn-zebra-0000/"}
        times = {name: [] for name in paths}
        turns = [name for name in paths for _ in range(400)]
        random.Random(5).shuffle(turns)
        import http.client
        line = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
        for name in turns:
            begin = time.perf_counter()
            line.request("GET", paths[name], headers={"authorization": f"Bearer {key}"})
            answer = line.getresponse()
            answer.read()
            times[name].append(time.perf_counter() - begin)
            self.assertEqual(answer.status, 403)
        line.close()
        type(self).tries += 1
        wins = sum((a > b) + (a == b) / 2 for a in times["there"] for b in times["absent"])
        area = wins / (len(times["there"]) * len(times["absent"]))
        # 0.5 is chance; with 400 of each the deviation of chance itself is 0.02.
        self.assertLess(abs(area - 0.5), 0.1, {n: statistics.median(t) for n, t in times.items()})

    def test_answers_of_the_cache_are_ones_own(self):
        body = json.dumps({"model": "echo", "temperature": 0, "max_tokens": 4, "messages": [{"role": "user", "content": f"about {MARK}"}]})
        seen = []
        for key in (self.victim["key"], self.victim["key"], self.attackers["invoker"]):
            status, _, headers = self.host.request(
                "POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}", "x-swiftlet-cache": "on"})
            self.assertEqual(status, 200)
            seen.append(headers["x-swiftlet-cache"])
        type(self).tries += 1
        self.assertEqual(seen, ["miss", "hit", "miss"])

    def test_prefixes_of_another_are_not_counted_as_cached(self):
        text = f"{MARK} " + "one two three four five six seven eight nine ten " * 20
        body = json.dumps({"model": "echo", "temperature": 0, "max_tokens": 1, "messages": [{"role": "user", "content": text}]})
        cached = []
        for key in (self.victim["key"], self.victim["key"], self.attackers["invoker"], self.attackers["invoker"]):
            answer = self.send("POST", "/v1/chat/completions", key, body)[1]
            cached.append(answer["usage"].get("prompt_tokens_details", {}).get("cached_tokens", 0))
        type(self).tries += 1
        self.assertEqual(cached[2], 0, cached)
        self.assertGreater(cached[3], 0, cached)

    def test_models_of_a_tenant_are_its_settings(self):
        self.send("PATCH", "/admin/v1/tenants/attacker", self.host.admin_key, {"settings": {"models": ["none-*"]}})
        try:
            key = self.attackers["invoker"]
            chat = {"model": "echo", "messages": [{"role": "user", "content": "x"}]}
            for path, body in (
                    ("/v1/chat/completions", chat), ("/v1/chat/completions", {**chat, "model": "echo@latest"}), ("/v1/completions", {"model": "echo", "prompt": "x"}),
                    ("/v1/messages", {**chat, "max_tokens": 1}), ("/v1/messages/count_tokens", chat), ("/v1/responses", {"model": "echo", "input": "x"}),
                    ("/tokenize", {"model": "echo", "prompt": "x"}), ("/v1/embeddings", {"model": "echo", "input": "x"}),
                    ("/v1/rerank", {"model": "echo", "query": "x", "documents": ["y"]}), ("/v2/models/echo/infer", {"inputs": []}),
                    ("/v2/models/echo@latest/infer", {"inputs": []}), ("/v2/models/echo/versions/1.0.0/infer", {"inputs": []})):
                status, answer = self.send("POST", path, key, body)
                type(self).tries += 1
                self.assertEqual(status, 403, (path, answer))
            self.assertEqual(self.send("GET", "/v1/models", key)[1]["data"], [])
            self.assertEqual(self.send("GET", "/v2/models/echo", key)[0], 403)
        finally:
            self.send("PATCH", "/admin/v1/tenants/attacker", self.host.admin_key, {"settings": {}})

    def test_a_handler_sees_no_file_of_another(self):
        """A handler of the attacker's looks for the victim's artefacts, wherever the host keeps them."""
        state = pathlib.Path(self.host.work / "state")
        digests = [p.name for p in (state / "artefacts/victim").glob("*")] if (state / "artefacts/victim").exists() else []
        candidates = ["/", "/..", "../..", "../../victim", "/proc/1/root", str(state), str(state / "registry.db"), str(state / "artefacts/victim"),
                      *(f"../{d}/plugin.so" for d in digests), *(f"../../victim/{d}/plugin.so" for d in digests)]
        body = "".join(f"""
            {{ int fd = open({json.dumps(path)}, O_RDONLY); if (fd >= 0) {{ host->write(text("opened " {json.dumps(path)} "\\n")); close(fd); }} }}"""
                       for path in candidates)
        done = self.host.deploy_c("looks", handler(body + "\nreturn SWIFTLET_OK;"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.host.cli("deploy", str(self.host.work / "looks"), "--tenant", "attacker")
        status, text = self.send("GET", "/fn/attacker/looks/", self.attackers["invoker"])
        type(self).tries += len(candidates)
        self.assertEqual((status, text), (200, b""))

    def test_deploying_into_another(self):
        folder = str(self.host.work / "own")
        for key in (self.attackers["tenant_admin"], self.attackers["developer"]):
            for tenant in ("victim", "platform", "default", "Victim", "new-one"):
                type(self).tries += 1
                self.host.environment["SWIFTLET_KEY"] = key
                try:
                    self.assertEqual(self.host.cli("deploy", folder, "--tenant", tenant, check=False).returncode, 1, tenant)
                finally:
                    self.host.environment["SWIFTLET_KEY"] = self.host.admin_key

    def test_zz_there_were_enough_tries(self):
        print(f"{self.tries} tries", file=sys.stderr)
        self.assertGreater(self.tries, 300)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])
