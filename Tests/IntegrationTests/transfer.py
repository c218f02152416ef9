"""Tenants move between real hosts: what goes along, what doesn't, and what no import leaves behind. Usage: transfer.py PREFIX"""
import contextlib
import hashlib
import http.client
import io
import json
import os
import signal
import sqlite3
import tarfile
import time
import unittest

from run import ROOT, SWIFTLET, Host, handler, make_work, wait_for
from signatures import keypair, tool

HEAD = "swiftlet-export.json"
SETTINGS = {
    "models": ["smollm2", "mini*"], "policy": {"weight": 2.5, "tokens_per_minute": 60000},
    "limits": {"requests_per_second": 500, "burst": 700, "storage_mb": 256},
}
BILL = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}
SECRET = b"nobody-else-may-see-this-4711"


def pack(members):
    """A ustar archive of (name, content), each perhaps with a type of its own."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content, *more in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if more:
                info.type, info.linkname = more[0], "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def unpack(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return [(m.name, tar.extractfile(m).read()) for m in tar.getmembers()]


def post(host, archive, name=None, key=None):
    """Imports; returns the status and the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=60)
    # A refusal may come before all was sent.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request(
            "POST", "/admin/v1/tenants/import" + (f"?as={name}" if name else ""), archive, {"authorization": f"Bearer {key}"} if key else {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json", answer.headers
    return answer.status, json.loads(body)


def get(host, path):
    status, body, _ = host.request("GET", "/admin/v1/" + path)
    assert status == 200, (status, body)
    return json.loads(body)


def call(host, path, key):
    return host.request("GET", f"/fn/{path}/?name=ada", headers={"authorization": f"Bearer {key}"})


def traces(host, name):
    """Everything that the state directory knows of a tenant but its audit log."""
    state = host.work / "state"
    found = [str(p) for p in (state / "artefacts").glob(f"{name}/*")] + [str(p) for p in (state / "staging").glob("*")]
    plain = state / "plain"
    found += [str(p) for p in plain.glob(f"{name}/*")] if plain.exists() else []
    for database, table, column in (
            ("registry.db", "tenant", "name"), ("registry.db", "deployment", "tenant"), ("registry.db", "api_key", "tenant"),
            ("trust.db", "trusted_key", "tenant"), ("trust.db", "unsigned_policy", "tenant"), ("vault.db", "data_key", "tenant")):
        with contextlib.closing(sqlite3.connect(f"file:{state / database}?mode=ro", uri=True)) as opened:
            count = opened.execute(f"SELECT count(*) FROM {table} WHERE {column}=?", [name]).fetchone()[0]
        found += [f"{database}/{table}"] * count
    return found


class Begun:
    """An import that stops in the middle of its body."""

    def __init__(self, host, archive, sent, name=None):
        self.archive, self.sent = archive, sent
        self.connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=60)
        self.connection.putrequest("POST", "/admin/v1/tenants/import" + (f"?as={name}" if name else ""))
        self.connection.putheader("content-length", str(len(archive)))
        self.connection.endheaders()
        self.connection.send(archive[:sent])

    def finish(self):
        self.connection.send(self.archive[self.sent:])
        answer = self.connection.getresponse()
        body = json.loads(answer.read())
        self.connection.close()
        return answer.status, body

    def leave(self):
        self.connection.close()


