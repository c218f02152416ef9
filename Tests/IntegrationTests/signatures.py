"""Signed artefacts: minisign and swiftlet read what the other wrote, and a real host refuses what is not what was signed."""
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from run import SWIFTLET, Host, handler, make_work, wait_for


def tool(*words, input=None, cwd=None, check=True):
    done = subprocess.run([str(w) for w in words], input=input, capture_output=True, text=True, cwd=cwd, timeout=300)
    if check and done.returncode != 0:
        raise AssertionError(f"{words}: {done.stdout}{done.stderr}")
    return done


def keypair(folder, name, maker="swiftlet"):
    """Paths of a public and a secret key without a password."""
    public, secret = folder / f"{name}.pub", folder / f"{name}.key"
    if maker == "swiftlet":
        tool(SWIFTLET, "keygen", "-W", "-p", public, "-s", secret)
    else:
        tool("minisign", "-G", "-W", "-p", public, "-s", secret)
    return public, secret


def key_id(public):
    return public.read_text().splitlines()[0].split()[-1].zfill(16)


class Work(unittest.TestCase):
    """A scratch folder, and a built handler in a folder of its own."""

    @classmethod
    def setUpClass(cls):
        cls.work = make_work()
        source = cls.work / "source"
        source.mkdir()
        (source / "handler.c").write_text(handler('return echo(call, host);'))
        (source / "swiftlet.json5").write_text(json.dumps(
            {"name": "signed", "kind": "handler", "version": "1.0.0", "language": "c"}))
        cls.source = source
        tool(SWIFTLET, "build", source, "--output", cls.work / "plugin.so")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.work)

    def folder(self, **more):
        """A folder without sources; `more`: further files."""
        path = pathlib.Path(tempfile.mkdtemp(dir=self.work))
        shutil.copy(self.work / "plugin.so", path / "plugin.so")
        (path / "swiftlet.json5").write_text(json.dumps(
            {"name": "signed", "kind": "handler", "version": "1.0.0", "library": "plugin.so"}))
        (path / "data.txt").write_text("data\n")
        for name, text in more.items():
            (path / name.replace("_", ".")).write_text(text)
        return path


