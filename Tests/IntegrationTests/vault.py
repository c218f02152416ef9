"""Secrets and keys: who gets a value, who never does, and what becomes of it all when keys are missing, wrong or changed."""
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
import unittest

from run import FIXTURES, PREFIX, SWIFTLET, Host, handler, make_work, wait_for, zygote_processes

ASKS = "#include <stdbool.h>\n" + (FIXTURES / "asks.c").read_text()
KEY = bytes(range(32)).hex()


def set_secret(host, name, value, tenant="default", function=None):
    scope = f"/admin/v1/tenants/{tenant}" + (f"/functions/{function}" if function else "")
    return host.request("PUT", f"{scope}/secrets/{name}", value)


def deploy(host, name, tenant="default", secrets=(), body='return ask(host, "secret.get", call->body);', **more):
    """A C handler that asks for the secret that the request names."""
    folder = host.work / f"{tenant}-{name}"
    folder.mkdir(exist_ok=True)
    (folder / "handler.c").write_text(handler(body, ASKS))
    (folder / "swiftlet.json5").write_text(json.dumps(
        {"name": name, "kind": "handler", "version": "1.0.0", "language": "c", "secrets": list(secrets), **more}))
    host.cli("deploy", str(folder), "--tenant", tenant)


def ask(host, function, name):
    """Has a function ask for a secret; returns the bytes, or the type of the refusal."""
    status, body, _ = host.request("POST", f"/fn/{function}/", name if isinstance(name, bytes) else name.encode())
    assert status == 200, (status, body)
    if body.startswith(b"ok:"):
        return body[3:]
    return json.loads(body[3:])["error"]["type"]


def serve(state, *words, **process):
    """Runs a host that must not start."""
    done = subprocess.run(
        [SWIFTLET, "serve", "--listen", "127.0.0.1:0", "--state", str(state), *words], capture_output=True, text=True, timeout=30,
        **process)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def files(folder):
    """Every file below a folder, and what is in it."""
    return {path: path.read_bytes() for path in sorted(pathlib.Path(folder).rglob("*")) if path.is_file()}


def differing(before, state):
    """Which files changed since; SQLite may have tidied up, so that a database says the same as before in other bytes."""
    after = files(state)
    changed = [path.name for path in {*before, *after} if before.get(path) != after.get(path)]
    return [name for name in changed if not name.startswith(("registry.db", "quotas.db")) and not name.endswith(("-wal", "-shm"))]


