"""Tenants, keys and roles over HTTP: who is let in, who is not, and that nobody sees another tenant's things.
Usage: identity.py PREFIX"""
import concurrent.futures
import http.client
import json
import socket
import subprocess
import sys
import time
import unittest

from run import PREFIX, ROOT, SWIFTLET, Host, handler, wait_for

ROLES = {
    "platform": ["platform_admin", "platform_operator", "platform_viewer"],
    "tenant": ["tenant_admin", "developer", "invoker", "viewer"],
}
EVERYBODY, KNOWN = "everybody", "known"
PERMISSIONS = {
    "platform_admin": {"invoke", "infer", "read", "readLogs", "readAudit", "deploy", "manageSecrets", "manageTenant", "readPlatform", "operate", "administer"},
    "platform_operator": {"read", "readLogs", "readAudit", "readPlatform", "operate"},
    "platform_viewer": {"read", "readAudit", "readPlatform"},
    "tenant_admin": {"invoke", "infer", "read", "readLogs", "readAudit", "deploy", "manageSecrets", "manageTenant"},
    "developer": {"invoke", "infer", "read", "readLogs", "deploy", "manageSecrets"},
    "invoker": {"invoke", "infer"},
    "viewer": {"read", "readLogs"},
}


# Says what header fields it was given.
HEADERS = handler("""
    for (size_t i = 0; i < call->header_count; i++) {
        host->write(call->headers[i].name);
        host->write(text(": "));
        host->write(call->headers[i].value);
        host->write(text("\\n"));
    }
    return SWIFTLET_OK;""")


class Keys:
    """For a test class with a `host`: keys are made by the admin's, and requests show one."""

    @classmethod
    def make(cls, role, tenant=None, **wanted):
        path = f"/admin/v1/tenants/{tenant}/keys" if tenant else "/admin/v1/keys"
        status, body = cls.send("POST", path, cls.host.admin_key, {"role": role, **wanted})
        assert status == 201, body
        return body

    @classmethod
    def send(cls, method, path, key=None, body=None, headers=None):
        """The status and the answer's JSON, or its text."""
        fields = {"authorization": f"Bearer {key}"} if key else {}
        text = json.dumps(body) if isinstance(body, (dict, list)) else body
        status, answer, _ = cls.host.request(method, path, text, {**fields, **(headers or {})})
        try:
            return status, json.loads(answer)
        except ValueError:
            return status, answer