class Interop(Work):
    def test_minisign_verifies_what_swiftlet_signed(self):
        for maker in ["swiftlet", "minisign"]:
            public, secret = keypair(self.work, f"by-{maker}", maker)
            folder = self.folder()
            tool(SWIFTLET, "sign", folder, "-s", secret, "-t", "the third build")
            said = tool("minisign", "-V", "-H", "-p", public, "-m", folder / "SHA256SUMS").stdout
            self.assertIn("Trusted comment: the third build", said)
            tool("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=folder)
            listed = {line.split()[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
            self.assertEqual(listed, {"plugin.so", "swiftlet.json5", "data.txt"})
            (folder / "SHA256SUMS").write_text((folder / "SHA256SUMS").read_text().replace("a", "b", 1))
            self.assertNotEqual(tool("minisign", "-V", "-p", public, "-m", folder / "SHA256SUMS", check=False).returncode, 0)

    def test_minisign_signs_with_a_key_of_swiftlets(self):
        public, secret = keypair(self.work, "signs-with-ours")
        text = self.work / "text"
        text.write_text("hello\n")
        tool("minisign", "-S", "-s", secret, "-m", text)
        tool("minisign", "-V", "-p", public, "-m", text)
        # Its public half, made anew from the secret one.
        tool("minisign", "-R", "-s", secret, "-p", self.work / "again.pub")
        self.assertEqual((self.work / "again.pub").read_text().splitlines()[1], public.read_text().splitlines()[1])

    def test_passwords_open_keys_of_both(self):
        ours, theirs = self.work / "ours.key", self.work / "theirs.key"
        tool(SWIFTLET, "keygen", "-p", self.work / "ours.pub", "-s", ours, input="se cret\nse cret\n")
        self.assertEqual(ours.stat().st_mode & 0o777, 0o600)
        tool("minisign", "-G", "-p", self.work / "theirs.pub", "-s", theirs, input="se cret\nse cret\n")
        text = self.work / "secret-text"
        text.write_text("x")
        tool("minisign", "-S", "-s", ours, "-m", text, input="se cret\n")
        tool("minisign", "-V", "-p", self.work / "ours.pub", "-m", text)
        folder = self.folder()
        tool(SWIFTLET, "sign", folder, "-s", theirs, input="se cret\n")
        tool("minisign", "-V", "-p", self.work / "theirs.pub", "-m", folder / "SHA256SUMS")
        wrong = tool(SWIFTLET, "sign", folder, "-s", theirs, input="secret\n", check=False)
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("the password is wrong", wrong.stderr)
        self.assertNotIn("secret\n", wrong.stderr)

    def test_keygen_keeps_what_is_there(self):
        public, secret = keypair(self.work, "kept")
        before = secret.read_text()
        self.assertEqual(tool(SWIFTLET, "keygen", "-W", "-p", public, "-s", secret, check=False).returncode, 1)
        self.assertEqual(tool(SWIFTLET, "keygen", "-p", self.work / "x.pub", "-s", self.work / "x.key", input="a\nb\n", check=False).returncode, 2)
        self.assertFalse((self.work / "x.key").exists())
        self.assertEqual(secret.read_text(), before)
        tool(SWIFTLET, "keygen", "-W", "-f", "-p", public, "-s", secret)
        self.assertNotEqual(secret.read_text(), before)

    def test_the_same_folder_makes_the_same_archive(self):
        _, secret = keypair(self.work, "same")
        folder, other = self.folder(), self.folder()
        os.utime(other / "data.txt", (1, 1))
        for path in [folder, other]:
            tool(SWIFTLET, "sign", path, "-s", secret, "-t", "c", "-o", path / "signed.tar")
        self.assertEqual((folder / "signed.tar").read_bytes(), (other / "signed.tar").read_bytes())
        names = tool("tar", "tf", folder / "signed.tar").stdout.split()
        self.assertEqual(names, ["SHA256SUMS", "SHA256SUMS.minisig", "data.txt", "plugin.so", "swiftlet.json5"])

    def test_what_cannot_be_signed_says_so(self):
        _, secret = keypair(self.work, "plain")
        for words, text in [
            ((self.source, "-s", secret), "-o FILE.tar"), ((self.folder(), "-s", self.work / "none"), "No such file"),
            ((self.folder(), "-s", self.work / "plugin.so"), "secret key"), ((self.work, "-s", secret), "swiftlet.json5"),
            ((self.folder(), "-s", secret, "-t", "a\nb"), "one line"), ((self.work / "plugin.so", "-s", secret), "ustar"),
        ]:
            done = tool(SWIFTLET, "sign", *words, check=False)
            self.assertIn(done.returncode, [1, 2])
            self.assertIn(text, done.stderr)


class Deployments(Work):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ours = keypair(cls.work, "ours")
        cls.theirs = keypair(cls.work, "theirs", "minisign")
        cls.platform = keypair(cls.work, "platform", "minisign")
        cls.host = Host("--unsigned", "warn")
        cls.host.cli("trust", "add", cls.ours[0], "--tenant", "acme", "--comment", "CI of acme")
        cls.host.cli("trust", "add", cls.theirs[0].read_text().splitlines()[1], "--tenant", "other")
        cls.host.cli("trust", "add", cls.platform[0], "--platform")
        cls.host.cli("trust", "unsigned", "refuse", "--tenant", "strict")

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()
        super().tearDownClass()

    def deploy(self, path, tenant="acme", *more, status=True):
        done = self.host.cli("deploy", str(path), "--tenant", tenant, "--json", *more, check=False)
        self.assertEqual(done.returncode == 0, status, done.stdout + done.stderr)
        return json.loads(done.stdout) if status else done.stderr

    def signed(self, key, **more):
        folder = self.folder(**more)
        tool(SWIFTLET, "sign", folder, "-s", key[1])
        return folder

    def test_a_signed_folder_is_deployed_and_says_by_whom(self):
        deployed = self.deploy(self.signed(self.ours))
        self.assertEqual(deployed["signed_by"], key_id(self.ours[0]))
        self.assertNotIn("warnings", deployed)
        rows = json.loads(self.host.cli("ls", "--json").stdout)["functions"]
        self.assertIn(key_id(self.ours[0]), [row["signed_by"] for row in rows if row["tenant"] == "acme"])
        status, body, _ = self.host.request("POST", "/fn/acme/signed/", b"hello")
        self.assertEqual((status, body), (200, b"hello"))

    def test_minisign_alone_signs_a_deployment(self):
        folder = self.folder()
        tool("sh", "-c", "sha256sum * > SHA256SUMS", cwd=folder)
        (folder / "SHA256SUMS").write_text("".join(
            line for line in (folder / "SHA256SUMS").read_text().splitlines(True) if "SHA256SUMS" not in line))
        for legacy in [[], ["-l"]]:
            tool("minisign", "-S", *legacy, "-s", self.theirs[1], "-m", folder / "SHA256SUMS", "-t", "by hand")
            self.assertEqual(self.deploy(folder, "other")["signed_by"], key_id(self.theirs[0]))

    def test_the_platforms_key_signs_for_every_tenant_and_a_tenants_for_none_but_its_own(self):
        for tenant in ["acme", "other", "strict"]:
            self.assertEqual(self.deploy(self.signed(self.platform), tenant)["signed_by"], key_id(self.platform[0]))
        stranger = self.deploy(self.signed(self.theirs))
        self.assertIsNone(stranger["signed_by"])
        self.assertIn("not trusted", stranger["warnings"][0])
        self.assertIn("signed artefacts only", self.deploy(self.signed(self.ours), "strict", status=False))
        self.assertIn("signed artefacts only", self.deploy(self.folder(), "strict", status=False))

    def test_every_changed_file_is_refused(self):
        for name in ["plugin.so", "swiftlet.json5", "data.txt", "SHA256SUMS", "SHA256SUMS.minisig"]:
            folder = self.signed(self.ours)
            data = bytearray((folder / name).read_bytes())
            # Of the signature file, in its second line; of a manifest, in a space that means nothing.
            at = data.index(b"\n") + 20 if name.endswith("minisig") else data.index(b" ") if name.endswith("json5") else len(data) // 2
            data[at] = ord("\t") if name.endswith("json5") else data[at] ^ 1
            (folder / name).write_bytes(data)
            self.assertIn("SHA256SUMS", self.deploy(folder, status=False), name)

    def test_swapped_added_and_missing_files_are_refused(self):
        folder = self.signed(self.ours)
        (folder / "more.txt").write_text("more")
        self.assertIn("does not list more.txt", self.deploy(folder, status=False))
        folder = self.signed(self.ours)
        (folder / "data.txt").unlink()
        self.assertIn('lists "data.txt", which is not there', self.deploy(folder, status=False))
        folder = self.signed(self.ours, a_txt="1", b_txt="2")
        (folder / "a.txt").write_text("2")
        (folder / "b.txt").write_text("1")
        self.assertIn("a.txt is not the file", self.deploy(folder, status=False))
        # A signature of another folder, and one without its list.
        folder, other = self.signed(self.ours, x_txt="x"), self.signed(self.ours)
        shutil.copy(other / "SHA256SUMS.minisig", folder / "SHA256SUMS.minisig")
        self.assertIn("is wrong", self.deploy(folder, status=False))
        (other / "SHA256SUMS").unlink()
        self.assertIn("is missing", self.deploy(other, status=False))

    def test_an_unsigned_one_is_warned_of(self):
        deployed = self.deploy(self.folder())
        self.assertEqual((deployed["signed_by"], len(deployed["warnings"])), (None, 1))
        said = self.host.cli("deploy", str(self.folder()), "--tenant", "acme")
        self.assertIn("warning: it is not signed", said.stderr)
        self.assertIn("without a trusted signature", (self.host.work / "host.log").read_text())

    def test_sources_are_signed_while_they_are_deployed_and_archives_before(self):
        self.assertEqual(self.deploy(self.source, "acme", "-s", str(self.ours[1]))["signed_by"], key_id(self.ours[0]))
        archive = self.work / "signed.tar"
        tool(SWIFTLET, "sign", self.source, "-s", self.ours[1], "-o", archive)
        first = self.deploy(archive)
        self.assertEqual(first["signed_by"], key_id(self.ours[0]))
        # Signed again by another: the signature is replaced, and the archive with it.
        tool(SWIFTLET, "sign", archive, "-s", self.platform[1])
        again = self.deploy(archive)
        self.assertEqual(again["signed_by"], key_id(self.platform[0]))
        self.assertNotEqual(again["digest"], first["digest"])

    def test_an_older_signed_version_may_come_back(self):
        """A signature says who made it, not that it is the newest: docs/artefacts.md says so."""
        old, new = self.signed(self.ours), self.signed(self.ours, data_txt="newer\n")
        digests = [self.deploy(path)["digest"] for path in [old, new, old]]
        self.assertEqual(digests[0], digests[2])
        self.assertNotEqual(digests[0], digests[1])

    def test_a_removed_key_signs_no_more_and_what_it_signed_stays(self):
        key = keypair(self.work, "short-lived")
        self.host.cli("trust", "add", key[0], "--tenant", "fickle")
        self.host.cli("trust", "unsigned", "refuse", "--tenant", "fickle")
        self.deploy(self.signed(key), "fickle")
        self.host.cli("trust", "rm", key_id(key[0]), "--tenant", "fickle")
        self.assertIn("not trusted here", self.deploy(self.signed(key, x_txt="x"), "fickle", status=False))
        self.assertEqual(self.host.request("POST", "/fn/fickle/signed/", b"x")[0], 200)
        listed = json.loads(self.host.cli("trust", "ls", "--tenant", "fickle", "--json").stdout)
        self.assertEqual([row["scope"] for row in listed["keys"]], ["platform"])
        self.assertEqual((listed["unsigned"], listed["effective_unsigned"]), ("refuse", "refuse"))
        self.host.cli("trust", "unsigned", "default", "--tenant", "fickle")
        self.assertEqual(len(self.deploy(self.folder(), "fickle")["warnings"]), 1)

    def test_what_is_no_key_is_refused(self):
        good = self.ours[0].read_text().splitlines()[1]
        own = key_id(self.ours[0])
        put = lambda path, body: self.host.request("PUT", path, body if isinstance(body, bytes) else json.dumps(body))
        for path, body, status in [
            (f"/admin/v1/trusted-keys/{key_id(self.theirs[0])}", {"public_key": good}, 400),
            ("/admin/v1/trusted-keys/12345678901234567", {"public_key": good}, 400), (f"/admin/v1/trusted-keys/{own}", {}, 400),
            (f"/admin/v1/trusted-keys/{own}", {"public_key": good[:-4]}, 400), (f"/admin/v1/trusted-keys/{own}", b"[", 422),
            (f"/admin/v1/trusted-keys/{own}", {"public_key": good, "comment": "a\nb"}, 400),
            (f"/admin/v1/trusted-keys/{own}", {"public_key": good, "comment": "x" * 201}, 400),
            (f"/admin/v1/trusted-keys/{own}", {"public_key": good, "comment": 1}, 400),
            (f"/admin/v1/trusted-keys/{own}", {"public_key": good, "more": 1}, 400),
            (f"/admin/v1/trusted-keys/{own}", b"x" * 70_000, 413),
            (f"/admin/v1/tenants/platform/trusted-keys/{own}", {"public_key": good}, 400),
            (f"/admin/v1/tenants/..%2fx/trusted-keys/{own}", {"public_key": good}, 400),
            ("/admin/v1/tenants/acme/unsigned", {"unsigned": "perhaps"}, 400), ("/admin/v1/tenants/acme/unsigned", {}, 400),
        ]:
            got, text, _ = put(path, body)
            self.assertEqual(got, status, (path, body, text))
            self.assertTrue(json.loads(text)["next"])
        self.assertEqual(self.host.request("DELETE", f"/admin/v1/trusted-keys/{own}")[0], 404)
        self.assertEqual(self.host.request("POST", f"/admin/v1/trusted-keys/{own}")[0], 405)
        listed = json.loads(self.host.cli("trust", "ls", "--platform", "--json").stdout)
        self.assertEqual([row["key_id"] for row in listed["keys"]], [key_id(self.platform[0])])

    def test_a_bill_of_materials_comes_back_byte_for_byte(self):
        text = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"type": "library", "name": "ü"}]}, indent=3)
        folder = self.folder(sbom_json=text)
        tool(SWIFTLET, "sign", folder, "-s", self.ours[1])
        self.deploy(folder, "acme", "--name", "billed")
        self.assertEqual(self.host.cli("sbom", "billed", "--tenant", "acme").stdout, text)
        self.assertEqual(self.host.request("GET", "/admin/v1/functions/acme/none/sbom")[0], 404)
        self.deploy(self.folder(), "acme", "--name", "bare")
        self.assertIn("no sbom.json", self.host.cli("sbom", "bare", "--tenant", "acme", check=False).stderr)
        self.assertIn("sbom.json", self.deploy(self.folder(sbom_json="{}"), status=False))

    def test_an_upload_without_end_is_cut(self):
        length = (64 << 20) + (3 << 20)
        status, body, _ = self.host.request("POST", "/admin/v1/deployments/acme", b"", {"content-length": str(length)})
        self.assertEqual((status, json.loads(body)["code"]), (413, "payload_too_large"))

        def endless():
            for _ in range(length >> 16):
                yield bytes(1 << 16)
        try:
            status, _, _ = self.host.request("POST", "/admin/v1/deployments/acme", endless())
            self.assertEqual(status, 413)
        except (BrokenPipeError, ConnectionResetError):
            pass
        wait_for(lambda: not os.listdir(self.host.work / "state/staging"), "nothing of it is left")


