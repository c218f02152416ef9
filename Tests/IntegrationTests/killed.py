"""kill -9 at random points of acts and calls: nothing acknowledged is lost, nothing is half there, the audit log knows it all.

Usage: killed.py PREFIX [POINTS [SEED]]   (200 points by default)
"""
import hashlib
import http.client
import io
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time

ARGUMENTS = sys.argv[2:]
del sys.argv[2:]
from models import ECHO  # noqa: E402
from run import SWIFTLET, Host, handler  # noqa: E402

POINTS = int(ARGUMENTS[0]) if ARGUMENTS else 200
SEED = int(ARGUMENTS[1]) if len(ARGUMENTS) > 1 else random.randrange(1 << 32)
# A handler that says which version it is: its config.
SOURCE = handler(
    'return host->write((swiftlet_bytes){version, length});',
    'static char version[64];\nstatic size_t length;\n')
GONE = object()


class Killed(Exception):
    """The host went away before it answered."""


class Client:
    """One thread's acts on things that nobody else touches, and what came of them."""

    def __init__(self, world, index):
        self.world, self.index = world, index
        self.random = random.Random(SEED * 31 + index)
        self.functions = {f"f{index}-{n}": GONE for n in range(2)}
        self.keys = {}
        self.revoked = []
        self.tenant = f"t{index}"
        self.state = GONE
        self.alias = "one"
        self.acknowledged = []
        # What was asked for and not answered: the thing, and what it would be.
        self.open = None
        self.fault = None

    def send(self, method, path, body=None, headers={}):
        name = self.world.name()
        try:
            self.connection.request(method, path, body, {"x-request-id": name, **headers})
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            raise Killed from None
        if method != "GET":
            self.acknowledged.append(name)
        return answer.status, text

    def expect(self, status, *words):
        got, text = self.send(*words)
        if got not in (status if isinstance(status, tuple) else (status,)):
            raise AssertionError(f"{words[:2]}: {got} {text[:300]}")
        return json.loads(text) if text.startswith(b"{") else text

    def run(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        acts = [self.deploy] * 4 + [self.remove, self.make_key, self.make_key, self.revoke, self.change_tenant, self.set_alias]
        acts += [self.call] * 4
        try:
            while True:
                self.random.choice(acts)()
                self.open = None
        except Killed:
            pass
        except AssertionError as error:
            self.fault = error
        finally:
            self.connection.close()

    def deploy(self):
        name = self.random.choice(list(self.functions))
        version = self.world.number()
        self.open = ("function", name, version)
        self.expect(201, "POST", f"/admin/v1/deployments/default/{name}", self.world.archive(name, version))
        self.functions[name] = version

    def remove(self):
        name = self.random.choice(list(self.functions))
        self.open = ("function", name, GONE)
        self.expect(404 if self.functions[name] is GONE else 200, "DELETE", f"/admin/v1/functions/default/{name}")
        self.functions[name] = GONE

    def call(self):
        name = self.random.choice(list(self.functions))
        version = self.functions[name]
        text = self.expect(404 if version is GONE else 200, "GET", f"/fn/default/{name}/")
        if version is not GONE and text != {"v": version}:
            raise AssertionError(f"{name} answers {text[:100]}, and {version} was deployed")

    def make_key(self):
        self.open = ("key", None, None)
        made = self.expect(201, "POST", "/admin/v1/keys", json.dumps({"role": "platform_viewer", "comment": f"of {self.index}"}))
        self.keys[made["id"]] = made["key"]

    def revoke(self):
        if not self.keys:
            return
        name = self.random.choice(list(self.keys))
        self.open = ("revoked", name, None)
        self.expect(200, "DELETE", f"/admin/v1/keys/{name}")
        self.revoked.append(self.keys.pop(name))

    def change_tenant(self):
        if self.state is GONE:
            self.open = ("tenant", self.tenant, "active")
            self.expect(201, "POST", "/admin/v1/tenants", json.dumps({"name": self.tenant}))
            self.state = "active"
        elif self.random.random() < 0.3:
            self.open = ("tenant", self.tenant, GONE)
            self.expect(200, "DELETE", f"/admin/v1/tenants/{self.tenant}")
            self.state = GONE
        else:
            new = "suspended" if self.state == "active" else "active"
            self.open = ("tenant", self.tenant, new)
            self.expect(200, "PATCH", f"/admin/v1/tenants/{self.tenant}", json.dumps({"state": new}))
            self.state = new

    def set_alias(self):
        version = self.random.choice(["1.0.0", "2.0.0"])
        self.open = ("alias", f"a{self.index}", version)
        self.expect(200, "PUT", f"/admin/v1/models/m/aliases/a{self.index}?to={version}")
        self.alias = version

    # MARK: after the restart

    def settle(self, seen):
        """Compares what a restarted host shows with what it acknowledged; what was open may be the old or the new."""
        kind, name, new = self.open or (None, None, None)
        self.open = None
        for function, version in self.functions.items():
            now = seen.functions.get(function, GONE)
            if now != version:
                check(kind == "function" and name == function and now == new, f"{function}: {now}, acknowledged {version}")
                self.functions[function] = now
        now = seen.tenants.get(self.tenant, GONE)
        if now != self.state:
            check(kind == "tenant" and now == new, f"{self.tenant}: {now}, acknowledged {self.state}")
            self.state = now
        now = seen.aliases.get(f"a{self.index}", "one")
        if now != self.alias:
            check(kind == "alias" and now == new, f"alias of {self.index}: {now}, acknowledged {self.alias}")
            self.alias = now
        for key in list(self.keys):
            if key not in seen.keys:
                check(kind == "revoked" and name == key, f"the key {key} is lost")
                self.revoked.append(self.keys.pop(key))


def check(condition, words):
    if not condition:
        raise AssertionError(words)


class Seen:
    """What a host shows after its restart."""

    def __init__(self, host):
        def get(path):
            status, text, _ = host.request("GET", "/admin/v1/" + path)
            check(status == 200, f"{path}: {status} {text}")
            return json.loads(text)

        self.rows = get("functions")["functions"]
        self.functions = {r["name"]: int(r["version"].split(".")[0]) for r in self.rows if r["kind"] == "handler"}
        self.tenants = {t["name"]: t["state"] for t in get("tenants")["tenants"]}
        self.keys = {k["id"] for k in get("keys")["keys"]}
        self.models = get("models")["models"]
        self.aliases = {a: m["version"] for m in self.models for a in m["aliases"]}


class World:
    def __init__(self):
        self.lock = threading.Lock()
        self.count = 0
        self.random = random.Random(SEED)
        self.host = Host()
        self.state = self.host.work / "state"
        self.files = {}
        self.clients = [Client(self, index) for index in range(3)]
        self.host.deploy_c("base", SOURCE)
        folder = self.host.work / "base"
        self.library = self.build(folder)
        for version in ["1.0.0", "2.0.0"]:
            self.deploy_model(version)
        self.host.request("DELETE", "/admin/v1/functions/default/base")
        self.last = int(self.host.cli("audit", "head").stdout.split(":")[0])

    def build(self, folder):
        # The config becomes the answer.
        text = (folder / "handler.c").read_text()
        text = text.replace("    (void)host;\n    return SWIFTLET_OK;\n#endif",
                            "    (void)host;\n    length = config.size < sizeof version ? config.size : sizeof version;\n"
                            "    memcpy(version, config.data, length);\n    return SWIFTLET_OK;\n#endif")
        (folder / "handler.c").write_text(text)
        self.host.cli("build", str(folder))
        return (folder / "plugin.so").read_bytes()

    def deploy_model(self, version):
        folder = self.host.work / f"m-{version}"
        folder.mkdir()
        (folder / "EchoBackend.so").write_bytes((ECHO / "EchoBackend.so").read_bytes())
        (folder / "swiftlet.json5").write_text(json.dumps({
            "name": "m", "kind": "backend", "version": version, "library": "EchoBackend.so", "context_tokens": 4096,
            "limits": {"memory_mb": 64, "threads": 1}, "max_sequences": 8, "max_step_tokens": 128}))
        self.host.cli("deploy", str(folder))
        # Both versions keep a name, whatever the other aliases say.
        self.host.cli("alias", "m", f"keep{version[0]}", version)

    def name(self):
        return f"k-{self.number()}"

    def number(self):
        with self.lock:
            self.count += 1
            return self.count

    def archive(self, name, version):
        manifest = json.dumps({"name": name, "kind": "handler", "version": f"{version}.0.0", "library": "plugin.so",
                               "config": {"v": version}}).encode()
        out = io.BytesIO()
        files = {"plugin.so": self.library, "swiftlet.json5": manifest}
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for file, text in files.items():
                info = tarfile.TarInfo(file)
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text))
        self.files[(name, version)] = {file: hashlib.sha256(text).hexdigest() for file, text in files.items()}
        return out.getvalue()

    # MARK: one point

    def point(self):
        threads = [threading.Thread(target=client.run, args=(self.host.port,)) for client in self.clients]
        for thread in threads:
            thread.start()
        time.sleep(self.random.uniform(0.0, 0.35))
        self.host.end(signal.SIGKILL)
        for thread in threads:
            thread.join(timeout=60)
            check(not thread.is_alive(), "a client hangs")
        for client in self.clients:
            if client.fault:
                raise client.fault
        # Before anybody could mend it.
        done = subprocess.run([SWIFTLET, "audit", "verify", "--state", self.state], capture_output=True, text=True)
        check(done.returncode == 0, done.stdout + done.stderr)
        self.host = Host(work=self.host.work)
        self.inspect()

    def inspect(self):
        seen = Seen(self.host)
        for client in self.clients:
            client.settle(seen)
        self.check_files(seen)
        self.check_audit()
        for client in self.clients:
            for text in client.revoked[-2:]:
                status = self.host.request("GET", "/admin/v1/whoami", headers={"authorization": f"Bearer {text}"})[0]
                check(status in (401, 429), f"a revoked key is let in: {status}")
            for text in list(client.keys.values())[-1:]:
                status = self.host.request("GET", "/admin/v1/whoami", headers={"authorization": f"Bearer {text}"})[0]
                check(status == 200, f"an acknowledged key is not let in: {status}")
        # Keys that were made and not acknowledged are told by nobody; they go, so that they don't add up.
        known = {key for client in self.clients for key in client.keys}
        for key in self.host_keys() - known:
            self.host.request("DELETE", f"/admin/v1/keys/{key}")

    def host_keys(self):
        keys = json.loads(self.host.request("GET", "/admin/v1/keys")[1])["keys"]
        return {k["id"] for k in keys if k.get("comment", "").startswith("of ")}

    def check_files(self, seen):
        """Every deployment's files are there as they were sent, and no others are."""
        wanted = {}
        for row in seen.rows:
            if row["kind"] != "handler":
                continue
            folder = self.state / "artefacts/default" / row["digest"]
            sent = self.files[(row["name"], int(row["version"].split(".")[0]))]
            check({p.name for p in folder.iterdir()} == set(sent), f"{row['name']}: files of {row['digest']} are missing")
            # The digest stands for the files' sums; that they open under it is what a call shows, since they are sealed.
            digest = hashlib.sha256("".join(f"{file} {sent[file]}\n" for file in sorted(sent)).encode()).hexdigest()
            check(row["digest"] == digest, f"{row['name']}: {row['digest']}, and {digest} was sent")
            wanted[row["digest"]] = True
        for name in self.random.sample(sorted(seen.functions), min(2, len(seen.functions))):
            self.check_call(name, seen.functions[name])
        place = self.state / "artefacts/default"
        check({p.name for p in place.iterdir()} == set(wanted), "there are artefacts that nothing names")
        check(not list((self.state / "staging").iterdir()), "an upload was left")
        check(sorted(seen.aliases[f"keep{n}"] for n in "12") == ["1.0.0", "2.0.0"], "a version of the model is lost")

    def check_call(self, name, version):
        status, text, _ = self.host.request("GET", f"/fn/default/{name}/")
        check(status == 200 and json.loads(text) == {"v": version}, f"{name} of {version} answers {status} {text[:200]}")

    def check_audit(self):
        """Everything that was acknowledged since the last look is in it, once."""
        names, before = [], None
        while True:
            query = "limit=1000" + (f"&before={before}" if before else "")
            page = json.loads(self.host.request("GET", "/admin/v1/audit?" + query)[1])
            names += [e["request_id"] for e in page["entries"] if e["number"] > self.last]
            before = page["next"]
            if not before or page["entries"][-1]["number"] <= self.last:
                break
        acknowledged = [name for client in self.clients for name in client.acknowledged]
        lost = set(acknowledged) - set(names)
        check(not lost, f"acknowledged and not in the audit log: {sorted(lost)[:5]} of {len(acknowledged)}")
        check(len(names) - len(set(n for n in names if n)) - names.count("") == 0, "an act is there twice")
        for client in self.clients:
            client.acknowledged = []
        self.acts = getattr(self, "acts", 0) + len(acknowledged)
        self.last = int(json.loads(self.host.request("GET", "/admin/v1/audit/head")[1])["head"].split(":")[0])


def main():
    print(f"killed.py: {POINTS} points, seed {SEED}", flush=True)
    world = World()
    begin = time.time()
    try:
        for number in range(POINTS):
            try:
                world.point()
            except AssertionError as error:
                raise SystemExit(f"killed.py: FAILED at point {number} of seed {SEED}: {error}") from error
        for name, version in Seen(world.host).functions.items():
            world.check_call(name, version)
    finally:
        if world.host.process.poll() is None:
            world.host.stop()
    print(f"killed.py: {POINTS} kills, {world.acts} acknowledged acts, nothing lost, {time.time() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