class KeyLife(Keys, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host("--loopback", "key")
        cls.host.environment["SWIFTLET_KEY"] = cls.host.admin_key
        for tenant in ("acme", "other"):
            cls.host.cli("tenant", "create", tenant)
        cls.host.deploy_c("echo", handler("return echo(call, host);"))
        for tenant in ("acme", "other"):
            cls.host.cli("deploy", str(cls.host.work / "echo"), "--tenant", tenant)

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def refused(self, key, path="/fn/acme/echo/", status=401, **more):
        got, body = self.send("POST", path, key, "x", **more)
        self.assertEqual(got, status, body)
        return body

    def test_without_a_key_nothing_but_health_answers(self):
        routes = json.loads(subprocess.check_output([SWIFTLET, "routes", "--json"]))["routes"]
        self.assertGreater(len(routes), 40)
        for route in routes:
            path = route["path"].replace("{tenant}", "acme").replace("{function}", "echo").replace("{key}", "k").replace("{rest}", "r")
            path += "/live" if route["name"] == "tensorHealth" else ""
            status, body = self.send(route["method"] or "GET", path)
            self.assertEqual(status, 200 if route["needs"] == EVERYBODY else 401, (route, body))
        self.assertEqual(self.host.request("GET", "/fn/acme/echo/")[2]["www-authenticate"], 'Bearer realm="swiftlet"')

    def test_a_key_works_until_it_is_revoked(self):
        made = self.make("invoker", "acme", comment="for a test")
        self.assertRegex(made["key"], r"^swl_tenant_[0-9A-Za-z]{38}$")
        self.assertEqual(self.send("POST", "/fn/acme/echo/", made["key"], "x"), (200, b"x"))
        listed = self.send("GET", "/admin/v1/tenants/acme/keys", self.host.admin_key)[1]["keys"]
        mine = [k for k in listed if k["id"] == made["id"]]
        self.assertEqual((mine[0]["comment"], mine[0]["state"]), ("for a test", "active"))
        self.assertNotIn(made["key"], json.dumps(listed))
        self.assertEqual(self.send("DELETE", f"/admin/v1/tenants/acme/keys/{made['id']}", self.host.admin_key)[0], 200)
        self.refused(made["key"])
        self.assertEqual(self.send("DELETE", f"/admin/v1/tenants/acme/keys/{made['id']}", self.host.admin_key)[0], 404)

    def test_the_request_after_a_revocation_fails_on_every_connection(self):
        made = self.make("invoker", "acme")
        lines = [http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30) for _ in range(8)]
        headers = {"authorization": f"Bearer {made['key']}"}

        def ask(line):
            line.request("POST", "/fn/acme/echo/", "x", headers)
            answer = line.getresponse()
            answer.read()
            return answer.status
        self.assertEqual([ask(line) for line in lines], [200] * 8)
        self.send("DELETE", f"/admin/v1/tenants/acme/keys/{made['id']}", self.host.admin_key)
        for line in lines:
            self.assertIn(ask(line), (401, 429))
        for line in lines:
            line.close()

    def test_a_key_expires_on_its_second(self):
        made = self.make("invoker", "acme", expires_in_s=1)
        self.assertEqual(self.send("POST", "/fn/acme/echo/", made["key"], "x")[0], 200)
        time.sleep(max(0, made["expires_at_ms"] / 1000 - time.time()) + 0.01)
        self.assertIn("expired", json.dumps(self.refused(made["key"])))
        self.assertEqual(self.send("POST", f"/admin/v1/tenants/acme/keys/{made['id']}/rotate", self.host.admin_key)[0], 409)

    def test_a_rotated_key_overlaps_with_the_new_one(self):
        old = self.make("invoker", "acme", functions=["echo"])
        path = f"/admin/v1/tenants/acme/keys/{old['id']}/rotate"
        status, new = self.send("POST", path, self.host.admin_key, {"overlap_s": 1})
        self.assertEqual((status, new["functions"], new["role"]), (201, ["echo"], "invoker"))
        for key in (old["key"], new["key"]):
            self.assertEqual(self.send("POST", "/fn/acme/echo/", key, "x")[0], 200)
        time.sleep(1.1)
        self.refused(old["key"])
        self.assertEqual(self.send("POST", "/fn/acme/echo/", new["key"], "x")[0], 200)
        status, last = self.send("POST", f"/admin/v1/tenants/acme/keys/{new['id']}/rotate", self.host.admin_key, {"overlap_s": 0})
        self.assertEqual(status, 201)
        self.refused(new["key"])

    def test_keys_that_are_no_keys(self):
        good = self.make("invoker", "acme")["key"]
        for bad in (good[:-1], good[:20], good + good, good + "0", good.swapcase(), "swl_", "swl_tenant_", good.replace("tenant", "platform"),
                    good[:15] + "ä" + good[16:], "Bearer " + good, " " + good, good + " x", "x" * 5000, "null", "%s%n", "' OR 1=1 --", "🔑"):
            headers = {"authorization": f"Bearer {bad}".encode()}
            status, body = self.send("POST", "/fn/acme/echo/", None, "x", headers=headers)
            self.assertIn(status, (401, 429), (bad, body))
            self.assertNotIn(good, json.dumps(body) if isinstance(body, dict) else body.decode())
        for value in ("", "Bearer", "Bearer ", "Basic YTpi", good, "bearer  " + good):
            status, body = self.send("POST", "/fn/acme/echo/", None, "x", headers={"authorization": value})
            self.assertIn(status, (401, 429), (value, body))
        self.assertEqual(self.send("POST", "/fn/acme/echo/", None, "x", headers={"authorization": f"bearer {good}"})[0], 200)
        self.assertEqual(self.send("POST", "/fn/acme/echo/", None, "x", headers={"x-api-key": good})[0], 200)

    def test_two_credentials_are_none(self):
        one, two = self.make("invoker", "acme")["key"], self.make("invoker", "other")["key"]
        for fields in ([f"authorization: Bearer {one}", f"authorization: Bearer {two}"], [f"authorization: Bearer {one}", f"x-api-key: {two}"]):
            with socket.create_connection(("127.0.0.1", self.host.port)) as line:
                line.sendall(("GET /fn/acme/echo/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n" + "\r\n".join(fields) + "\r\n\r\n").encode())
                self.assertIn(line.recv(4096).split()[1], (b"401", b"429"))

    def test_scopes_and_patterns_narrow_a_key(self):
        invoke = self.make("tenant_admin", "acme", scopes=["invoke"])["key"]
        self.assertEqual(self.send("POST", "/fn/acme/echo/", invoke, "x")[0], 200)
        self.assertEqual(self.send("GET", "/admin/v1/functions", invoke)[0], 403)
        read = self.make("tenant_admin", "acme", scopes=["read"])["key"]
        self.assertEqual(self.send("GET", "/admin/v1/functions", read)[0], 200)
        self.refused(read, status=403)
        narrow = self.make("developer", "acme", functions=["ec*", "x"])["key"]
        self.assertEqual(self.send("POST", "/fn/acme/echo/", narrow, "x")[0], 200)
        none = self.make("developer", "acme", functions=["other-*"])["key"]
        self.refused(none, status=403)
        self.assertEqual(self.send("DELETE", "/admin/v1/functions/acme/echo", none)[0], 403)
        self.assertEqual(self.send("GET", "/admin/v1/functions", none)[1]["functions"], [])

    def test_nobody_hands_out_more_than_they_have(self):
        admin = self.make("tenant_admin", "acme")["key"]
        path = "/admin/v1/tenants/acme/keys"
        self.assertEqual(self.send("POST", path, admin, {"role": "developer"})[0], 201)
        self.assertEqual(self.send("POST", path, admin, {"role": "platform_admin"})[0], 422)
        self.assertEqual(self.send("POST", "/admin/v1/tenants/other/keys", admin, {"role": "viewer"})[0], 403)
        self.assertEqual(self.send("POST", "/admin/v1/keys", admin, {"role": "platform_viewer"})[0], 403)
        narrow = self.make("tenant_admin", "acme", functions=["a*"])["key"]
        self.assertEqual(self.send("POST", path, narrow, {"role": "developer"})[0], 403)
        self.assertEqual(self.send("POST", path, narrow, {"role": "developer", "functions": ["*"]})[0], 403)
        self.assertEqual(self.send("POST", path, narrow, {"role": "developer", "functions": ["ab*", "abc"]})[0], 201)

    def test_wishes_that_are_no_keys(self):
        path = "/admin/v1/tenants/acme/keys"
        for body in ({}, {"role": "god"}, {"role": "viewer", "scopes": ["all"]}, {"role": "viewer", "functions": ["../x"]}, {"role": "viewer", "x": 1},
                     {"role": "viewer", "expires_in_s": 0}, {"role": "viewer", "expires_in_s": -1}, {"role": "viewer", "expires_in_s": 1e99},
                     {"role": "viewer", "comment": "x" * 300}, {"role": "viewer", "comment": "a\nb"}, {"role": ["viewer"]}, "[]", "{", "null", "\0"):
            status, answer = self.send("POST", path, self.host.admin_key, body)
            self.assertIn(status, (400, 422), (body, answer))
        self.assertEqual(self.send("POST", path, self.host.admin_key, "x" * 70_000)[0], 413)
        self.assertEqual(self.send("POST", "/admin/v1/tenants/nobody/keys", self.host.admin_key, {"role": "viewer"})[0], 404)

    def test_a_handler_never_sees_a_credential(self):
        self.assertEqual(self.host.deploy_c("shows", HEADERS).returncode, 0)
        self.host.cli("deploy", str(self.host.work / "shows"), "--tenant", "acme")
        key = self.make("invoker", "acme")
        spoofed = {"x-swiftlet-principal": "key:admin", "x-swiftlet-tenant": "other", "x-mine": "1"}
        for fields in ({"authorization": f"Bearer {key['key']}"}, {"x-api-key": key["key"]}):
            status, body = self.send("GET", "/fn/acme/shows/", headers={**fields, **spoofed})
            self.assertEqual(status, 200, body)
            text = body.decode()
            self.assertNotIn(key["key"], text)
            self.assertIn(f"x-swiftlet-principal: key:{key['id']}\n", text)
            self.assertNotIn("key:admin", text)
            self.assertIn("x-mine: 1\n", text)

    def test_guessing_is_slowed_down_and_the_right_key_is_not(self):
        good = self.make("invoker", "acme")["key"]
        statuses = [self.send("GET", "/admin/v1/whoami", f"guess-{n}")[0] for n in range(60)]
        self.assertGreaterEqual(statuses.count(429), 30, statuses)
        status, _, headers = self.host.request("GET", "/admin/v1/whoami", headers={"authorization": "Bearer guess"})
        self.assertEqual(status, 429)
        self.assertGreaterEqual(int(headers["retry-after"]), 1)
        self.assertEqual(self.send("POST", "/fn/acme/echo/", good, "x")[0], 200)

    def test_whoami(self):
        key = self.make("developer", "acme", scopes=["read", "invoke"], functions=["e*"])
        status, body = self.send("GET", "/admin/v1/whoami", key["key"])
        self.assertEqual((status, body["id"], body["tenant"], body["role"]), (200, f"key:{key['id']}", "acme", "developer"))
        self.assertEqual(sorted(body["permissions"]), ["infer", "invoke", "read", "readLogs"])
        self.assertEqual(body["functions"], ["e*"])