class Transfers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = make_work()
        cls.a = Host()
        cls.addClassCleanup(cls.a.stop)
        cls.public, cls.secret = keypair(cls.work, "ci")
        (cls.work / "settings.json5").write_text(json.dumps(SETTINGS))
        cls.a.cli("tenant", "create", "acme", "--settings", str(cls.work / "settings.json5"))
        cls.a.cli("trust", "add", str(cls.public), "--tenant", "acme", "--comment", "CI")
        cls.a.cli("trust", "unsigned", "warn", "--tenant", "acme")
        cls.a.cli("deploy", str(ROOT / "examples/hello-c"), "--tenant", "acme")
        folder = cls.work / "signed"
        folder.mkdir()
        (folder / "handler.c").write_text(handler("return echo(call, host);"))
        (folder / "swiftlet.json5").write_text(json.dumps({"name": "signed", "kind": "handler", "version": "3.1", "language": "c"}))
        (folder / "sbom.json").write_text(json.dumps(BILL))
        cls.a.cli("deploy", str(folder), "-s", str(cls.secret), "--tenant", "acme")
        # Large enough that no socket takes it in one go.
        large = cls.work / "large"
        large.mkdir()
        tool(SWIFTLET, "build", folder, "--output", large / "plugin.so")
        (large / "swiftlet.json5").write_text(json.dumps({"name": "large", "kind": "handler", "version": "1", "library": "plugin.so"}))
        (large / "data.bin").write_bytes(os.urandom(20 << 20))
        cls.a.cli("deploy", str(large), "--tenant", "acme", "--name", "zlarge")
        made = lambda *words: json.loads(cls.a.cli("key", "create", "--json", "--tenant", "acme", *words).stdout)
        cls.invoker = made("--role", "invoker", "--functions", "hello-*", "--comment", "old")
        cls.owner = made("--role", "tenant_admin", "--expires", "86400")
        (cls.work / "token").write_bytes(SECRET)
        cls.a.cli("secret", "set", "TOKEN", "--tenant", "acme", "--from-file", str(cls.work / "token"))
        cls.a.cli("secret", "set", "TOKEN", "--tenant", "acme", "--function", "signed", "--from-file", str(cls.work / "token"))
        call(cls.a, "acme/hello-c", cls.invoker["key"])
        cls.archive = cls.export(cls.a, "acme")

    @classmethod
    def export(cls, host, tenant):
        status, body, headers = host.request("GET", f"/admin/v1/tenants/{tenant}/export")
        assert (status, headers["content-type"]) == (200, "application/x-tar"), (status, body[:300])
        assert int(headers["content-length"]) == len(body)
        return body

    def setUp(self):
        self.b = Host()
        self.addCleanup(lambda: self.b.stop())

    def assert_nothing(self, name="acme"):
        self.assertEqual(get(self.b, "tenants")["tenants"], [])
        self.assertEqual(get(self.b, "functions")["functions"], [])
        self.assertEqual(traces(self.b, name), [])