def write_key(path, text=KEY, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


class Values(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        deploy(cls.host, "asks", secrets=["TOKEN", "OWN", "BYTES", "NEVER-SET"])
        deploy(cls.host, "next", secrets=["TOKEN", "OWN"])
        deploy(cls.host, "asks", tenant="evil", secrets=["TOKEN", "OWN"])

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def test_a_function_gets_what_its_manifest_names_and_its_own_wins(self):
        set_secret(self.host, "TOKEN", b"tenants")
        set_secret(self.host, "OTHER", b"unnamed")
        self.assertEqual(ask(self.host, "default/asks", "TOKEN"), b"tenants")
        set_secret(self.host, "TOKEN", b"own", function="asks")
        self.assertEqual(ask(self.host, "default/asks", "TOKEN"), b"own")
        self.assertEqual(ask(self.host, "default/next", "TOKEN"), b"tenants")
        self.assertEqual(self.host.request("DELETE", "/admin/v1/tenants/default/functions/asks/secrets/TOKEN")[0], 200)
        self.assertEqual(ask(self.host, "default/asks", "TOKEN"), b"tenants")
        self.assertEqual(ask(self.host, "default/asks", "OTHER"), "secret_not_named")
        self.assertEqual(ask(self.host, "default/asks", "NEVER-SET"), "secret_not_found")

    def test_a_new_value_is_there_at_the_next_call(self):
        first = json.loads(set_secret(self.host, "OWN", b"first", function="next")[1])["version"]
        for number in range(first, first + 20):
            value = f"value-{number}".encode()
            status, text, _ = set_secret(self.host, "OWN", value, function="next")
            self.assertEqual((status, json.loads(text)["version"]), (200, number + 1))
            self.assertEqual(ask(self.host, "default/next", "OWN"), value)

    def test_any_bytes_up_to_64_kib(self):
        for size in [1, 100, 32_768, 32_769, 65_535, 65_536]:
            value = random.Random(size).randbytes(size)
            self.assertEqual(set_secret(self.host, "BYTES", value)[0], 200)
            self.assertEqual(ask(self.host, "default/asks", "BYTES"), value)
        before = ask(self.host, "default/asks", "BYTES")
        self.assertEqual(set_secret(self.host, "BYTES", b"x" * 65_537)[0], 413)
        self.assertEqual(set_secret(self.host, "BYTES", b"x" * (1 << 20))[0], 413)
        self.assertEqual(set_secret(self.host, "BYTES", b"")[0], 400)
        self.assertEqual(ask(self.host, "default/asks", "BYTES"), before)
        self.assertEqual(set_secret(self.host, "BYTES", b"\0a\0\xff\0")[0], 200)
        self.assertEqual(ask(self.host, "default/asks", "BYTES"), b"\0a\0\xff\0")

    def test_names_that_are_none(self):
        for name in ["..", "%2e%2e", "a.b", "1A", "-A", "%C3%A4", "A%20B", "A%00B", "A" * 65, "A%2fB"]:
            status, text, _ = set_secret(self.host, name, b"x")
            self.assertIn(status, (400, 404), (name, text))
        for path in ["tenants/../secrets/A", "tenants/UPPER/secrets/A", "tenants/a/functions/../secrets/A", "tenants/a/functions//secrets/A"]:
            self.assertIn(self.host.request("PUT", f"/admin/v1/{path}", b"x")[0], (400, 404), path)
        for path, method in [("tenants/a/data-key", "GET"), ("tenants/a/data-key/rotate/now", "POST"), ("tenants/a/b/c/d/e/f", "GET")]:
            self.assertEqual(self.host.request(method, f"/admin/v1/{path}")[0], 404, path)
        self.assertEqual(json.loads(self.host.request("GET", "/admin/v1/tenants/a/secrets")[1]), {"secrets": []})

    def test_no_route_gives_a_value_back(self):
        set_secret(self.host, "TOKEN", b"marker-of-routes")
        for method in ["GET", "POST", "HEAD", "PATCH"]:
            status, body, _ = self.host.request(method, "/admin/v1/tenants/default/secrets/TOKEN")
            self.assertEqual(status, 405, method)
            self.assertNotIn(b"marker", body)
        status, body, _ = self.host.request("GET", "/admin/v1/tenants/default/secrets")
        self.assertEqual(status, 200)
        self.assertIn("TOKEN", [row["name"] for row in json.loads(body)["secrets"]])
        for path in ["tenants/default/secrets", "tenants/default/functions/asks/secrets", "functions", "workers", "host", "logs/default/asks"]:
            self.assertNotIn(b"marker-of-routes", self.host.request("GET", f"/admin/v1/{path}")[1])

    def test_the_command_line(self):
        self.host.cli("tenant", "create", "cli")
        file = self.host.work / "value"
        file.write_bytes(b"from a file\n")
        self.host.cli("secret", "set", "FILED", "--from-file", str(file), "--tenant", "cli")
        environment = dict(os.environ, SWIFTLET_HOST=self.host.url)
        done = subprocess.run(
            [SWIFTLET, "secret", "set", "PIPED", "--tenant", "cli", "--function", "f"], input=b"piped", capture_output=True, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = json.loads(self.host.cli("secret", "ls", "--tenant", "cli", "--json").stdout)["secrets"]
        self.assertEqual([(r["name"], r["function"], r["version"]) for r in rows], [("FILED", None, 1), ("PIPED", "f", 1)])
        listing = self.host.cli("secret", "ls", "--tenant", "cli").stdout
        self.assertRegex(listing, r"FILED +- +1 +20\d\d-")
        self.assertNotIn("piped", listing)
        deploy(self.host, "f", tenant="cli", secrets=["FILED", "PIPED"])
        self.assertEqual(ask(self.host, "cli/f", "FILED"), b"from a file\n")
        self.assertEqual(ask(self.host, "cli/f", "PIPED"), b"piped")
        self.host.cli("secret", "rm", "FILED", "--tenant", "cli")
        self.assertEqual(ask(self.host, "cli/f", "FILED"), "secret_not_found")
        for words, code in [
            (["rm", "FILED", "--tenant", "cli"], 1), (["set", "A", "value"], 2), (["set", "../A"], 2), (["set"], 2), ([], 2),
            (["ls", "--tenant", "../x"], 1), (["set", "A", "--from-file", "/nowhere"], 1),
        ]:
            done = self.host.cli("secret", *words, check=False)
            self.assertEqual(done.returncode, code, (words, done.stderr))
            self.assertTrue(done.stderr.startswith("swiftlet: "), done.stderr)

    def test_a_swift_handler(self):
        folder = self.host.work / "kit"
        folder.mkdir()
        (folder / "handler.swift").write_text("""
            import SwiftletKit
            struct Keeper: Handler {
                func respond(to request: Request, context: Context) async throws -> Response {
                    do {
                        let secret = try await context.secret(request.query["name"] ?? "")
                        return Response(text: "\\(secret.bytes.count) \\(secret.text ?? "no text")")
                    } catch let error as HostCallError {
                        return Response(text: error.type)
                    }
                }
            }
            """)
        (folder / "swiftlet.json5").write_text(json.dumps({
            "name": "kit", "kind": "handler", "version": "1", "language": "swift", "handler": "Keeper", "secrets": ["TOKEN", "BYTES"]}))
        self.host.cli("deploy", str(folder), "--tenant", "swift")
        set_secret(self.host, "TOKEN", "gru\u0308n".encode(), tenant="swift")
        set_secret(self.host, "BYTES", b"\xff\xfe", tenant="swift")
        get = lambda name: self.host.request("GET", f"/fn/swift/kit/?name={name}")[1].decode()
        self.assertEqual(get("TOKEN"), "6 gru\u0308n")
        self.assertEqual(get("BYTES"), "2 no text")
        self.assertEqual(get("OTHER"), "secret_not_named")

    def test_a_manifest_that_names_what_is_no_name(self):
        for names in [["a b"], ["../x"], ["A", "A"], "A", [1], [f"S{n}" for n in range(65)]]:
            done = self.host.deploy_c("bad", handler("return 0;"), secrets=names)
            self.assertEqual(done.returncode, 1, names)
            self.assertIn("secrets", done.stderr)

    def test_a_hostile_handler_gets_nobody_elses(self):
        set_secret(self.host, "TOKEN", b"marker-default")
        set_secret(self.host, "OWN", b"marker-own", function="next")
        set_secret(self.host, "OTHER", b"marker-evil-other", tenant="evil")
        set_secret(self.host, "TOKEN", b"marker-evil-next", tenant="evil", function="next")
        names = [
            b"TOKEN", b"OWN", b"OTHER", b"", b"token", b"TOKEN\0", b"\0TOKEN", b"TOKEN ", b"default/TOKEN", b"../default/TOKEN", b"/TOKEN",
            b"default/next/OWN", b"next/OWN", b"functions/next/secrets/OWN", b"*", b"%", b"TOKEN' OR '1'='1", b"T\xc3\x96KEN", b"\xff\xfe",
            b'"TOKEN"', b'{"name":"TOKEN"}', b'{"name":"TOKEN","tenant":"default"}', b"T" * 300, b"T" * 30_000, b"TOKEN\nTOKEN",
        ]
        for name in names:
            answer = ask(self.host, "evil/asks", name)
            self.assertIn(answer, ("secret_not_named", "secret_not_found"), name)
        # Calls that look alike, and many at once in one invocation.
        body = """
            static const char *NAMES[] = {"secret.get ", "secret", "secret.list", "secret.set", "secret.GET", "vault.open", "secret.get/default"};
            for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
                int32_t status = ask(host, NAMES[i], text("TOKEN"));
                if (status != SWIFTLET_OK) return status;
            }
            for (int i = 0; i < 500; i++) {
                int32_t status = ask(host, "secret.get", text("TOKEN"));
                if (status != SWIFTLET_OK) return status;
            }
            return SWIFTLET_OK;
            """
        deploy(self.host, "tries", tenant="evil", secrets=["TOKEN"], body=body)
        status, answer, _ = self.host.request("GET", "/fn/evil/tries/")
        self.assertEqual((status, answer.count(b"no:"), answer.count(b"ok:")), (200, 507, 0))
        self.assertNotIn(b"marker", answer)

    def test_a_value_is_nowhere_to_be_seen(self):
        marker = b"marker-" + os.urandom(8).hex().encode()
        set_secret(self.host, "TOKEN", marker)
        set_secret(self.host, "TOKEN", marker * 100, function="asks")
        self.assertEqual(ask(self.host, "default/asks", "TOKEN"), marker * 100)
        self.assertEqual(ask(self.host, "default/next", "TOKEN"), marker)
        # A handler that fails with the value in its hands fails with its own words only.
        self.assertEqual(set_secret(self.host, "TOKEN", b"x" * 65_537)[0], 413)
        processes = {self.host.process.pid} | zygote_processes(self.host.process.pid)
        self.assertGreater(len(processes), 3)
        looked = 0
        for pid in processes:
            for name in ["cmdline", "environ", "status", "maps"]:
                with contextlib.suppress(OSError):
                    self.assertNotIn(marker, pathlib.Path(f"/proc/{pid}/{name}").read_bytes(), (pid, name))
                    looked += 1
        self.assertGreater(looked, 8)
        self.assertNotIn(marker, (self.host.work / "host.log").read_bytes())
        for path, content in files(self.host.work / "state").items():
            self.assertNotIn(marker, content, path)
        for path in ["/metrics", "/admin/v1/logs/default/asks", "/admin/v1/functions", "/admin/v1/host", "/v1/models", "/fn/default/none/"]:
            self.assertNotIn(marker, self.host.request("GET", path)[1], path)
        # No core file of the host, whoever asks for one.
        limits = pathlib.Path(f"/proc/{self.host.process.pid}/limits").read_text()
        self.assertRegex(limits, r"Max core file size +0 +0 ")

    def test_who_runs_as_the_same_user_cant_look_into_the_host(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        program = (
            f"import os; os.setgid(59990); os.setuid(59990)\n"
            f"for name in ['mem', 'environ', 'maps']:\n"
            f"  try: open('/proc/{self.host.process.pid}/' + name, 'rb').read(1); print('read', name)\n"
            f"  except OSError as error: print('no')\n")
        done = subprocess.run(["python3", "-c", program], capture_output=True, text=True)
        self.assertEqual(done.stdout, "no\nno\nno\n", done.stderr)

    def test_a_tenants_new_key(self):
        self.assertEqual(set_secret(self.host, "TOKEN", b"before", tenant="turns")[0], 404, "there is no such tenant yet")
        deploy(self.host, "asks", tenant="turns", secrets=["TOKEN", "LATER"])
        set_secret(self.host, "TOKEN", b"before", tenant="turns")
        self.assertIn("key 2", self.host.cli("vault", "rotate-key", "--tenant", "turns").stdout)
        set_secret(self.host, "LATER", b"after", tenant="turns")
        self.assertEqual((ask(self.host, "turns/asks", "TOKEN"), ask(self.host, "turns/asks", "LATER")), (b"before", b"after"))
        self.host.cli("vault", "rotate-key", "--tenant", "turns", "--reseal")
        database = f"file:{self.host.work}/state/vault.db?mode=ro"

        def versions():
            with contextlib.closing(sqlite3.connect(database, uri=True)) as connection:
                return [row[0] for row in connection.execute("SELECT version FROM data_key WHERE tenant='turns'")]
        wait_for(lambda: versions() == [3], "the older keys are gone")
        self.assertEqual((ask(self.host, "turns/asks", "TOKEN"), ask(self.host, "turns/asks", "LATER")), (b"before", b"after"))
        status, text, _ = self.host.request("POST", "/admin/v1/tenants/nobody/data-key/rotate")
        self.assertEqual(status, 404, text)


class Masters(unittest.TestCase):
    def setUp(self):
        self.work = make_work()
        self.state = self.work / "state"
        self.hosts = []

    def tearDown(self):
        for host in self.hosts:
            if host.process.poll() is None:
                host.stop()
        shutil.rmtree(self.work, ignore_errors=True)

    def host(self, *words, **process):
        """A host of this test's state directory; its work folder goes with the test and not with it."""
        (self.work / "host.log").unlink(missing_ok=True)
        host = Host(*words, work=self.work, **process)
        self.hosts.append(host)
        return host

    def end(self, host):
        self.assertEqual(host.end(), 0)
        return (self.work / "host.log").read_text()

    def filled(self, *words, **process):
        host = self.host(*words, **process)
        deploy(host, "asks", secrets=["TOKEN"])
        self.assertEqual(set_secret(host, "TOKEN", b"kept")[0], 200)
        return self.end(host)

    def expect_kept(self, *words, **process):
        host = self.host(*words, **process)
        self.assertEqual(ask(host, "default/asks", "TOKEN"), b"kept")
        return self.end(host)

    def test_a_first_start_makes_a_key_and_says_so_loudly(self):
        log = self.filled()
        self.assertIn("MASTER KEY", log)
        self.assertIn("--master-key-file", log)
        self.assertEqual((self.state / "master.key").stat().st_mode & 0o777, 0o600)
        self.expect_kept()
        # Moved elsewhere, as the line says.
        shutil.move(self.state / "master.key", self.work / "elsewhere")
        before = files(self.state)
        self.assertIn("holds what was sealed", serve(self.state))
        self.assertEqual(differing(before, self.state), [], "nothing was written")
        self.assertNotIn("MASTER KEY", self.expect_kept("--master-key-file", str(self.work / "elsewhere")))

    def test_keys_that_dont_do(self):
        key = write_key(self.work / "key")
        self.filled("--master-key-file", str(key))
        before = files(self.state)
        cases = [
            (write_key(self.work / "other", "f" + KEY[1:]), "was sealed under the master key"),
            (write_key(self.work / "short", KEY[:40]), "neither a key of 32 bytes"),
            (write_key(self.work / "empty", ""), "neither a key of 32 bytes"),
            (write_key(self.work / "zeros", "0" * 64), "the same"),
            (write_key(self.work / "open", mode=0o644), "chmod 600"),
            (write_key(self.work / "group", mode=0o640), "chmod 600"),
            (self.work / "missing", "No such file"),
            (self.work, "no plain file"),
        ]
        for path, words in cases:
            self.assertIn(words, serve(self.state, "--master-key-file", str(path)), path)
        if os.geteuid() == 0:
            os.chown(write_key(self.work / "stranger"), 12_345, 12_345)
            self.assertIn("belongs to user 12345", serve(self.state, "--master-key-file", str(self.work / "stranger")))
        self.assertIn("given by", serve(self.state, "--master-key-file", str(key), env=dict(os.environ, SWIFTLET_MASTER_KEY=KEY)))
        self.assertEqual(differing(before, self.state), [], "nothing was written")
        # The database of another host under this one's key.
        other = self.work / "b"
        other.mkdir()
        self.expect_kept("--master-key-file", str(key))

    def test_a_database_of_another_or_broken_or_held(self):
        key = write_key(self.work / "key")
        self.filled("--master-key-file", str(key))
        host = self.host("--master-key-file", str(key))
        with contextlib.closing(sqlite3.connect(self.state / "vault.db", isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            status, text, _ = set_secret(host, "TOKEN", b"another")
            self.assertEqual(status, 503, text)
            self.assertIn("locked", json.loads(text)["cause"])
            self.assertEqual(ask(host, "default/asks", "TOKEN"), b"kept", "who reads never waits")
            holder.execute("ROLLBACK")
        self.assertEqual(set_secret(host, "TOKEN", b"another")[0], 200)
        self.assertEqual(set_secret(host, "TOKEN", b"kept")[0], 200)
        self.end(host)
        good = (self.state / "vault.db").read_bytes()
        (self.state / "vault.db").write_bytes(b"no database" * 1000)
        self.assertIn("backup", serve(self.state, "--master-key-file", str(key)))
        (self.state / "vault.db").write_bytes(good[:len(good) // 2])
        self.assertIn("vault.db", serve(self.state, "--master-key-file", str(key)))
        (self.state / "vault.db").write_bytes(good)
        self.expect_kept("--master-key-file", str(key))

    def test_from_the_environment_which_nobody_sees(self):
        environment = dict(os.environ, SWIFTLET_MASTER_KEY=KEY)
        host = self.host(env=environment)
        processes = {host.process.pid} | zygote_processes(host.process.pid)
        looked = 0
        for pid in processes:
            for name in ["environ", "cmdline"]:
                # One may have ended since it was listed.
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    text = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
                    self.assertNotIn(KEY.encode(), text)
                    self.assertNotIn(b"SWIFTLET_MASTER_KEY=0", text)
                    looked += 1
        deploy(host, "asks", secrets=["TOKEN"])
        self.assertGreater(looked, 3)
        set_secret(host, "TOKEN", b"kept")
        self.end(host)
        self.assertFalse((self.state / "master.key").exists())
        self.expect_kept("--master-key-file", str(write_key(self.work / "same")))
        self.assertIn("holds what was sealed", serve(self.state))
        self.assertIn("SWIFTLET_MASTER_KEY", serve(self.state, env=dict(os.environ, SWIFTLET_MASTER_KEY="short")))

    def test_from_a_credential(self):
        credentials = self.work / "credentials"
        credentials.mkdir()
        write_key(credentials / "swiftlet-master-key", mode=0o440)
        self.filled(env=dict(os.environ, CREDENTIALS_DIRECTORY=str(credentials)))
        self.expect_kept("--master-key-file", str(write_key(self.work / "same")))

    def rotate(self, *words):
        return subprocess.run(
            [SWIFTLET, "vault", "rotate-master", "--state", str(self.state), *words], capture_output=True, text=True, timeout=60)

    def test_a_new_master_key(self):
        key = write_key(self.work / "key")
        self.filled("--master-key-file", str(key))
        host = self.host("--master-key-file", str(key))
        self.assertIn("stop the host", self.rotate("--old-key", str(key)).stderr)
        self.end(host)
        done = self.rotate("--old-key", str(key))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotEqual(key.read_bytes(), KEY.encode())
        self.assertFalse((self.work / "key.next").exists())
        self.expect_kept("--master-key-file", str(key))
        self.assertIn("was sealed under", serve(self.state, "--master-key-file", str(write_key(self.work / "old"))))
        new = write_key(self.work / "given", "a5" + KEY[2:])
        done = self.rotate("--old-key", str(key), "--new-key", str(new))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.expect_kept("--master-key-file", str(new))
        self.assertEqual(self.rotate("--old-key", str(key), "--new-key", str(new)).returncode, 0, "again, as after a crash")
        done = self.rotate("--old-key", str(write_key(self.work / "old")), "--new-key", str(key))
        self.assertIn("nothing was written", done.stderr)
        self.expect_kept("--master-key-file", str(new))

    def test_a_rotation_that_is_killed_anywhere_is_finished_by_the_next(self):
        key = write_key(self.work / "key")
        host = self.host("--master-key-file", str(key))
        deploy(host, "asks", secrets=["TOKEN"])
        set_secret(host, "TOKEN", b"kept")
        for number in range(60):
            host.request("POST", "/admin/v1/tenants", json.dumps({"name": f"t{number}"}))
            self.assertEqual(set_secret(host, "TOKEN", b"x", tenant=f"t{number}")[0], 200)
        self.end(host)
        begin = time.monotonic()
        self.assertEqual(self.rotate("--old-key", str(key)).returncode, 0)
        whole = time.monotonic() - begin
        cut = 0
        for number in range(12):
            rotation = subprocess.Popen(
                [SWIFTLET, "vault", "rotate-master", "--state", str(self.state), "--old-key", str(key)], stdout=subprocess.DEVNULL)
            time.sleep(whole * (number + 1) / 12)
            rotation.kill()
            cut += rotation.wait() != 0
            # Whatever was done, a host that is started as before opens everything.
            if number % 3 == 0:
                self.expect_kept("--master-key-file", str(key))
        self.assertGreater(cut, 0)
        self.assertEqual(self.rotate("--old-key", str(key)).returncode, 0)
        self.assertFalse((self.work / "key.next").exists())
        self.expect_kept("--master-key-file", str(key))


class AtRest(unittest.TestCase):
    """What lies on the disk of a tenant's functions, and what is left when the tenant is deleted."""

    def setUp(self):
        self.work = make_work()
        self.state = self.work / "state"
        self.host = Host(work=self.work)
        self.marker = b"marker-" + os.urandom(8).hex().encode()

    def tearDown(self):
        self.end()
        shutil.rmtree(self.work, ignore_errors=True)

    def end(self, how=signal.SIGTERM):
        self.host.end(how)

    def again(self):
        self.host = Host(work=self.work)

    def fill(self, tenant):
        """A function whose code, data, manifest and secrets all hold the marker."""
        marker = self.marker.decode()
        folder = self.work / f"{tenant}-says"
        folder.mkdir(exist_ok=True)
        (folder / "handler.c").write_text(handler(f'return host->write(text("{marker}"));', ASKS))
        manifest = {"name": "says", "kind": "handler", "version": "1", "config": {"note": marker}, "secrets": ["TOKEN"]}
        (folder / "swiftlet.json5").write_text(json.dumps({**manifest, "language": "c"}))
        self.host.cli("build", str(folder))
        # Now a folder without sources, whose other files are part of it.
        (folder / "handler.c").unlink()
        (folder / "notes.txt").write_text(f"{marker} in a file\n" * 1000)
        (folder / "swiftlet.json5").write_text(json.dumps({**manifest, "library": "plugin.so"}))
        self.host.cli("deploy", str(folder), "--tenant", tenant)
        set_secret(self.host, "TOKEN", self.marker, tenant=tenant)
        self.expect_answer(tenant)

    def expect_answer(self, tenant):
        self.assertEqual(self.host.request("GET", f"/fn/{tenant}/says/")[:2], (200, self.marker))

    def holding(self):
        """The files of the state directory that hold the marker."""
        return [str(path.relative_to(self.state)) for path, content in files(self.state).items() if self.marker in content]

    def plain_copies(self):
        """The same of the memory that only the host sees."""
        room = pathlib.Path(f"/proc/{self.host.process.pid}/root{self.state}/plain")
        return [path for path, content in files(room).items() if self.marker in content]

    def test_the_disk_tells_nothing_but_the_manifest(self):
        self.fill("acme")
        self.assertEqual({name.split("-")[0] for name in self.holding()}, {"registry.db"}, "names and manifests are no secret")
        sealed = list((self.state / "artefacts/acme").rglob("*.*"))
        self.assertEqual(len(sealed), 3)
        for path in sealed:
            self.assertTrue(path.read_bytes().startswith(b"swlseal1"), path)
            self.assertNotIn(b"ELF", path.read_bytes()[:64])
        if os.geteuid() == 0:
            self.assertEqual(len(self.plain_copies()), 3)
            self.assertEqual(list((self.state / "plain").iterdir()), [], "nobody but the host sees them")
            mounts = pathlib.Path("/proc/self/mounts").read_text()
            self.assertNotIn(str(self.state), mounts)

    def test_functions_outlive_the_host_however_it_ends(self):
        self.fill("acme")
        for how in [signal.SIGTERM, signal.SIGKILL]:
            self.end(how)
            self.again()
            self.expect_answer("acme")
            self.assertEqual({name.split("-")[0] for name in self.holding()}, {"registry.db"})

    def test_many_first_calls_at_once(self):
        self.fill("acme")
        self.end()
        self.again()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: self.host.request("GET", "/fn/acme/says/")[:2], range(64)))
        self.assertEqual(set(answers), {(200, self.marker)})

    def test_a_changed_file_is_refused_and_the_host_goes_on(self):
        self.fill("acme")
        self.fill("other")
        self.end()
        library = next((self.state / "artefacts/acme").rglob("plugin.so"))
        good = library.read_bytes()
        others = next((self.state / "artefacts/other").rglob("plugin.so"))
        cases = [
            (good[:-1] + bytes([good[-1] ^ 1]), "was changed"), (good[:100], "was changed"), (others.read_bytes(), "was changed"),
            (b"", "not what the vault sealed"), (None, "missing"),
        ]
        for content, words in cases:
            library.unlink(missing_ok=True)
            if content is not None:
                # An empty one would be taken for one of an earlier version, and is not what was deployed.
                library.write_bytes(content)
            self.again()
            status, text, _ = self.host.request("GET", "/fn/acme/says/")
            self.assertEqual(status, 500, text)
            self.assertEqual(self.host.request("GET", "/fn/acme/says/")[0], 500)
            self.expect_answer("other")
            self.end()
        library.write_bytes(good)
        self.again()
        self.expect_answer("acme")

    def test_what_an_earlier_version_left_plain_is_sealed(self):
        if os.geteuid() != 0:
            self.skipTest("only root sees the plain copies")
        self.fill("acme")
        plain = {path.name: path.read_bytes() for path in self.plain_copies()}
        self.end()
        for path in (self.state / "artefacts/acme").rglob("*.*"):
            path.write_bytes(plain[path.name])
        self.assertGreater(len(self.holding()), 3)
        self.again()
        self.assertEqual({name.split("-")[0] for name in self.holding()}, {"registry.db"})
        self.expect_answer("acme")

    def test_a_new_key_reseals_artefacts(self):
        self.fill("acme")
        library = next((self.state / "artefacts/acme").rglob("plugin.so"))
        self.assertEqual(library.read_bytes()[8:12], b"\1\0\0\0")
        self.host.cli("vault", "rotate-key", "--tenant", "acme", "--reseal")
        wait_for(lambda: "resealed" in (self.work / "host.log").read_text(), "all is resealed")
        self.assertEqual(library.read_bytes()[8:12], b"\2\0\0\0")
        self.expect_answer("acme")
        self.end()
        self.again()
        self.expect_answer("acme")

    def test_a_deleted_tenant_leaves_nothing_that_opens(self):
        self.fill("acme")
        self.fill("other")
        copies = {path: path.read_bytes() for path in (self.state / "artefacts/acme").rglob("*") if path.is_file()}
        erased = json.loads(self.host.request("DELETE", "/admin/v1/tenants/acme")[1])["erased"]
        self.assertEqual((erased["secrets"], erased["artefacts"]), (1, 1))
        # The other tenant holds the same marker; what is left of it is its manifest in the registry.
        self.assertEqual(self.host.request("DELETE", "/admin/v1/tenants/other")[0], 200)
        self.assertEqual(self.holding(), [])
        if os.geteuid() == 0:
            self.assertEqual(self.plain_copies(), [])
        # The same name again is another tenant, and copies of the old one's files are noise.
        self.host.cli("tenant", "create", "acme")
        self.assertEqual(json.loads(self.host.request("GET", "/admin/v1/tenants/acme/secrets")[1]), {"secrets": []})
        self.fill("acme")
        self.end()
        for path, content in copies.items():
            path.write_bytes(content)
        self.again()
        status, text, _ = self.host.request("GET", "/fn/acme/says/")
        self.assertEqual(status, 500, text)
        self.assertIn("was changed", json.loads(text)["cause"])
        with contextlib.closing(sqlite3.connect(self.state / "vault.db")) as database:
            self.assertEqual(database.execute("SELECT tenant,version FROM data_key").fetchall(), [("acme", 1)])

    def test_a_deletion_that_is_killed_is_finished_at_the_next_start(self):
        for number in range(3):
            self.fill("acme")
            thread = threading.Thread(target=self.try_delete)
            thread.start()
            time.sleep(0.004 * number)
            self.end(signal.SIGKILL)
            thread.join()
            self.again()
            with contextlib.suppress(AssertionError):
                wait_for(lambda: not self.tenants(), "the deletion is finished", 3)
            if self.tenants():
                # It was killed before the deletion was taken down.
                self.expect_answer("acme")
                self.try_delete()
            self.assertEqual(self.tenants(), [])
            self.assertEqual(self.holding(), [])

    def tenants(self):
        return [t["name"] for t in json.loads(self.host.request("GET", "/admin/v1/tenants")[1])["tenants"]]

    def try_delete(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.host.request("DELETE", "/admin/v1/tenants/acme")

    def test_an_upload_that_is_too_large_fills_no_memory(self):
        # With its length it is refused at once, without one when it is too much; who goes on sending is cut off.
        for body in (b"x" * (66 << 20), (b"x" * (1 << 20) for _ in range(66))):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                status, text, _ = self.host.request("POST", "/admin/v1/deployments/acme", body)
                self.assertEqual(status, 413, text)
        if os.geteuid() == 0:
            room = pathlib.Path(f"/proc/{self.host.process.pid}/root{self.state}/plain")
            self.assertEqual(files(room), {})


if __name__ == "__main__":
    unittest.main(verbosity=2)
