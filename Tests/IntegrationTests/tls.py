"""HTTPS by `swiftlet serve --tls-cert --tls-key`: real certificates, real clients, a renewal while it runs."""
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import tempfile
import unittest

from run import ROOT, SWIFTLET, Host, wait_for


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


if __name__ == "__main__":
    unittest.main(verbosity=2)