class Moving(Transfers):
    def test_what_an_export_holds(self):
        members = unpack(self.archive)
        self.assertEqual([name for name, _ in members], [HEAD, "hello-c.tar", "signed.tar", "zlarge.tar"])
        head = json.loads(members[0][1])
        self.assertEqual((head["format"], head["tenant"]["name"], head["tenant"]["state"]), (1, "acme", "active"))
        self.assertEqual(head["tenant"]["settings"], SETTINGS)
        self.assertEqual(sorted(k["sha256"] for k in head["keys"]), sorted(
            hashlib.sha256(k["key"].encode()).hexdigest() for k in (self.invoker, self.owner)))
        self.assertEqual(head["secrets"], [{"name": "TOKEN"}, {"name": "TOKEN", "function": "signed"}])
        self.assertEqual((head["unsigned"], len(head["trusted_keys"])), ("warn", 1))
        self.assertNotIn(SECRET, self.archive)
        for key in (self.invoker, self.owner):
            self.assertNotIn(key["key"].encode(), self.archive)
        for row, (name, content) in zip(head["functions"], members[1:]):
            self.assertEqual((name, len(content)), (row["name"] + ".tar", row["bytes"]))
            sums = {n: hashlib.sha256(c).hexdigest() for n, c in unpack(content)}
            self.assertEqual(row["digest"], hashlib.sha256("".join(f"{n} {sums[n]}\n" for n in sorted(sums)).encode()).hexdigest())
        # Each is what `deploy` takes.
        (self.work / "signed.tar").write_bytes(members[2][1])
        self.b.cli("deploy", str(self.work / "signed.tar"), "--tenant", "acme")

    def test_the_command_writes_a_whole_file_for_its_owner_and_replaces_none(self):
        file = self.work / "acme.tar"
        told = json.loads(self.a.cli("tenant", "export", "acme", "-o", str(file), "--json").stdout)
        self.assertEqual((file.stat().st_mode & 0o777, told["bytes"]), (0o600, file.stat().st_size))
        self.assertEqual(told["sha256"], hashlib.sha256(file.read_bytes()).hexdigest())
        before = file.read_bytes()
        refused = self.a.cli("tenant", "export", "acme", "-o", str(file), check=False)
        self.assertEqual((refused.returncode, file.read_bytes()), (1, before))
        self.assertIn("--force", refused.stderr)
        self.a.cli("tenant", "export", "acme", "-o", str(file), "--force")
        gone = self.a.cli("tenant", "export", "nobody", "-o", str(self.work / "nobody.tar"), check=False)
        self.assertEqual(gone.returncode, 1)
        self.assertIn("no such tenant", gone.stderr)
        self.assertEqual([p.name for p in self.work.glob("*.part-*")] + [p.name for p in self.work.glob("nobody*")], [])
        done = self.b.cli("tenant", "import", str(file))
        self.assertIn("imported the tenant acme (active): 3 functions, 2 keys, 1 trusted keys", done.stdout)
        self.assertIn("swiftlet secret set TOKEN --tenant acme --function signed", done.stdout)
        self.assertIn("warning: hello-c: it is not signed", done.stderr)

    def test_all_of_it_is_on_the_other_host(self):
        status, made = post(self.b, self.archive)
        self.assertEqual((status, made["name"], made["state"], made["keys"], made["keys_left_out"]), (201, "acme", "active", 2, []), made)
        self.assertEqual(made["secrets_to_set"], [{"name": "TOKEN"}, {"name": "TOKEN", "function": "signed"}])
        self.assertEqual(get(self.b, "tenants/acme")["settings"], SETTINGS)
        rows = lambda host: {f["name"]: (f["digest"], f["version"], f["signed_by"]) for f in get(host, "functions")["functions"] if f["tenant"] == "acme"}
        self.assertEqual(rows(self.b), rows(self.a))
        self.assertIsNotNone(rows(self.b)["signed"][2])
        trusted = lambda host: get(host, "tenants/acme/trusted-keys")
        self.assertEqual(trusted(self.b), trusted(self.a))
        kept = lambda host: sorted(get(host, "tenants/acme/keys")["keys"], key=lambda k: k["id"])
        self.assertEqual(kept(self.b), kept(self.a))
        self.assertEqual(json.loads(self.b.request("GET", "/admin/v1/functions/acme/signed/sbom")[1]), BILL)
        self.assertEqual(get(self.b, "tenants/acme/secrets")["secrets"], [])
        # A key that was given out goes on working, and no further than before.
        self.assertEqual(call(self.b, "acme/hello-c", self.invoker["key"])[:2], (200, b"hello ada\n"))
        self.assertEqual(call(self.b, "acme/signed", self.invoker["key"])[0], 403)
        self.assertEqual(call(self.b, "acme/zlarge", self.owner["key"])[0], 200)
        # And what came goes again to a third.
        self.assertEqual([m for m in unpack(self.export(self.b, "acme"))[1:]], unpack(self.archive)[1:])
        self.b.restart()
        self.assertEqual(call(self.b, "acme/hello-c", self.invoker["key"])[:2], (200, b"hello ada\n"))
        acts = {(e["act"], e["tenant"], e["status"]) for e in get(self.b, "audit?limit=100")["entries"]}
        self.assertIn(("tenant.import", "acme", 201), acts)
        self.assertIn(("tenant.export", "acme", 200), acts)

    def test_another_name_and_keys_that_are_there_already(self):
        self.assertEqual(post(self.b, self.archive)[0], 201)
        status, again = post(self.b, self.archive)
        self.assertEqual((status, again["code"]), (409, "conflict"))
        status, copied = post(self.b, self.archive, "acme-2")
        self.assertEqual((status, copied["name"], copied["keys"]), (201, "acme-2", 0), copied)
        self.assertEqual(sorted(copied["keys_left_out"]), sorted([self.invoker["id"], self.owner["id"]]))
        self.assertEqual(call(self.b, "acme-2/hello-c", self.invoker["key"])[0], 403)
        self.b.cli("tenant", "delete", "acme", "--confirm", "acme")
        moved = self.work / "moved.tar"
        moved.write_bytes(self.archive)
        told = json.loads(self.b.cli("tenant", "import", str(moved), "--as", "moved", "--json").stdout)
        self.assertEqual((told["name"], told["keys"]), ("moved", 2))
        self.assertEqual(call(self.b, "moved/hello-c", self.invoker["key"])[:2], (200, b"hello ada\n"))
        for bad in ("platform", "No", "a/b", ""):
            self.assertEqual(post(self.b, self.archive, bad or "%20")[0], 400, bad)
        self.assertEqual(self.b.request("POST", "/admin/v1/tenants/import?name=x", b"")[0], 400)

    def test_a_suspended_tenant_stays_suspended(self):
        self.a.cli("tenant", "suspend", "acme")
        try:
            archive = self.export(self.a, "acme")
        finally:
            self.a.cli("tenant", "resume", "acme")
        self.assertEqual(post(self.b, archive)[1]["state"], "suspended")
        self.assertEqual(call(self.b, "acme/hello-c", self.invoker["key"])[0], 403)
        self.b.cli("tenant", "resume", "acme")
        self.assertEqual(call(self.b, "acme/hello-c", self.invoker["key"])[0], 200)

    def test_who_may(self):
        as_key = lambda host, path, key: host.request("GET", f"/admin/v1/tenants/{path}/export", headers={"authorization": f"Bearer {key}"})[0]
        self.assertEqual(as_key(self.a, "acme", self.owner["key"]), 200)
        self.assertEqual(as_key(self.a, "acme", self.invoker["key"]), 403)
        self.a.request("POST", "/admin/v1/tenants", json.dumps({"name": "other"}))
        self.assertEqual(as_key(self.a, "other", self.owner["key"]), 403)
        narrow = json.loads(self.a.cli("key", "create", "--json", "--tenant", "acme", "--role", "tenant_admin", "--functions", "hello-c").stdout)
        self.assertEqual(as_key(self.a, "acme", narrow["key"]), 403)
        self.a.cli("key", "revoke", narrow["id"], "--tenant", "acme")
        for role, status in (("platform_operator", 403), ("platform_viewer", 403), ("platform_admin", 201)):
            key = json.loads(self.b.cli("key", "create", "--json", "--platform", "--role", role).stdout)["key"]
            self.assertEqual(post(self.b, self.archive, key=key)[0], status, role)
        self.assertEqual(post(self.a, self.archive, "mine", key=self.owner["key"])[0], 403)


