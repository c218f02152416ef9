"""What a host does when its databases are locked, full, corrupt or gone; and that backups bring it back. Usage: databases.py PREFIX"""
import ctypes
import hashlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
import threading
import time
import unittest

from run import SWIFTLET, Host, handler, make_work, wait_for

ANSWER = handler('return host->write(text("here"));')


def own_disk(path, megabytes):
    """For preexec_fn: the process gets a small disk of its own at `path`."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount():
        if libc.unshare(0x00020000) != 0:
            os._exit(97)
        libc.mount(None, b"/", None, 0x4000 | 0x40000, None)
        options = f"size={megabytes}m,mode=755".encode()
        if libc.mount(b"none", str(path).encode(), b"tmpfs", 0, options) != 0:
            os._exit(98)

    return mount


class Case(unittest.TestCase):
    def start(self, *extra, **process):
        self.host = Host(*extra, **process)
        self.state = self.host.work / "state"
        self.addCleanup(self.end)

    def end(self):
        if self.host.log.closed:
            shutil.rmtree(self.host.work, ignore_errors=True)
        else:
            self.host.stop()

    def again(self):
        self.host = Host(work=self.host.work)

    def deploy(self, name):
        done = self.host.deploy_c(name, ANSWER)
        self.assertEqual(done.returncode, 0, done.stderr)

    def call(self, name, host=None):
        return (host or self.host).request("GET", f"/fn/default/{name}/")[:2]

    def names(self):
        return sorted(f["name"] for f in json.loads(self.host.request("GET", "/admin/v1/functions")[1])["functions"])

    def refused(self):
        done = subprocess.run([SWIFTLET, "serve", "--listen", "127.0.0.1:0", "--state", self.state],
                              capture_output=True, text=True, timeout=15)
        self.assertEqual(done.returncode, 1, done)
        return done.stderr

    def settle(self):
        """Everything of the databases in their main files: what the log beside one holds covers damage."""
        for path in self.state.glob("*.db"):
            database = sqlite3.connect(path)
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.close()


class Locked(Case):
    def test_an_act_names_the_file_and_who_holds_it_and_calls_go_on(self):
        self.start()
        self.deploy("f")
        for name in ["registry.db"]:
            holder = sqlite3.connect(self.state / name, isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")
            answers = []
            act = threading.Thread(target=lambda: answers.append(self.host.request("DELETE", "/admin/v1/functions/default/f")))
            act.start()
            while act.is_alive():
                self.assertEqual(self.call("f"), (200, b"here"))
            act.join()
            status, text, _ = answers[0]
            error = json.loads(text)
            self.assertEqual(status, 503, error)
            self.assertIn(name, error["step"])
            self.assertIn("locked", error["cause"])
            self.assertIn(f"pid {os.getpid()}", error["cause"])
            holder.execute("ROLLBACK")
            holder.close()
        self.assertEqual(self.names(), ["f"])
        self.assertEqual(self.host.request("DELETE", "/admin/v1/functions/default/f")[0], 200)

    def test_a_start_names_the_file_and_who_holds_it(self):
        self.start()
        self.deploy("f")
        self.host.end()
        holder = sqlite3.connect(self.state / "registry.db", isolation_level=None)
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")
        holder.execute("BEGIN IMMEDIATE")
        words = self.refused()
        self.assertIn("registry.db", words)
        self.assertIn(f"pid {os.getpid()}", words)
        holder.close()
        self.again()
        self.assertEqual(self.call("f"), (200, b"here"))


@unittest.skipUnless(os.geteuid() == 0, "a disk of its own needs root")
class Full(Case):
    def test_acts_fail_whole_reads_and_calls_go_on(self):
        work = make_work()
        (work / "state").mkdir()
        self.start(work=work, preexec_fn=own_disk(work / "state", 16))
        self.deploy("f")
        inside = pathlib.Path(f"/proc/{self.host.process.pid}/root{self.state}")
        artefacts = sorted(os.listdir(inside / "artefacts/default"))
        filler = open(inside / "filler", "wb", buffering=0)
        try:
            while True:
                filler.write(bytes(4096))
        except OSError as error:
            self.assertEqual(error.errno, 28)
        statuses = []
        for number in range(40):
            done = self.host.deploy_c(f"g{number}", ANSWER)
            self.assertNotEqual(done.returncode, 0)
            statuses.append(done.stderr)
            self.assertIn("space", done.stderr)
        # Small acts too, as soon as the database needs a page.
        acts = [self.host.request("POST", "/admin/v1/tenants", json.dumps({"name": f"t{n}"}))[0] for n in range(400)]
        self.assertEqual(acts[-1], 507)
        self.assertTrue(set(acts) <= {201, 507}, set(acts))
        made = acts.count(201)
        self.assertEqual(self.names(), ["f"])
        self.assertEqual(sorted(os.listdir(inside / "artefacts/default")), artefacts)
        self.assertEqual([p for p in os.listdir(inside / "staging")], [])
        for _ in range(20):
            self.assertEqual(self.call("f"), (200, b"here"))
        for path in ["/healthz", "/readyz", "/metrics", "/admin/v1/workers", "/admin/v1/audit", "/admin/v1/audit/verify"]:
            self.assertEqual(self.host.request("GET", path)[0], 200, path)
        tenants = json.loads(self.host.request("GET", "/admin/v1/tenants")[1])["tenants"]
        self.assertEqual(sum(t["name"].startswith("t") for t in tenants), made)
        filler.close()
        os.unlink(inside / "filler")
        wait_for(lambda: self.host.request("POST", "/admin/v1/tenants", b'{"name":"after"}')[0] in (201, 409),
                 "acts work again once there is space")
        self.deploy("h")
        self.assertEqual(self.call("h"), (200, b"here"))
        self.assertEqual(self.host.cli("audit", "verify").returncode, 0)
        # A kill now loses nothing of it; the disk goes with the process, so it is looked at from a copy.
        self.assertEqual(self.names(), ["f", "h"])


class Corrupt(Case):
    def test_a_host_refuses_a_database_that_is_not_sound_and_touches_nothing(self):
        self.start()
        for number in range(4):
            self.deploy(f"f{number}")
        self.host.end()
        self.settle()
        artefacts = sorted(os.listdir(self.state / "artefacts/default"))
        for name in ["registry.db", "quotas.db", "vault.db"]:
            path = self.state / name
            whole = path.read_bytes()
            page = 4096
            damages = {
                "pages in the middle": whole[:page] + os.urandom(len(whole) - page),
                "one page": whole[:page] + bytes(page) + whole[2 * page:],
                "cut": whole[:len(whole) - page - 100],
                "cut to a page": whole[:page],
                "no database": b"this is no database, " * 1000,
            }
            for what, damaged in damages.items():
                if damaged == whole:
                    continue
                with self.subTest(file=name, damage=what):
                    path.write_bytes(damaged)
                    words = self.refused()
                    self.assertIn(str(path), words)
                    self.assertRegex(words, "quick_check|not a database|malformed")
                    self.assertIn("swiftlet restore", words)
                    self.assertEqual(path.read_bytes(), damaged)
                    self.assertEqual(sorted(os.listdir(self.state / "artefacts/default")), artefacts)
                    # Nothing broken is backed up as if it were whole.
                    done = subprocess.run([SWIFTLET, "backup", self.host.work / "b.tar", "--state", self.state],
                                          capture_output=True, text=True)
                    self.assertNotEqual(done.returncode, 0)
                    self.assertEqual(list(self.host.work.glob("b.tar*")), [])
            path.write_bytes(whole)
        registry = self.state / "registry.db"
        whole = registry.read_bytes()
        for what in ["empty", "missing"]:
            registry.write_bytes(b"")
            if what == "missing":
                registry.unlink()
            words = self.refused()
            self.assertIn(what, words)
            self.assertIn("docs/backup.md", words)
            self.assertEqual(sorted(os.listdir(self.state / "artefacts/default")), artefacts)
        registry.write_bytes(whole)
        self.again()
        for number in range(4):
            self.assertEqual(self.call(f"f{number}"), (200, b"here"))


class Backups(Case):
    def backup(self, name, *words):
        return subprocess.run([SWIFTLET, "backup", self.host.work / name, "--state", self.state, *words],
                              capture_output=True, text=True, timeout=120)

    def restore(self, file, state):
        return subprocess.run([SWIFTLET, "restore", file, "--state", state], capture_output=True, text=True, timeout=120)

    def test_backups_under_load_come_back_whole(self):
        self.start()
        for number in range(3):
            self.deploy(f"f{number}")
        master = (self.state / "master.key").read_bytes()
        (self.state / "tls").mkdir(exist_ok=True)
        (self.state / "tls/other.pem").write_bytes(b"secret of the door")
        folder = self.host.work / "f0"
        ends = threading.Event()
        faults = []

        def calls():
            while not ends.is_set():
                if self.call("f1") != (200, b"here"):
                    faults.append("a call failed")

        def deployments():
            number = 0
            while not ends.is_set():
                number += 1
                fields = json.loads((folder / "swiftlet.json5").read_text())
                fields["version"] = f"1.0.{number}"
                fields["name"] = "f2"
                (folder / "swiftlet.json5").write_text(json.dumps(fields))
                if self.host.cli("deploy", str(folder), check=False).returncode != 0:
                    faults.append("a deployment failed")
                self.host.request("DELETE", f"/admin/v1/functions/default/gone{number}")

        threads = [threading.Thread(target=calls), threading.Thread(target=deployments)]
        for thread in threads:
            thread.start()
        backups = []
        for number in range(5):
            time.sleep(0.3)
            done = self.backup(f"b{number}.tar", "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            said = json.loads(done.stdout)
            self.assertEqual(said["left_out"], ["audit.key", "master.key", "plain", "tls", "usage.taken"])
            backups.append((self.host.work / f"b{number}.tar", said))
        ends.set()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
        for number, (file, said) in enumerate(backups):
            with tarfile.open(file) as archive:
                names = archive.getnames()
            self.assertEqual(len(names), said["files"] + 1)
            self.assertEqual(names[-1], "MANIFEST.json")
            for secret in [b"secret of the door", master, (self.state / "audit.key").read_bytes()]:
                self.assertNotIn(secret, file.read_bytes())
            state = self.host.work / f"r{number}" / "state"
            state.parent.mkdir()
            done = self.restore(file, state)
            self.assertEqual(done.returncode, 0, done.stderr)
            end = said["audit_head"]
            self.assertEqual(subprocess.run([SWIFTLET, "audit", "verify", "--state", state, "--expect", end],
                                            capture_output=True).returncode, 0)
            state.parent.chmod(0o755)
            # Sealed things open under the key that the backup doesn't hold.
            (state / "master.key").write_bytes(master)
            (state / "master.key").chmod(0o600)
            other = Host(work=state.parent)
            try:
                for name in ["f0", "f1", "f2"]:
                    self.assertEqual(self.call(name, other), (200, b"here"), name)
                done = other.cli("audit", "verify", "--expect", end)
                self.assertEqual(done.returncode, 0)
                entries = json.loads(other.request("GET", "/admin/v1/audit")[1])["entries"]
                self.assertEqual([e["act"] for e in entries[:2]], ["host.start", "audit.restored"])
            finally:
                other.stop()

    def test_a_restore_is_whole_or_nothing(self):
        self.start()
        self.deploy("f")
        self.assertEqual(self.backup("b.tar").returncode, 0)
        file = self.host.work / "b.tar"
        again = self.backup("b.tar")
        self.assertNotEqual(again.returncode, 0)
        self.assertIn("there is such a file", again.stderr)
        whole = file.read_bytes()
        target = self.host.work / "restored"
        # Of the running host, and of a directory with something in it.
        for state, words in [(self.state, "a host uses"), (self.host.work, "not an empty directory")]:
            done = self.restore(file, state)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(words, done.stderr)
        bad = self.host.work / "bad.tar"
        step = max(1, len(whole) // 150)
        for place in list(range(0, len(whole) - 1024, step)) + list(range(0, 512, 37)):
            flipped = bytes([whole[place] ^ 0x5a])
            damaged = whole[:place] + flipped + whole[place + 1:]
            bad.write_bytes(damaged)
            done = self.restore(bad, target)
            if done.returncode == 0:
                # What pads a file to a block is no part of it.
                self.assertEqual(whole[place], 0, place)
                shutil.rmtree(target)
                continue
            self.assertIn("nothing was written", done.stderr, place)
            self.assertFalse(target.exists())
        for length in [0, 1, 511, 512, 10_000, len(whole) // 2, len(whole) - 1025]:
            bad.write_bytes(whole[:length])
            self.assertNotEqual(self.restore(bad, target).returncode, 0, length)
        self.assertEqual([p.name for p in self.host.work.iterdir() if "restor" in p.name], [])
        # What leads elsewhere has no place in it.
        for name in ["../evil", "/etc/evil", "artefacts/../../evil/x", "artefacts/a/b/../c", "lock", "audit/../x.log",
                     "audit.key", "artefacts/a/b/.hidden"]:
            with tarfile.open(bad, "w", format=tarfile.USTAR_FORMAT) as archive:
                info = tarfile.TarInfo(name)
                archive.addfile(info)
            done = self.restore(bad, target)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("no place in a backup", done.stderr)
        # An empty directory is taken.
        target.mkdir()
        self.assertEqual(self.restore(file, target).returncode, 0)
        self.assertTrue((target / "registry.db").exists())
        for state in [self.host.work / "nothing", "/nonexistent"]:
            self.assertNotEqual(subprocess.run([SWIFTLET, "backup", self.host.work / "n.tar", "--state", state],
                                               capture_output=True).returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=1)