class Matrix(Keys, unittest.TestCase):
    """Every route with every role, over HTTP: let in or not, and nothing between."""

    @classmethod
    def setUpClass(cls):
        cls.host = Host("--loopback", "key")
        cls.host.environment["SWIFTLET_KEY"] = cls.host.admin_key
        for tenant in ("acme", "other"):
            cls.host.cli("tenant", "create", tenant)
        cls.keys = {role: cls.make(role)["key"] for role in ROLES["platform"]}
        cls.keys.update({role: cls.make(role, "acme")["key"] for role in ROLES["tenant"]})
        cls.strangers = {role: cls.make(role, "other")["key"] for role in ROLES["tenant"]}
        cls.routes = json.loads(subprocess.check_output([SWIFTLET, "routes", "--json"]))["routes"]

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def ask(self, route, key):
        path = route["path"].replace("{tenant}", "acme")
        for name in ("function", "key", "model", "alias", "rest", "name", "keyid"):
            path = path.replace("{%s}" % name, "nothing-of-this-name")
        method = route["method"] or ("POST" if route["name"] in ("tensors",) else "GET")
        path += "/live" if route["name"] == "tensorHealth" else ""
        # A tenant that isn't there, so that what is let in changes nothing that others need.
        if route["name"] in ("deleteTenant", "changeTenant"):
            path = path.replace("acme", "acme-2")
        status, body = self.send(method, path, key, "{}" if method in ("POST", "PUT", "PATCH") else None)
        self.assertLess(status, 500, (route, body))
        return status, body

    def test_each_route_with_each_role(self):
        self.assertGreater(len(self.routes), 40)
        for route in self.routes:
            for role, key in self.keys.items():
                needs = "invoke" if route["needs"] == "function" else route["needs"]
                allowed = needs in (EVERYBODY, KNOWN) or needs in PERMISSIONS[role]
                status, body = self.ask(route, key)
                self.assertEqual(status in (401, 403), not allowed, (route, role, status, str(body)[:300]))

    def test_a_stranger_with_any_role_is_kept_out_of_every_route_of_a_tenant(self):
        for route in self.routes:
            if "{tenant}" not in route["path"]:
                continue
            for role, key in self.strangers.items():
                status, body = self.ask(route, key)
                self.assertEqual(status, 403, (route, role, body))


