"""The OpenAPI document is valid and complete, and the host keeps to it whatever it is asked. Usage: openapi.py PREFIX"""
import copy
import json
import os
import subprocess
import unittest

from run import PREFIX, ROOT, Host

# Python with the tools of scripts/pins/openapi.txt.
TOOLS = ROOT / ".deps/openapi/bin"
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
VALIDATE = "import json, sys; from openapi_spec_validator import OpenAPIV31SpecValidator; OpenAPIV31SpecValidator(json.load(sys.stdin)).validate()"
DEPLOYS = "^(deploy|deployAs|importTenant)$"


def operations(document):
    """(method, path, operation) of each."""
    return [
        (method, path, operation) for path, item in document["paths"].items() for method, operation in item.items()
        if method in METHODS]


def is_covered(row, method, path):
    """Whether a route of the host is where this operation goes."""
    if row["method"]:
        return (row["method"].lower(), row["path"]) == (method, path)
    return path == row["path"] or path.startswith(row["path"] + "/")


class Document(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host("--loopback", "key")
        cls.status, body, cls.headers = cls.host.request("GET", "/openapi.json")
        cls.document = json.loads(body)

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def test_it_is_served_to_everybody(self):
        self.assertEqual((self.status, self.headers["content-type"]), (200, "application/json"))
        done = subprocess.run([ROOT / "scripts/openapi", "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_it_is_openapi_3_1(self):
        self.assertEqual(self.document["openapi"], "3.1.0")
        done = subprocess.run([TOOLS / "python", "-c", VALIDATE], input=json.dumps(self.document), capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        broken = copy.deepcopy(self.document)
        broken["paths"]["/healthz"]["get"]["responses"] = {"200": {}}
        done = subprocess.run([TOOLS / "python", "-c", VALIDATE], input=json.dumps(broken), capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0, "an answer without a description was let through")

    def test_every_route_has_an_operation_and_every_operation_a_route(self):
        rows = json.loads(self.host.cli("routes", "--json").stdout)["routes"]
        known = [(method, path) for method, path, _ in operations(self.document)]
        for row in rows:
            self.assertTrue(any(is_covered(row, *one) for one in known), f"no operation for {row}: add it in docs/openapi")
        for one in known:
            self.assertTrue(any(is_covered(row, *one) for row in rows), f"{one} is no route of the host")

    def test_what_needs_no_key_says_so(self):
        rows = json.loads(self.host.cli("routes", "--json").stdout)["routes"]
        rows.sort(key=lambda row: -len(row["path"]))  # of two that a path is below, the nearer one
        for method, path, operation in operations(self.document):
            row = next(row for row in rows if is_covered(row, method, path))
            self.assertEqual(operation.get("security") == [], row["needs"] == "everybody", f"{method} {path}: {row}")


class Generated(unittest.TestCase):
    """Requests made from the document, good ones and bad ones, as an admin of the platform and as a tenant's viewer."""

    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        for tenant in ("acme", "gone"):
            cls.host.cli("tenant", "create", tenant)
        for tenant in ("default", "acme", "gone"):
            cls.host.cli("deploy", str(ROOT / "examples/hello-c"), "--tenant", tenant)
        for plugin in ("echo", "minilm", "magika"):
            cls.host.cli("deploy", str(PREFIX / "plugins" / plugin))
        key = lambda *words: json.loads(cls.host.cli("key", "create", "--json", *words).stdout)["key"]
        cls.admin = key("--platform", "--role", "platform_admin")
        cls.viewer = key("--tenant", "acme", "--role", "viewer")
        cls.document = cls.host.work / "openapi.json"
        cls.document.write_text(json.dumps(narrowed(json.loads(cls.host.request("GET", "/openapi.json")[1]))))

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def generate(self, key, examples, *filters, phases="examples,coverage,fuzzing"):
        done = subprocess.run(
            [TOOLS / "schemathesis", "run", self.document, "--url", self.host.url, "--checks", CHECKS, "--max-examples", str(examples),
             "--seed", "5", "--generation-deterministic", "--phases", phases,
             "--header", f"Authorization: Bearer {key}", "--suppress-health-check", "all", "--no-color", "--request-timeout", "20",
             "--warnings", "off", *filters],
            capture_output=True, text=True, cwd=self.host.work, timeout=400, env=dict(os.environ, COLUMNS="160"))
        self.assertEqual(done.returncode, 0, done.stdout[-6000:] + done.stderr[-2000:])
        self.assertIn("No issues found", done.stdout)
        self.assertEqual(self.host.request("GET", "/readyz")[0], 200)

    def test_an_admin_of_the_platform(self):
        self.generate(self.admin, 12, "--exclude-operation-id-regex", DEPLOYS)

    def test_an_admin_who_deploys(self):
        self.generate(self.admin, 4, "--include-operation-id-regex", DEPLOYS)

    def test_a_viewer_of_a_tenant(self):
        self.generate(self.viewer, 6, phases="examples,fuzzing")


def narrowed(document):
    """The same, but names are often those of what there is: else nearly all requests would end at the first look for one."""
    document = copy.deepcopy(document)
    schemas = document["components"]["schemas"]
    often = lambda schema, *names: {"anyOf": [{"enum": list(names)}, schema]}
    name, model = schemas["Name"], schemas["ModelReference"]
    schemas["ModelReference"] = often(model, "echo", "minilm", "magika")
    parameters = document["components"]["parameters"]
    parameters["Tenant"]["schema"] = often(name, "default", "acme", "platform")
    parameters["Function"]["schema"] = often(name, "hello-c")
    for method, path, operation in operations(document):
        # What is deleted, suspended or renamed must not be what the other requests are about.
        if method in ("delete", "patch", "put") and path.startswith("/admin/"):
            kept = [p for p in document["paths"][path].get("parameters", []) + operation.get("parameters", []) if "{tenant}" in path or "$ref" not in p]
            operation["parameters"] = [p for p in kept if p.get("$ref") != "#/components/parameters/Tenant"]
            if "{tenant}" in path:
                operation["parameters"].append({"name": "tenant", "in": "path", "required": True, "schema": often(name, "gone")})
    return document


if __name__ == "__main__":
    unittest.main()