def edited(archive, change):
    """The export with its head changed."""
    members = unpack(archive)
    head = json.loads(members[0][1])
    change(head)
    return pack([(HEAD, json.dumps(head).encode())] + members[1:])


class Refused(Transfers):
    def hostile(self):
        """Name, archive, status or statuses, and a word of the error."""
        # Without the large one, since each is sent 40 times.
        head = json.loads(unpack(self.archive)[0][1])
        head["functions"] = head["functions"][:2]
        archive = pack([(HEAD, json.dumps(head).encode())] + unpack(self.archive)[1:3])
        good = unpack(archive)
        functions = good[1:]
        of = lambda change: edited(archive, change)
        inner = lambda content, **row: pack([
            (HEAD, json.dumps({**head, "functions": [{**head["functions"][0], "bytes": len(content), **row}]}).encode()), ("hello-c.tar", content)])
        files = unpack(functions[0][1])
        key = head["keys"][0]
        yield "nothing", b"", 400, "cut"
        yield "noise", os.urandom(5000), 400, "ustar"
        yield "text", b"{}" * 600, 400, "ustar"
        yield "the other way round", pack(functions[:1] + good[:1]), 400, HEAD
        yield "a cut head", archive[:700], 400, "cut"
        yield "a cut function", archive[:len(archive) // 2], 400, "cut"
        yield "without an end", archive[:sum(512 + (len(c) + 511) // 512 * 512 for _, c in good)], 400, "cut"
        yield "more behind the end", archive + b"x", 400, "follows its end"
        yield "a function less", pack(good[:-1]), 400, "missing"
        yield "a function more", pack(good + [("more.tar", functions[0][1])]), 400, "doesn't list"
        yield "a function twice", pack(good[:2] + good[1:]), 400, "should be"
        yield "another order", pack([good[0], good[2], good[1]]), 400, "should be"
        yield "a link", pack([(HEAD, b"", tarfile.SYMTYPE)]), 400, "no regular file"
        yield "a hard link", pack([good[0], ("hello-c.tar", b"", tarfile.LNKTYPE)]), 400, "no regular file"
        yield "a device", pack([good[0], ("hello-c.tar", b"", tarfile.CHRTYPE)]), 400, "no regular file"
        yield "a folder", pack([("x", b"", tarfile.DIRTYPE)]), 400, "no regular file"
        yield "out of the folder", pack([good[0], ("../hello-c.tar", functions[0][1])]), 400, "not plain"
        yield "an absolute name", pack([("/" + HEAD, good[0][1])]), 400, "not plain"
        yield "a large head", pack([(HEAD, b" " * (9 << 20))]), 400, "at most"
        yield "no JSON", pack([(HEAD, b"{")]), 422, "line 1"
        yield "deep JSON", pack([(HEAD, b"[" * 50_000)]), 422, "deep"
        yield "no object", pack([(HEAD, b"[]")]), 422, "format"
        yield "another format", of(lambda h: h.update(format=2)), 422, "format"
        yield "an unknown member", of(lambda h: h.update(more=1)), 422, "more"
        yield "a name that is none", of(lambda h: h["tenant"].update(name="../x")), 422, "tenant.name"
        yield "the platform's name", of(lambda h: h["tenant"].update(name="platform")), 400, "platform"
        yield "a state between", of(lambda h: h["tenant"].update(state="importing")), 422, "state"
        yield "bad settings", of(lambda h: h["tenant"]["settings"].update(policy={"weight": -1})), 422, "weight"
        yield "a key of the platform", of(lambda h: h["keys"][0]["grant"].update(role="platform_admin")), 422, "role"
        yield "a key twice", of(lambda h: h["keys"].append(key)), 422, "twice"
        yield "10,001 keys", of(lambda h: h.update(keys=[{**key, "sha256": f"{n:064x}"} for n in range(10_001)])), 422, "10000"
        yield "1,001 functions", of(lambda h: h.update(functions=h["functions"] * 501)), 422, "1000"
        yield "a size that is another", of(lambda h: h["functions"][0].update(bytes=4096)), 400, "should be"
        yield "a huge size", of(lambda h: h["functions"][0].update(bytes=1 << 50)), 422, "bytes"
        yield "a digest that is another", of(lambda h: h["functions"][0].update(digest="0" * 64)), 400, "digest"
        yield "names exchanged", of(lambda h: (h["functions"][0].update(name="x"))), 400, "should be"
        yield "more than it may store", of(lambda h: h["tenant"]["settings"]["limits"].update(storage_mb=0.001)), 507, "storage_mb"
        yield "a changed file in a function", inner(pack([(n, c.replace(b"hello", b"hallo")) for n, c in files])), (400, 422), ""
        yield "a function that is no archive", inner(b"x" * 2048), 422, "ustar"
        yield "a function with a link", inner(pack(files + [("l", b"", tarfile.SYMTYPE)])), 422, "no regular file"
        yield "a function with a path", inner(pack(files + [("../../x", b"")])), 422, "not plain"
        yield "a function of 100 files", inner(pack(files + [(f"f{n}", b"") for n in range(100)])), 422, "64 files"
        yield "a bomb", inner(pack(files + [("zeros", bytes(64 << 20))])), 422, "more than 67108864 bytes"
        backend = {"name": "hello-c", "kind": "backend", "version": "1", "library": "plugin.so"}
        sneaky = pack([(n, json.dumps(backend).encode() if n.endswith("json5") else c) for n, c in files])
        yield "a backend", inner(sneaky, digest=self.digest(sneaky)), (400, 403, 422), ""
        dead = pack([(n, b"no library" if n == "plugin.so" else c) for n, c in files])
        yield "no library", inner(dead, digest=self.digest(dead)), 422, "ELF"

    @staticmethod
    def digest(archive):
        sums = {n: hashlib.sha256(c).hexdigest() for n, c in unpack(archive)}
        return hashlib.sha256("".join(f"{n} {sums[n]}\n" for n in sorted(sums)).encode()).hexdigest()

    def test_hostile_archives_change_nothing(self):
        for name, archive, statuses, word in self.hostile():
            with self.subTest(name):
                status, body = post(self.b, archive)
                self.assertIn(status, statuses if isinstance(statuses, tuple) else (statuses,), body)
                self.assertIn(word, body["cause"] + body["step"] + body["next"], body)
                self.assertTrue(body["next"] and body["step"], body)
                self.assert_nothing()
        failed = [e for e in get(self.b, "audit?act=tenant.import&limit=1000")["entries"]]
        self.assertGreater(len(failed), 40)
        self.assertTrue(all(e["status"] >= 400 for e in failed))
        self.assertEqual(post(self.b, self.archive)[0], 201)
        self.assertEqual(call(self.b, "acme/hello-c", self.invoker["key"])[0], 200)

    def test_what_is_kept_under_the_name_is_not_touched(self):
        self.b.cli("trust", "add", str(self.public), "--tenant", "acme")
        for name in (None, "acme"):
            status, body = post(self.b, self.archive, name)
            self.assertEqual((status, body["code"]), (409, "conflict"))
            self.assertIn("trusted keys", body["cause"])
        self.assertEqual(len(get(self.b, "tenants/acme/trusted-keys")["keys"]), 1)
        self.b.cli("deploy", str(ROOT / "examples/hello-c"), "--tenant", "other")
        self.assertEqual(post(self.b, self.archive, "other")[0], 409)
        self.assertEqual(self.b.request("GET", "/fn/other/hello-c/")[0], 200)

    def test_the_stricter_policy_judges(self):
        strict = Host("--unsigned", "refuse")
        try:
            status, body = post(strict, self.archive)
            self.assertEqual((status, body["code"]), (403, "forbidden"), body)
            self.assertIn("not signed", body["cause"])
            self.assertEqual((get(strict, "tenants")["tenants"], traces(strict, "acme")), ([], []))
            # The one whose key comes along is taken.
            members = unpack(self.archive)
            head = json.loads(members[0][1])
            head["functions"] = [f for f in head["functions"] if f["name"] == "signed"]
            only = [(HEAD, json.dumps(head).encode()), members[2]]
            self.assertEqual(post(strict, pack(only))[0], 201)
            # And not without its key, nor when what is signed was changed.
            untrusted = {**head, "trusted_keys": []}
            self.assertEqual(post(strict, pack([(HEAD, json.dumps(untrusted).encode()), members[2]]), "x")[0], 403)
            changed = pack([(n, c + b" " if n == "sbom.json" else c) for n, c in unpack(members[2][1])])
            head["functions"][0].update(bytes=len(changed), digest=self.digest(changed))
            status, body = post(strict, pack([(HEAD, json.dumps(head).encode()), ("signed.tar", changed)]), "y")
            self.assertEqual(status, 422, body)
            self.assertEqual([t["name"] for t in get(strict, "tenants")["tenants"]], ["acme"])
        finally:
            strict.stop()

    def test_a_damaged_artefact_never_looks_exported(self):
        self.assertEqual(post(self.b, self.archive)[0], 201)
        digest = next(f["digest"] for f in get(self.b, "functions")["functions"] if f["name"] == "zlarge")
        file = self.b.work / "state/artefacts/acme" / digest / "data.bin"
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.chmod(0o600)
        file.write_bytes(data)
        target = self.work / "damaged.tar"
        done = self.b.cli("tenant", "export", "acme", "-o", str(target), check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertEqual(list(self.work.glob("damaged*")), [])
        # Nor does it keep the next one out.
        self.assertEqual(self.b.cli("tenant", "export", "acme", "-o", str(target), check=False).returncode, 1)
        self.assertIn("data.bin", (self.b.work / "host.log").read_text())


class Interrupted(Transfers):
    def begin(self):
        """An import with one function in, and a second on its way."""
        head = unpack(self.archive)[0][1]
        sent = 512 + len(head) + 512 * 3 + len(unpack(self.archive)[1][1]) + 2000
        begun = Begun(self.b, self.archive, sent)
        wait_for(lambda: get(self.b, "tenants")["tenants"] and list((self.b.work / "state/artefacts").glob("acme/*")), "a function is in")
        return begun

    def test_nobody_sees_half_a_tenant(self):
        begun = self.begin()
        self.assertEqual(get(self.b, "tenants")["tenants"][0]["state"], "importing")
        self.assertEqual(get(self.b, "functions")["functions"], [])
        self.assertEqual(call(self.b, "acme/hello-c", self.invoker["key"])[0], 401)
        self.assertEqual(self.b.request("GET", "/fn/acme/hello-c/")[0], 404)
        self.assertEqual(post(self.b, self.archive)[0], 409)
        self.assertEqual(post(self.b, self.archive, "acme")[0], 409)
        self.assertEqual(self.b.request("GET", "/admin/v1/tenants/acme/export")[0], 409)
        self.assertEqual(self.b.request("DELETE", "/admin/v1/tenants/acme")[0], 409)
        self.assertEqual(self.b.request("PATCH", "/admin/v1/tenants/acme", '{"state": "active"}')[0], 409)
        self.assertEqual(self.b.request("POST", "/admin/v1/tenants", '{"name": "acme"}')[0], 409)
        self.assertEqual(self.b.request("PUT", "/admin/v1/tenants/acme/secrets/TOKEN", "x")[0], 404)
        refused = self.b.cli("deploy", str(ROOT / "examples/hello-c"), "--tenant", "acme", check=False)
        self.assertEqual(refused.returncode, 1)
        # Others are served meanwhile.
        self.b.cli("deploy", str(ROOT / "examples/hello-c"), "--tenant", "next")
        self.assertEqual(self.b.request("GET", "/fn/next/hello-c/")[0], 200)
        status, made = begun.finish()
        self.assertEqual((status, made["state"]), (201, "active"), made)
        self.assertEqual(call(self.b, "acme/hello-c", self.invoker["key"])[:2], (200, b"hello ada\n"))

    def test_a_client_that_leaves_leaves_nothing(self):
        self.begin().leave()
        wait_for(lambda: not get(self.b, "tenants")["tenants"], "the tenant is gone")
        wait_for(lambda: not traces(self.b, "acme"), "its things are gone")
        self.assert_nothing()
        wait_for(lambda: get(self.b, "audit?act=tenant.import")["entries"], "it is in the log")
        self.assertEqual(post(self.b, self.archive)[0], 201)

    def test_a_host_that_is_killed_in_the_middle_erases_it_at_its_start(self):
        for again in range(3):
            begun = self.begin()
            self.assertNotEqual(traces(self.b, "acme"), [])
            self.b.end(signal.SIGKILL)
            begun.leave()
            self.b = Host(work=self.b.work)
            wait_for(lambda: not get(self.b, "tenants")["tenants"], "the tenant is gone")
            wait_for(lambda: not traces(self.b, "acme"), "its things are gone")
            self.assert_nothing()
        self.assertEqual(post(self.b, self.archive)[0], 201)
        self.assertEqual(call(self.b, "acme/hello-c", self.invoker["key"])[:2], (200, b"hello ada\n"))

    def test_killed_at_any_moment_it_is_all_there_or_not_at_all(self):
        states = set()
        for point in range(8):
            begun = Begun(self.b, self.archive, len(self.archive) - 1024 if point % 2 else len(self.archive))
            time.sleep(0.02 + point * 0.08)
            self.b.end(signal.SIGKILL)
            begun.leave()
            self.b = Host(work=self.b.work)
            wait_for(lambda: all(t["state"] == "active" for t in get(self.b, "tenants")["tenants"]), "nothing half is left")
            tenants = [t["name"] for t in get(self.b, "tenants")["tenants"]]
            states.add(bool(tenants))
            if tenants:
                self.assertEqual(len(get(self.b, "functions")["functions"]), 3)
                self.assertEqual(call(self.b, "acme/hello-c", self.invoker["key"])[:2], (200, b"hello ada\n"))
                self.b.cli("tenant", "delete", "acme", "--confirm", "acme")
            wait_for(lambda: not traces(self.b, "acme"), "its things are gone")
        self.assertIn(False, states)

    def test_a_client_that_stops_reading_an_export_keeps_nobody_out_for_long(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.a.port, timeout=30)
        connection.request("GET", "/admin/v1/tenants/acme/export")
        answer = connection.getresponse()
        self.assertEqual(len(answer.read(1000)), 1000)
        status, body, _ = self.a.request("GET", "/admin/v1/tenants/acme/export")
        self.assertEqual((status, json.loads(body)["code"]), (409, "conflict"))
        answer.close()
        connection.close()
        wait_for(lambda: self.a.request("GET", "/admin/v1/tenants/acme/export")[0] == 200, "it can be exported again")


if __name__ == "__main__":
    unittest.main()
