"""HTTPS by `swiftlet serve --tls-cert --tls-key`: real certificates, real clients, a renewal while it runs."""
import datetime
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import unittest

from run import ROOT, SWIFTLET, Host, handler, make_work, wait_for
from wire import Wire, answers


def make_certificate(folder, name):
    """A self-signed certificate for 127.0.0.1 with this name in it; the same two files each time."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.new", "-out",
         folder / "cert.new"], check=True, capture_output=True, timeout=60)
    for kind in ("key", "cert"):
        os.chmod(folder / f"{kind}.new", 0o644)  # the host reads them again as the user it became
        os.replace(folder / f"{kind}.new", folder / f"{kind}.pem")


class TLS(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="swiftlet-test-tls-")
        cls.files = pathlib.Path(cls.folder.name)
        cls.files.chmod(0o755)
        make_certificate(cls.files, "first")
        cls.host = Host("--tls-cert", cls.files / "cert.pem", "--tls-key", cls.files / "key.pem", authorities=cls.files / "cert.pem")

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()
        cls.folder.cleanup()

    def curl(self, *words):
        return subprocess.run(
            ["curl", "-sS", "--cacert", self.files / "cert.pem", *words, self.host.url + "/healthz"], capture_output=True,
            text=True, timeout=30)

    def subject(self):
        """Who the host says it is on a new connection."""
        context = ssl.create_default_context(cafile=self.files / "cert.pem")
        with socket.create_connection(("127.0.0.1", self.host.port), 10) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                return dict(part[0] for part in secure.getpeercert()["subject"])["commonName"]

    def test_both_protocols_over_tls(self):
        for words, version in [(["--http1.1"], "1.1"), (["--http2"], "2")]:
            done = self.curl("-w", " %{http_version}", *words)
            self.assertEqual(done.stdout, f"ok\n {version}", done.stderr)

    def test_old_versions_of_tls_are_refused(self):
        self.assertNotEqual(self.curl("--tls-max", "1.1").returncode, 0)

    def test_plain_http_on_the_tls_port_is_refused(self):
        done = subprocess.run(
            ["curl", "-sS", "--max-time", "10", f"http://127.0.0.1:{self.host.port}/healthz"], capture_output=True, timeout=30)
        self.assertNotEqual(done.returncode, 0)

    def test_the_command_line_over_tls(self):
        environment = dict(os.environ, SWIFTLET_HOST=self.host.url, SWIFTLET_CACERT=str(self.files / "cert.pem"))
        done = subprocess.run([SWIFTLET, "ls"], capture_output=True, text=True, env=environment, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        del environment["SWIFTLET_CACERT"]
        stranger = subprocess.run([SWIFTLET, "ls"], capture_output=True, text=True, env=environment, timeout=30)
        self.assertEqual(stranger.returncode, 1, "a certificate that nobody vouches for is not trusted")

    def test_renewal(self):
        self.assertEqual(self.subject(), "first")
        make_certificate(self.files, "second")
        self.host.process.send_signal(signal.SIGHUP)
        wait_for(self.renewed, "the new certificate is served")
        (self.files / "cert.pem").rename(self.files / "kept.pem")
        (self.files / "cert.pem").write_text("not a certificate\n")
        self.host.process.send_signal(signal.SIGHUP)
        log = self.host.work / "host.log"
        wait_for(lambda: "the old certificate stays in use" in log.read_text(), "the failed renewal is logged")
        (self.files / "kept.pem").rename(self.files / "cert.pem")
        self.assertEqual(self.subject(), "second")
        make_certificate(self.files, "first")
        self.host.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.renewed("first"), "the first name is back")

    def renewed(self, name="second"):
        try:
            return self.subject() == name
        except ssl.SSLError:
            return False  # still the old one, which the new file does not vouch for


class BadCertificates(unittest.TestCase):
    def serve(self, *words):
        with tempfile.TemporaryDirectory() as state:
            return subprocess.run(
                [SWIFTLET, "serve", "--listen", "127.0.0.1:0", "--state", state, *words], capture_output=True, text=True,
                timeout=30)

    def test_one_option_without_the_other(self):
        done = self.serve("--tls-cert", "x.pem")
        self.assertEqual(done.returncode, 2)
        self.assertIn("go together", done.stderr)

    def test_a_file_that_is_no_certificate(self):
        done = self.serve("--tls-cert", str(ROOT / "README.md"), "--tls-key", "missing.pem")
        self.assertEqual(done.returncode, 1)
        self.assertIn("load the certificate", done.stderr)
        self.assertIn("PEM", done.stderr)


class SelfSigned(unittest.TestCase):
    """`--tls self`: the certificate that a host makes for itself."""

    def setUp(self):
        self.work = make_work()
        self.hosts = []

    def tearDown(self):
        for host in self.hosts:
            self.end(host)
        shutil.rmtree(self.work)

    def start(self, *words):
        log = self.work / "host.log"
        self.logged = log.stat().st_size if log.exists() else 0
        host = Host("--tls", "self", *words, work=self.work)
        self.hosts.append(host)
        return host

    def end(self, host):
        """Stops a host and keeps its directory; returns what it logged since it started."""
        if host in self.hosts:
            self.hosts.remove(host)
            self.assertEqual(host.end(), 0)
        return (self.work / "host.log").read_text()[self.logged:]

    @property
    def pair(self):
        return self.work / "state/tls/self-signed.pem"

    def openssl(self, *words):
        return subprocess.run(["openssl", *words], check=True, capture_output=True, text=True, timeout=60).stdout

    def test_it_is_made_once_kept_and_its_fingerprint_told(self):
        host = self.start()
        self.assertEqual(self.pair.stat().st_mode & 0o777, 0o600)
        shown = self.openssl("x509", "-in", self.pair, "-noout", "-fingerprint", "-sha256").split("=")[1]
        self.assertEqual(host.tls["fingerprint"], shown.strip().replace(":", "").lower())
        text = self.openssl("x509", "-in", self.work / "state/tls/certificate.pem", "-noout", "-text")
        for words in ["NIST CURVE: P-256", "DNS:" + socket.gethostname().lower(), "DNS:localhost", "IP Address:127.0.0.1", "TLS Web Server Authentication", "CA:FALSE"]:
            self.assertIn(words, text)
        left = datetime.date.fromisoformat(host.tls["expires"]) - datetime.date.today()
        self.assertTrue(700 < left.days <= 825, left)
        self.assertTrue(host.tls["self_signed"])
        self.assertNotIn("strict-transport-security", host.request("GET", "/healthz")[2])
        self.assertIn("there was none", self.end(host))
        (self.work / "state/tls/self-signed.pem.new").write_text("half of")
        again = self.start()
        self.assertEqual(again.tls, host.tls, "the same one on every start")
        self.assertNotIn("certificate was made", self.end(again))

    def test_near_its_end_it_is_renewed_by_the_same_key(self):
        first = self.start()
        self.end(first)
        short = self.openssl("req", "-x509", "-key", self.pair, "-days", "20", "-subj", "/CN=x", "-addext", f"subjectAltName=DNS:{socket.gethostname().lower()},DNS:localhost,IP:127.0.0.1,IP:::1")
        key = self.pair.read_text().split("-----BEGIN CERTIFICATE-----")[0]
        self.pair.write_text(key + short)
        second = self.start()
        self.assertIn("ends within 30 days", self.end(second))
        self.assertNotEqual(second.tls["fingerprint"], first.tls["fingerprint"])
        self.assertEqual(second.tls["pin"], first.tls["pin"])

    def test_a_damaged_file_is_replaced_and_said(self):
        first = self.start()
        self.end(first)
        self.pair.write_text(self.pair.read_text()[:150])
        second = self.start()
        self.assertNotEqual(second.tls["pin"], first.tls["pin"])
        self.assertIn("damaged", self.end(second))

    def test_the_pin_is_enough_for_the_command_line_and_nothing_else_will_do(self):
        host = self.start()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SWIFTLET_")}

        def ls(*words, **more):
            done = subprocess.run([SWIFTLET, "ls", *words], capture_output=True, text=True, env={**environment, **more}, timeout=30)
            return done.returncode, done.stderr

        self.assertEqual(ls("--host", host.url, "--fingerprint", host.tls["pin"])[0], 0)
        self.assertEqual(ls(SWIFTLET_HOST=host.url, SWIFTLET_FINGERPRINT=host.tls["pin"])[0], 0)
        self.assertEqual(ls(SWIFTLET_HOST=host.url)[0], 1, "nobody vouches for it")
        wrong = "sha256//" + "A" * 43 + "="
        code, words = ls("--host", host.url, "--fingerprint", wrong)
        self.assertEqual(code, 1, words)
        self.assertIn("public key", words)
        for host_url, pin in [(host.url, host.tls["fingerprint"]), (host.url, "sha256//"), (host.url.replace("https", "http"), host.tls["pin"])]:
            code, words = ls("--host", host_url, "--fingerprint", pin)
            self.assertEqual(code, 2, words)

    def serve_elsewhere(self, *words):
        """A host on an address that is not loopback, in a network of its own."""
        script = 'ip link set lo up; ip addr add 10.77.0.1/32 dev lo; exec "$@"'
        process = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", script, "sh", SWIFTLET, "serve", "--listen", "10.77.0.1:0", "--state", self.work / "state", "--json", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=40)
        return json.loads(line or "{}"), log

    @unittest.skipUnless(shutil.which("ip") and os.geteuid() == 0, "needs a network namespace")
    def test_off_loopback_it_is_the_default(self):
        ready, log = self.serve_elsewhere()
        self.assertTrue(ready["url"].startswith("https://10.77.0.1:"), log)
        self.assertTrue(ready["tls"]["self_signed"])
        self.assertIn("IP Address:10.77.0.1", self.openssl("x509", "-in", self.pair, "-noout", "-text"))
        ready, log = self.serve_elsewhere("--tls", "off")
        self.assertTrue(ready["url"].startswith("http://10.77.0.1:"), log)
        self.assertIn('"error"', log)
        self.assertIn("--tls off", log)


class Names(unittest.TestCase):
    """`--tls-hosts`: certificates and tenants by the name that the client asks for."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="swiftlet-test-tls-")
        cls.files = pathlib.Path(cls.folder.name)
        cls.files.chmod(0o755)
        make_certificate(cls.files, "default")
        for name in ["a.test", "star"]:
            (cls.files / name).mkdir(mode=0o755)
            make_certificate(cls.files / name, name)
        cls.table = cls.files / "hosts.json5"
        cls.write_table()
        cls.host = Host("--tls-cert", cls.files / "cert.pem", "--tls-key", cls.files / "key.pem", "--tls-hosts", cls.table, "--tls-hsts", "600", authorities=cls.files / "cert.pem")
        for name, access in [("echo", "key"), ("open", "public")]:
            done = cls.host.deploy_c(name, handler("return echo(call, host);"), access=access)
            assert done.returncode == 0, done.stderr

    @classmethod
    def write_table(cls, extra=""):
        cls.table.write_text("{ // names\n 'a.test': { cert: 'a.test/cert.pem', key: 'a.test/key.pem', tenant: 'ours' }, '*.b.test': { cert: 'star/cert.pem', key: 'star/key.pem' }," + extra + "}")
        cls.table.chmod(0o644)

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()
        cls.folder.cleanup()

    def subject(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.host.port), 10) as plain, context.wrap_socket(plain, server_hostname=name) as secure:
            der = secure.getpeercert(True)
        return subprocess.run(["openssl", "x509", "-inform", "der", "-noout", "-subject"], input=der, capture_output=True, timeout=30).stdout.decode().split("=")[-1].strip()

    def test_the_name_chooses(self):
        for name, subject in [("a.test", "a.test"), ("A.TEST", "a.test"), ("x.b.test", "star"), ("b.test", "default"), ("x.y.b.test", "default"), ("unknown", "default"), (None, "default")]:
            with self.subTest(name):
                self.assertEqual(self.subject(name), subject)

    def ask(self, name, host, *words):
        done = subprocess.run(
            ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}", "--resolve", f"{name}:{self.host.port}:127.0.0.1", *words, f"https://{name}:{self.host.port}/healthz"],
            capture_output=True, text=True, timeout=30)
        return done.stdout

    def test_a_tenants_connection_is_for_its_name_only(self):
        for words in [["--http1.1"], ["--http2"]]:
            for name, host, status in [("a.test", "a.test", "200"), ("a.test", f"A.test:{self.host.port}", "200"), ("a.test", "other", "421"), ("a.test", "x.b.test", "421"), ("x.b.test", "a.test", "200"), ("x.b.test", "other", "200")]:
                with self.subTest((words, name, host)):
                    self.assertEqual(self.ask(name, host, *words), status)

    def test_a_tenants_name_leads_to_its_functions_only(self):
        for name, status in [("a.test", 404), ("x.b.test", 200), ("unknown.test", 200)]:
            done = subprocess.run(
                ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-d", "x", "--resolve", f"{name}:{self.host.port}:127.0.0.1",
                 f"https://{name}:{self.host.port}/fn/default/open/"], capture_output=True, text=True, timeout=30)
            self.assertEqual(int(done.stdout), status, name)

    def test_a_self_signed_certificate_sends_no_hsts(self):
        self.assertNotIn("strict-transport-security", self.host.request("GET", "/healthz")[2])

    def test_reload_is_all_or_nothing_and_drops_no_connection(self):
        log = self.host.work / "host.log"
        with Wire(self.host.port, tls=True) as wire:
            wire.send(b"POST /fn/default/echo/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n6\r\nbefore\r\n")
            make_certificate(self.files / "a.test", "renewed")
            try:
                self.write_table("'c.test': { cert: 'missing.pem', key: 'missing.pem' }")
                self.host.process.send_signal(signal.SIGHUP)
                wait_for(lambda: "missing.pem" in log.read_text(), "the failure is logged")
                self.assertIn("the old certificate stays in use", log.read_text())
                self.assertEqual(self.subject("a.test"), "a.test", "not even the good half of it")
                self.write_table()
                self.host.process.send_signal(signal.SIGHUP)
                wait_for(lambda: self.subject("a.test") == "renewed", "the new one is served")
                wire.send(b"6\r\n after\r\n0\r\n\r\n")
                self.assertEqual([(a[0], a[2]) for a in answers(wire.read_to_end())], [(200, b"before after")])
            finally:
                make_certificate(self.files / "a.test", "a.test")
                self.write_table()
                self.host.process.send_signal(signal.SIGHUP)
                wait_for(lambda: self.subject("a.test") == "a.test", "as it was")

    def test_bad_tables_refuse_the_start(self):
        for text, words in [("[]", "not an object"), ("{'a b': {cert: 'x', key: 'y'}}", "no host name"), ("{'a': {cert: 'x'}}", "a.key is missing"), ("{'a': {cert: 'x', key: 'y', tenat: 'z'}}", "unknown"), ("{'a': 3}", "number"),
                            ("{'a': {cert: 'x', key: 'y', tenant: '../b'}}", "tenant"), ("{'*.*.a': {cert: 'x', key: 'y'}}", "no host name"), ("{'a': {cert: 'x', key: 'y'}}", "TLS: read the certificate")]:
            with self.subTest(text), tempfile.TemporaryDirectory() as state:
                (self.files / "bad.json5").write_text(text)
                done = subprocess.run([SWIFTLET, "serve", "--listen", "127.0.0.1:0", "--state", state, "--tls", "self", "--tls-hosts", self.files / "bad.json5"], capture_output=True, text=True, timeout=30)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(words, done.stderr)


