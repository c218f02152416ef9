"""What tests of models share: clients of other makers, run unmodified, and chats by hand."""
import http.client
import json
import shutil
import subprocess
import unittest

from run import PREFIX, ROOT, Host

# A Python with the clients of scripts/pins/clients.txt.
CLIENTS = ROOT / ".deps/clients/bin/python"


class ClientTests(unittest.TestCase):
    """Tests that run programs against a host with some of the platform's plugins."""

    plugins = ("smollm2", "echo")

    @classmethod
    def make_host(cls):
        return Host()

    @classmethod
    def setUpClass(cls):
        cls.host = cls.make_host()
        for plugin in cls.plugins:
            cls.host.cli("deploy", str(PREFIX / "plugins" / plugin))

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def run_client(self, program, *words):
        done = subprocess.run([CLIENTS, "-c", program, self.host.url, *words], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr[-4000:])

    def deploy_failing(self):
        """A model "fails" whose fourth step does, when an answer is on its way."""
        folder = self.host.work / "fails"
        shutil.copytree(PREFIX / "plugins/echo", folder)
        fields = {
            "name": "fails", "kind": "backend", "version": "1.0.0", "library": "EchoBackend.so", "context_tokens": 4096,
            "limits": {"memory_mb": 64, "threads": 1}, "config": {"fail_at": 4, "step_us": 20_000}}
        (folder / "swiftlet.json5").write_text(json.dumps(fields))
        self.host.cli("deploy", str(folder))


class Chats:
    """For a test class with a `host`."""

    def ask(self, model, text="hello there", **fields):
        body = {"model": model, "temperature": 0, "messages": [{"role": "user", "content": text}], **fields}
        status, answer, headers = self.host.request("POST", "/v1/chat/completions", json.dumps(body))
        return status, json.loads(answer), headers

    def stream(self, model, text="hello there", **fields):
        body = {"model": model, "stream": True, "temperature": 0, "messages": [{"role": "user", "content": text}], **fields}
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=60)
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        return connection, connection.getresponse()

    def workers(self, name):
        return [w for w in json.loads(self.host.cli("ps", "--json").stdout)["workers"] if w["name"] == name]
