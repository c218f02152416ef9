"""The audit log of a real host: what is in it, that nothing of it can be changed unseen. Usage: audit.py PREFIX"""
import http.client
import json
import os
import pathlib
import signal
import subprocess
import threading
import time
import unittest

from run import SWIFTLET, Host, handler, wait_for


def offline(*words):
    return subprocess.run([SWIFTLET, "audit", *words], capture_output=True, text=True, timeout=60)


class Log(unittest.TestCase):
    OPTIONS = ()

    def setUp(self):
        self.host = Host(*self.OPTIONS)
        self.state = self.host.work / "state"
        self.addCleanup(self.end)

    def end(self):
        self.host.stop()

    def restart(self, how=signal.SIGTERM):
        self.host.end(how)
        self.host = Host(*self.OPTIONS, work=self.host.work)

    def entries(self, *words):
        pages = self.host.cli("audit", "--json", "--limit", "100000", *words).stdout.splitlines()
        found = [entry for page in pages for entry in json.loads(page)["entries"]]
        # What the host says of itself is looked at where it matters.
        return [entry for entry in found if entry["act"] not in ("host.start", "host.stop")]

    def acts(self, *words):
        return [(e["act"], e["status"]) for e in reversed(self.entries(*words))]

    def admin(self, method, path, body=None, key=None):
        headers = {"authorization": f"Bearer {key}"} if key else {}
        status, text, _ = self.host.request(method, "/admin/v1/" + path, body and json.dumps(body), headers)
        return status, json.loads(text)

    def tenant(self, name):
        self.assertEqual(self.admin("POST", "tenants", {"name": name})[0], 201)
        status, made = self.admin("POST", f"tenants/{name}/keys", {"role": "tenant_admin"})
        self.assertEqual(status, 201, made)
        return made

    def verify(self, *words):
        done = self.host.cli("audit", "verify", *words, check=False)
        return done.returncode, done.stdout + done.stderr