class Operators(unittest.TestCase):
    """`--tls-client-ca`: a certificate that was verified is an operator; one that wasn't ends the handshake."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="swiftlet-test-tls-")
        cls.files = pathlib.Path(cls.folder.name)
        cls.files.chmod(0o755)
        for ca in ["ca", "strangers"]:
            cls.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")
        cls.issue("ada", "ca", "subjectAltName=URI:spiffe://example/ada", "extendedKeyUsage=clientAuth")
        cls.issue("bob", "ca", "subjectAltName=URI:spiffe://example/bob")
        cls.issue("eve", "ca")
        cls.issue("fay", "ca")
        cls.issue("server", "ca", "extendedKeyUsage=serverAuth")
        cls.issue("mallory", "strangers")
        cls.issue("old", "ca", days="-1")
        (cls.files / "index").write_text("")
        (cls.files / "ca.cnf").write_text(f"[ca]\ndefault_ca=x\n[x]\ndatabase={cls.files}/index\ndefault_md=sha256\ndefault_crl_days=2\n")
        cls.revoke()
        digest = cls.openssl("x509", "-in", "bob.pem", "-noout", "-fingerprint", "-sha256").stdout.decode().split("=")[1].strip()
        cls.table = cls.files / "operators.json5"
        cls.roles = {"CN=ada": "platform_viewer", "san:spiffe://example/ada": "platform_operator", f"sha256:{digest}": "platform_admin"}
        cls.write_table(cls.roles)
        cls.host = Host("--tls", "self", "--loopback", "key", "--tls-client-ca", cls.files / "ca.pem", "--tls-client-crl", cls.files / "crl.pem", "--tls-operators", cls.table)

    @classmethod
    def openssl(cls, *words):
        return subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60, cwd=cls.files)

    @classmethod
    def issue(cls, name, ca, *extensions, days="2"):
        cls.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (cls.files / "ext").write_text("\n".join(["basicConstraints=CA:FALSE", *extensions]))
        cls.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", days, "-extfile", "ext", "-out", f"{name}.pem")

    @classmethod
    def revoke(cls, *names):
        for name in names:
            cls.openssl("ca", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-revoke", f"{name}.pem")
        cls.openssl("ca", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-gencrl", "-out", "crl.pem")
        (cls.files / "crl.pem").chmod(0o644)

    @classmethod
    def write_table(cls, roles):
        cls.table.write_text(json.dumps(roles))
        cls.table.chmod(0o644)

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()
        cls.folder.cleanup()

    def whoami(self, name=None, *words):
        shown = ["--cert", self.files / f"{name}.pem", "--key", self.files / f"{name}.key"] if name else []
        done = subprocess.run(
            ["curl", "-sS", "--cacert", self.host.work / "state/tls/certificate.pem", "-w", "\n%{http_code}", *shown, *words, self.host.url + "/admin/v1/whoami"], capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            return None
        body, status = done.stdout.rsplit("\n", 1)
        return json.loads(body).get("role") if status == "200" else int(status)

    def test_who_is_who(self):
        for words in [["--http1.1"], ["--http2"], ["--tls-max", "1.2"]]:
            with self.subTest(words):
                self.assertEqual(self.whoami("bob", *words), "platform_admin", "by fingerprint")
                self.assertEqual(self.whoami("ada", *words), "platform_operator", "a URI is more certain than a name")
                self.assertEqual(self.whoami("eve", *words), 401, "verified, and in no table")
                self.assertEqual(self.whoami(None, *words), 401, "asked, not demanded")
                for name in ["mallory", "server", "old"]:
                    self.assertIsNone(self.whoami(name, *words), name)
        self.assertIn("certificate was refused", (self.host.work / "host.log").read_text())

    def test_a_key_that_is_shown_counts_before_the_certificate(self):
        self.assertEqual(self.whoami("bob", "-H", "Authorization: Bearer swl_nonsense"), 401)

    def test_changes_hold_after_a_reload(self):
        try:
            self.write_table({"CN=fay": "platform_viewer"})
            self.host.process.send_signal(signal.SIGHUP)
            wait_for(lambda: self.whoami("fay") == "platform_viewer", "the new operator is known")
            self.assertEqual(self.whoami("bob"), 401, "and the old one isn't")
            self.revoke("fay")
            self.host.process.send_signal(signal.SIGHUP)
            wait_for(lambda: self.whoami("fay") is None, "a revoked certificate is refused")
            self.write_table({"CN=fay": "tenant_admin"})
            self.host.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "roles are" in (self.host.work / "host.log").read_text(), "a role that is none is said")
        finally:
            self.write_table(self.roles)
            self.host.process.send_signal(signal.SIGHUP)
            wait_for(lambda: self.whoami("bob") == "platform_admin", "as it was")


class StrictTransport(unittest.TestCase):
    def test_a_certificate_of_an_authority_sends_hsts(self):
        with tempfile.TemporaryDirectory(prefix="swiftlet-test-tls-") as folder:
            files = pathlib.Path(folder)
            files.chmod(0o755)
            run = lambda *words: subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60, cwd=files)
            run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem")
            run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x", "-keyout", "key.pem", "-out", "x.csr")
            (files / "ext").write_text("subjectAltName=IP:127.0.0.1")
            run("x509", "-req", "-in", "x.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "cert.pem")
            host = Host("--tls-cert", files / "cert.pem", "--tls-key", files / "key.pem", authorities=files / "ca.pem")
            try:
                self.assertFalse(host.tls["self_signed"])
                self.assertEqual(host.request("GET", "/healthz")[2]["strict-transport-security"], "max-age=86400")
                self.assertIn("strict-transport-security: max-age=86400", subprocess.run(["curl", "-sI", "--http2", "--cacert", files / "ca.pem", host.url + "/healthz"], capture_output=True, text=True, timeout=30).stdout.lower())
            finally:
                host.stop()


class Combinations(unittest.TestCase):
    def test_options_that_do_not_go_together(self):
        for words in [["--tls", "off", "--tls-cert", "x", "--tls-key", "y"], ["--tls", "self", "--tls-cert", "x", "--tls-key", "y"], ["--tls", "maybe"], ["--tls-hosts", "x"], ["--tls-client-ca", "x"],
                      ["--tls", "self", "--tls-operators", "x"], ["--tls", "self", "--tls-client-crl", "x"], ["--tls-hsts", "5"], ["--tls", "self", "--tls-hsts", "-1"]]:
            with self.subTest(words), tempfile.TemporaryDirectory() as state:
                done = subprocess.run([SWIFTLET, "serve", "--listen", "127.0.0.1:0", "--state", state, *words], capture_output=True, text=True, timeout=30)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn("--tls", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