class Access(Keys, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host("--loopback", "key")
        cls.host.environment["SWIFTLET_KEY"] = cls.host.admin_key
        for name, access in (("open", "public"), ("closed", "key"), ("federated", "jwt")):
            done = cls.host.deploy_c(name, HEADERS, access=access)
            assert done.returncode == 0, done.stderr
        cls.key = cls.make("invoker", "default")["key"]

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def test_a_function_says_who_may_call_it(self):
        for name, without, with_key in (("open", 200, 200), ("closed", 401, 200), ("federated", 401, 403), ("missing", 401, 404)):
            self.assertEqual(self.send("GET", f"/fn/default/{name}/")[0], without, name)
            self.assertEqual(self.send("GET", f"/fn/default/{name}/", self.key)[0], with_key, name)

    def test_a_public_function_has_its_own_ways(self):
        status, text = self.send("GET", "/fn/default/open/", headers={"authorization": "Basic YTpi"})
        self.assertEqual(status, 200)
        self.assertIn(b"authorization: Basic YTpi\n", text)
        self.assertIn(b"x-swiftlet-principal: anonymous\n", text)
        # A key of ours that is no good is a mistake even there.
        self.assertIn(self.send("GET", "/fn/default/open/", self.key[:-1] + "~")[0], (401, 429))

    def test_a_manifest_with_another_word_is_refused(self):
        self.assertNotEqual(self.host.deploy_c("bad", HEADERS, access="everyone").returncode, 0)


class TenantLife(Keys, unittest.TestCase):
    def setUp(self):
        self.host = Host("--loopback", "key")
        self.host.environment["SWIFTLET_KEY"] = self.host.admin_key
        type(self).host = self.host
        self.host.cli("tenant", "create", "acme")
        self.host.deploy_c("echo", handler("usleep(600000); return echo(call, host);"))
        self.host.cli("deploy", str(self.host.work / "echo"), "--tenant", "acme")
        self.key = self.make("tenant_admin", "acme")["key"]

    def tearDown(self):
        self.host.stop()

    def test_a_suspended_tenant_ends_what_it_runs_and_begins_nothing(self):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            running = pool.submit(self.send, "POST", "/fn/acme/echo/", self.key, "x")
            time.sleep(0.3)
            self.host.cli("tenant", "suspend", "acme")
            for key in (self.key, self.host.admin_key):
                status, body = self.send("POST", "/fn/acme/echo/", key, "x")
                self.assertEqual((status, body["code"]), (403, "tenant_suspended"))
            self.assertEqual(running.result(), (200, b"x"))
        self.assertEqual(self.send("POST", "/v1/chat/completions", self.key, {"model": "m", "messages": []})[0], 403)
        self.assertEqual(self.send("POST", "/admin/v1/tenants/acme/keys", self.key, {"role": "viewer"})[0], 403)
        self.assertEqual(self.send("GET", "/admin/v1/functions", self.key)[0], 200)
        self.host.cli("tenant", "resume", "acme")
        self.assertEqual(self.send("POST", "/fn/acme/echo/", self.key, "x"), (200, b"x"))

    def test_a_deleted_tenant_leaves_nothing_and_its_name_is_free(self):
        self.assertEqual(self.host.cli("tenant", "delete", "acme", check=False).returncode, 2)
        gone = json.loads(self.host.cli("tenant", "delete", "acme", "--confirm", "acme").stdout)
        self.assertEqual((gone["erased"]["functions"], gone["erased"]["keys"], gone["erased"]["artefacts"]), (1, 1, 1))
        self.assertEqual(self.send("POST", "/fn/acme/echo/", self.key, "x")[0], 401)
        self.assertEqual(self.send("POST", "/fn/acme/echo/", self.host.admin_key, "x")[0], 404)
        self.assertFalse((self.host.work / "state/artefacts/acme").exists())
        self.host.cli("tenant", "create", "acme")
        self.assertEqual(self.send("POST", "/fn/acme/echo/", self.host.admin_key, "x")[0], 404)
        self.assertEqual(self.send("GET", "/admin/v1/tenants/acme/keys", self.host.admin_key)[1]["keys"], [])

    def test_tenants_that_cannot_be(self):
        for name in ("platform", "", "A", "a b", "../a", "a/b", "ä", "x" * 64, "-a"):
            self.assertEqual(self.send("POST", "/admin/v1/tenants", self.host.admin_key, {"name": name})[0], 400, name)
        self.assertEqual(self.send("POST", "/admin/v1/tenants", self.host.admin_key, {"name": "acme"})[0], 409)
        for settings in ({"models": "x"}, {"models": ["../x"]}, {"policy": {"weight": 0}}, {"no": 1}, []):
            status, body = self.send("PATCH", "/admin/v1/tenants/acme", self.host.admin_key, {"settings": settings})
            self.assertEqual(status, 422, (settings, body))
        self.assertEqual(self.send("PATCH", "/admin/v1/tenants/acme", self.host.admin_key, {"state": "deleting"})[0], 400)
        self.assertEqual(self.send("PATCH", "/admin/v1/tenants/nobody", self.host.admin_key, {"state": "active"})[0], 404)

    def test_the_first_start_alone_prints_a_key_and_keys_outlive_a_restart(self):
        self.host.restart()
        self.assertIsNone(self.host.ready.get("admin_key"))
        self.assertEqual(self.send("POST", "/fn/acme/echo/", self.key, "x"), (200, b"x"))
        state = b"".join(f.read_bytes() for f in (self.host.work / "state").rglob("*") if f.is_file())
        self.assertNotIn(self.key.encode(), state)
        self.assertNotIn(self.host.admin_key.encode(), state)


class Loopback(Keys, unittest.TestCase):
    """Callers on this machine are trusted by default; what only looks like one is not."""

    @classmethod
    def setUpClass(cls):
        cls.host = Host()

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def test_who_is_at_this_machine(self):
        for headers, status in (
                ({}, 200), ({"host": "localhost:1"}, 200), ({"host": "[::1]:80"}, 200), ({"authorization": "Bearer none"}, 200),
                ({"x-forwarded-for": "1.2.3.4"}, 401), ({"forwarded": "for=1.2.3.4"}, 401), ({"via": "1.1 proxy"}, 401),
                ({"x-real-ip": "127.0.0.1"}, 401), ({"host": "evil.example"}, 401), ({"host": "127.0.0.1.evil.example"}, 401),
                ({"origin": "https://evil.example"}, 401), ({"origin": "http://localhost:3000"}, 200), ({"origin": "null"}, 401),
                ({"sec-fetch-site": "cross-site"}, 401), ({"authorization": "Bearer swl_tenant_x"}, 401)):
            got, body = self.send("GET", "/admin/v1/whoami", headers=headers)
            self.assertEqual(got, status, (headers, body))

    def test_clients_with_any_word_for_a_key_work(self):
        status, body = self.send("GET", "/v1/models", "sk-no-key-required")
        self.assertEqual((status, body["object"]), (200, "list"))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])