class Acts(Log):
    def test_every_act_is_there_once_it_is_answered_and_secrets_are_not(self):
        key = self.tenant("acme")
        self.assertEqual(self.host.deploy_c("f", handler("return 0;")).returncode, 0)
        refused = self.host.deploy_c("g", "not C")
        self.assertNotEqual(refused.returncode, 0)
        self.assertEqual(self.admin("POST", "deployments/default/bad", {"no": "archive"})[0], 422)
        status, new = self.admin("POST", f"tenants/acme/keys/{key['id']}/rotate", {"overlap_s": 0})
        self.assertEqual(status, 201, new)
        self.assertEqual(self.admin("PATCH", "tenants/acme", {"state": "suspended"})[0], 200)
        self.assertEqual(self.admin("DELETE", f"tenants/acme/keys/{new['id']}")[0], 200)
        self.assertEqual(self.admin("DELETE", "functions/default/f")[0], 200)
        self.assertEqual(self.admin("DELETE", "functions/default/f")[0], 404)
        self.assertEqual(self.admin("PUT", "models/none/aliases/a?to=latest")[0], 404)
        self.assertEqual(self.admin("DELETE", "tenants/acme")[0], 200)
        self.assertEqual(self.acts(), [
            ("platform-key.create", 0), ("tenant.create", 201), ("key.create", 201), ("deploy", 201), ("deploy", 422),
            ("key.rotate", 201), ("tenant.change", 200), ("key.revoke", 200), ("function.remove", 200),
            ("function.remove", 404), ("alias.set", 404), ("tenant.delete", 200)])
        entries = {e["act"]: e for e in self.entries()}
        self.assertEqual(entries["deploy"]["actor"], "local")
        self.assertEqual(entries["deploy"]["role"], "platform_admin")
        self.assertEqual(entries["tenant.create"]["tenant"], "acme")
        self.assertIn("acme", entries["key.create"]["target"])
        self.assertIn(key["id"], entries["key.create"]["detail"])
        self.assertRegex(entries["function.remove"]["peer"], r"^127\.0\.0\.1:\d+$")
        self.assertTrue(entries["deploy"]["request_id"])
        self.assertLess(abs(entries["deploy"]["time_ms"] / 1000 - time.time()), 60)
        self.assertIn("to=latest", entries["alias.set"]["target"])
        deployed = next(e for e in self.entries("--act", "deploy") if e["status"] == 201)
        self.assertRegex(deployed["detail"], "name=f .*digest=[0-9a-f]{64}")
        raw = b"".join(p.read_bytes() for p in (self.state / "audit").glob("*"))
        for secret in [key["key"], new["key"]]:
            self.assertNotIn(secret.encode(), raw)
        self.assertEqual(self.verify()[0], 0)
        # Reading changes nothing and is no act.
        self.assertEqual(len(self.entries()), 12)

    def test_a_tenant_sees_its_own_and_nobody_elses(self):
        keys = {name: self.tenant(name)["key"] for name in ["acme", "other"]}
        viewer = self.admin("POST", "tenants/acme/keys", {"role": "viewer"})[1]["key"]
        # One tenant tries the other's door.
        self.assertEqual(self.admin("GET", "tenants/other/keys", key=keys["acme"])[0], 403)
        for name, key in keys.items():
            status, page = self.admin("GET", f"tenants/{name}/audit", key=key)
            self.assertEqual(status, 200)
            self.assertTrue(page["entries"])
            other = "other" if name == "acme" else "acme"
            for entry in page["entries"]:
                self.assertEqual(entry["tenant"], name)
                if name == "other":
                    self.assertNotIn("acme", json.dumps(entry))
            self.assertEqual(self.admin("GET", f"tenants/{other}/audit", key=key)[0], 403)
            for path in ["audit", "audit/head", "audit/verify", f"audit?tenant={name}"]:
                self.assertEqual(self.admin("GET", path, key=key)[0], 403, path)
        self.assertEqual(self.admin("GET", "tenants/acme/audit", key=viewer)[0], 403)
        platform = self.admin("POST", "keys", {"role": "platform_viewer"})[1]["key"]
        self.assertEqual(self.admin("GET", "audit", key=platform)[0], 200)
        self.assertEqual(self.admin("GET", "tenants/acme/audit", key=platform)[0], 200)
        # The query can't widen what a path narrows.
        self.assertEqual(self.admin("GET", "tenants/acme/audit?tenant=other", key=keys["acme"])[0], 400)

    def test_pages_and_bad_questions(self):
        self.tenant("acme")
        for number in range(30):
            self.admin("DELETE", f"functions/acme/f{number}")
        self.assertEqual(len(self.entries("--act", "function")), 30)
        self.assertEqual(len(self.entries("--act", "function.remove", "--tenant", "acme", "--since", "1h")), 30)
        self.assertEqual(self.entries("--since", "2099-01-01T00:00:00Z"), [])
        status, page = self.admin("GET", "audit?limit=7&act=function")
        self.assertEqual((status, len(page["entries"])), (200, 7))
        numbers = [e["number"] for e in page["entries"]]
        status, after = self.admin("GET", f"audit?limit=7&act=function&before={page['next']}")
        self.assertEqual([e["number"] for e in after["entries"]], [n - 7 for n in numbers])
        for query in ["limit=0", "limit=1001", "limit=x", "before=0", "before=-1", "since=-1", "act=", "act=%0a", "tenant=A",
                      "other=1", "limit", "before=99999999999999999999"]:
            self.assertEqual(self.admin("GET", "audit?" + query)[0], 400, query)
        for expect in ["", "1", "1:", ":", "1:xyz", "x:" + "0" * 64, "1:" + "0" * 63, "1:" + "F" * 64]:
            self.assertEqual(self.admin("GET", "audit/verify?expect=" + expect)[0], 400, expect)
        self.assertIn("alf", offline("--since", "yesterday", "x", "y").stderr + "alf")
        self.assertEqual(offline("verify", "--expect", "1:2").returncode, 2)
        self.assertEqual(offline("burn").returncode, 2)

    def test_a_flood_of_denied_accesses_is_few_entries_and_an_exact_count(self):
        before = len(self.entries())

        def flood(index):
            connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
            for _ in range(250):
                connection.request("GET", "/admin/v1/tenants", headers={"authorization": "Bearer swl_p_wrong"})
                answer = connection.getresponse()
                answer.read()
                self.assertIn(answer.status, (401, 429))
            connection.close()

        threads = [threading.Thread(target=flood, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: len(self.entries()) > before, "the first one is there at once")
        self.assertLess(len(self.entries()) - before, 10)
        self.restart()
        denied = self.entries("--act", "denied")
        self.assertEqual(sum(e["count"] for e in denied), 1000)
        self.assertLess(len(denied), 10)
        self.assertEqual(self.verify()[0], 0)


    def test_who_tries_at_a_tenants_function_is_told_to_that_tenant(self):
        key = self.tenant("acme")["key"]
        status, _, _ = self.host.request("GET", "/fn/acme/f/", headers={"authorization": "Bearer swl_t_wrong"})
        self.assertEqual(status, 401)
        # Nobody who is denied waits for the disk.
        denied = lambda: self.admin("GET", "tenants/acme/audit?act=denied", key=key)[1]["entries"]
        wait_for(denied, "it is written")
        entries = denied()
        self.assertEqual([(e["actor"], e["target"], e["status"]) for e in entries], [("anonymous", "function /fn/acme/f/", 401)])
        metrics = self.host.request("GET", "/metrics")[1].decode()
        self.assertIn("\nswiftlet_denied_total 1\n", metrics)
        self.assertIn("\nswiftlet_audit_blocked 0\n", metrics)

    def test_a_stop_and_a_kill_are_told_apart(self):
        self.restart()
        self.restart(signal.SIGKILL)
        page = self.admin("GET", "audit?act=host")[1]["entries"]
        self.assertEqual([e["act"] for e in reversed(page)], ["host.start", "host.stop", "host.start", "host.start"])
        self.assertEqual({e["actor"] for e in page}, {"host"})
        self.assertEqual(self.verify()[0], 0)


class Tampering(Log):
    def segment(self):
        return next((self.state / "audit").glob("*.log"))

    def test_a_log_that_was_touched_is_told_and_not_gone_on_with(self):
        self.tenant("acme")
        code, head = 0, self.host.cli("audit", "head").stdout.strip()
        self.assertRegex(head, r"^4:[0-9a-f]{64}$")
        self.assertEqual(self.verify("--expect", head), (0, f"the audit log is whole: it ends at {head}\n"))
        # Beside the running host, too.
        self.assertEqual(offline("verify", "--state", self.state).returncode, 0)
        self.assertEqual(offline("head", "--state", self.state).stdout.strip(), head)
        older = {p: p.read_bytes() for p in [self.segment(), self.state / "audit/head"]}
        self.tenant("other")
        late = self.host.cli("audit", "head").stdout.strip()
        self.host.end()
        whole = self.segment().read_bytes()
        for name, change in [
            ("changed", lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:]), ("tail_cut", lambda b: b[:-1]),
            ("inserted", lambda b: b + b"x"),
        ]:
            self.segment().write_bytes(change(whole))
            done = offline("verify", "--state", self.state, "--json")
            self.assertEqual((done.returncode, json.loads(done.stdout)["damage"]), (1, name))
            self.assertIn("NOT whole", offline("verify", "--state", self.state).stderr)
            refused = subprocess.run([SWIFTLET, "serve", "--listen", "127.0.0.1:0", "--state", self.state],
                                     capture_output=True, text=True, timeout=60)
            self.assertEqual(refused.returncode, 1, refused)
            self.assertIn(name, refused.stderr)
            self.assertIn("swiftlet audit reset", refused.stderr)
            self.assertEqual(self.segment().read_bytes(), change(whole))
        # Both files of an hour ago: only what was kept elsewhere tells.
        for path, old in older.items():
            path.write_bytes(old)
        self.assertEqual(offline("verify", "--state", self.state).returncode, 0)
        done = offline("verify", "--state", self.state, "--expect", late, "--json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["damage"]), (1, "rolled_back"))
        self.segment().write_bytes(whole[:100])
        done = offline("reset", "--state", self.state)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("tail_cut", done.stdout)
        kept = next(self.state.glob("audit.damaged-*"))
        self.assertEqual(next(kept.glob("*.log")).read_bytes(), whole[:100])
        self.host = Host(work=self.host.work)
        self.assertEqual(self.acts()[0][0], "audit.reset")
        self.assertIn("tail_cut", self.entries()[-1]["detail"])
        busy = offline("reset", "--state", self.state)
        self.assertNotEqual(busy.returncode, 0)
        self.assertIn("a host uses it", busy.stderr)

    def test_a_log_that_cannot_be_read_says_why(self):
        done = offline("verify", "--state", "/nonexistent")
        self.assertEqual(done.returncode, 1)
        self.assertIn("key_missing", done.stderr)
        done = offline("reset", "--state", "/nonexistent")
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main(verbosity=1)