class Restarts(Work):
    def test_keys_and_signers_survive_and_a_damaged_list_stops_the_start(self):
        public, secret = keypair(self.work, "kept")
        work = make_work()
        host = Host(work=work)
        host.cli("trust", "add", public, "--tenant", "acme")
        folder = self.folder()
        tool(SWIFTLET, "sign", folder, "-s", secret)
        host.cli("deploy", str(folder), "--tenant", "acme")
        host.end(signal.SIGKILL)
        host = Host("--unsigned", "refuse", work=work)
        try:
            row = json.loads(host.cli("ls", "--json").stdout)["functions"][0]
            self.assertEqual(row["signed_by"], key_id(public))
            # The stricter policy of this start holds for what is deployed from now on; what is there is served.
            self.assertEqual(host.request("POST", "/fn/acme/signed/", b"x")[0], 200)
            self.assertNotEqual(host.cli("deploy", str(self.folder()), "--tenant", "acme", check=False).returncode, 0)
            host.end(signal.SIGKILL)
            (work / "state/trust.db").write_bytes(b"no database" * 100)
            for more in ["-wal", "-shm"]:
                (work / f"state/trust.db{more}").unlink(missing_ok=True)
            with self.assertRaises(RuntimeError) as raised:
                Host(work=work)
            self.assertIn("trust.db", str(raised.exception))
        finally:
            shutil.rmtree(work)

    def test_a_deleted_tenants_keys_are_gone(self):
        public, secret = keypair(self.work, "of-the-gone")
        host = Host()
        try:
            host.cli("trust", "add", public, "--tenant", "gone")
            host.cli("deploy", str(self.folder()), "--tenant", "gone")
            erased = json.loads(host.request("DELETE", "/admin/v1/tenants/gone")[1])["erased"]
            self.assertEqual((erased["trusted_keys"], erased["artefacts"]), (1, 1))
            self.assertFalse((host.work / "state/artefacts/gone").exists())
            self.assertEqual(json.loads(host.cli("trust", "ls", "--tenant", "gone", "--json").stdout)["keys"], [])
        finally:
            host.stop()

    def test_a_host_that_is_killed_while_it_deploys_serves_the_old_or_the_new(self):
        work = make_work()
        host = Host(work=work)
        random.seed(7)
        try:
            folders = []
            for version in ["one", "two"]:
                folder = self.folder(data_txt=version * 200_000)
                folders.append(self.work / f"{version}.tar")
                tool(SWIFTLET, "sign", folder, "-s", keypair(self.work, f"k-{version}")[1], "-o", folders[-1])
            digest = json.loads(host.cli("deploy", str(folders[0]), "--json").stdout)["digest"]
            started = time.time()
            host.cli("deploy", str(folders[0]))
            usual = time.time() - started
            seen, lost = {digest}, 0
            for round in range(24):
                answers = []
                archive = folders[(round + 1) % 2].read_bytes()

                def send():
                    try:
                        status, body, _ = host.request("POST", "/admin/v1/deployments/default", archive)
                        answers.append(json.loads(body)["digest"] if status == 201 else None)
                    except (OSError, ValueError, KeyError, http.client.HTTPException):
                        pass
                thread = threading.Thread(target=send)
                thread.start()
                time.sleep(random.random() * usual * 1.3)
                host.end(signal.SIGKILL)
                thread.join()
                host = Host(work=work)
                row = json.loads(host.cli("ls", "--json").stdout)["functions"][0]
                seen.add(row["digest"])
                if answers and answers[0]:
                    self.assertEqual(row["digest"], answers[0], "what was acknowledged is there")
                lost += not answers
                self.assertEqual(os.listdir(work / "state/staging"), [])
                self.assertEqual(os.listdir(work / "state/artefacts/default"), [row["digest"]])
                self.assertEqual(host.request("POST", "/fn/default/signed/", b"x")[:2], (200, b"x"))
            self.assertEqual(len(seen), 2, "some deployments came through")
            self.assertGreater(lost, 0, "and some did not")
        finally:
            host.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
