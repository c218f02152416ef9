"""`make sbom`: the bill of materials of this very build, held against CycloneDX's own schema and against the machine."""
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from run import PREFIX, ROOT

VALIDATOR = ROOT / ".deps/sbom/bin/python"
CHECK = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
import json
text = open(sys.argv[1]).read()
fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
if fault:
    sys.exit(f"schema: {str(fault)[:500]}")
for one in json.loads(text)["components"]:
    if "purl" in one and PackageURL.from_string(one["purl"]).to_string() != one["purl"]:
        sys.exit(f"purl: {one['purl']}")
"""


def make(folder, name, **environment):
    path = pathlib.Path(folder) / name
    subprocess.run([ROOT / "scripts/sbom", PREFIX, path], check=True, capture_output=True, env=dict(os.environ, **environment))
    return path


def validate(path):
    return subprocess.run([VALIDATOR, "-c", CHECK, path], capture_output=True, text=True, timeout=120)


class BillOfMaterials(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = make(cls.folder.name, "one.json", SOURCE_DATE_EPOCH="1700000000")
        cls.bom = json.loads(cls.path.read_text())
        cls.components = {one["bom-ref"]: one for one in cls.bom["components"]}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_the_schema_takes_it(self):
        done = validate(self.path)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_schema_refuses_a_broken_one(self):
        for change in [{"version": 0}, {"components": [{"name": "no type"}]}, {"serialNumber": "1"}, {"extra": 1}]:
            path = pathlib.Path(self.folder.name) / "broken.json"
            path.write_text(json.dumps({**self.bom, **change}))
            self.assertNotEqual(validate(path).returncode, 0, change)

    def test_the_same_build_makes_the_same_bytes(self):
        again = make(self.folder.name, "two.json", SOURCE_DATE_EPOCH="1700000000")
        self.assertEqual(again.read_bytes(), self.path.read_bytes())
        self.assertEqual(self.bom["metadata"]["timestamp"], "2023-11-14T22:13:20Z")
        later = json.loads(make(self.folder.name, "three.json").read_text())
        for part in ["components", "dependencies"]:
            self.assertEqual(later[part], self.bom[part])
        self.assertNotEqual(later["serialNumber"], self.bom["serialNumber"])

    def test_our_files_are_listed_with_their_digests(self):
        for name in ["bin/swiftlet", "libexec/swiftlet-zygote", "lib/libSwiftletKit.so", "plugins/echo/EchoBackend.so"]:
            digest = hashlib.sha256((PREFIX / name).read_bytes()).hexdigest()
            self.assertEqual(self.components[f"file:{name}"]["hashes"], [{"alg": "SHA-256", "content": digest}])

    def test_libraries_are_debians_with_the_versions_of_this_machine(self):
        debian = {one["name"]: one for ref, one in self.components.items() if ref.startswith("pkg:deb/")}
        for name in ["libssl3", "libnghttp2-14", "libsqlite3-0", "libseccomp2", "libc6"]:
            version = subprocess.run(
                ["dpkg-query", "-W", "-f", "${Version}", name], check=True, capture_output=True, text=True).stdout
            self.assertEqual(debian[name]["version"], version)
        uses = {one["ref"]: one["dependsOn"] for one in self.bom["dependencies"]}
        self.assertIn(debian["libssl3"]["bom-ref"], uses["file:bin/swiftlet"])
        self.assertIn(debian["libseccomp2"]["bom-ref"], uses["file:libexec/swiftlet-zygote"])

    def test_what_the_pins_say_is_listed_with_their_hashes(self):
        for file in ["sources", "wheels", "minilm", "tools", "converter"]:
            for line in (ROOT / f"scripts/pins/{file}.txt").read_text().splitlines():
                if line.startswith("#"):
                    continue
                name, version = line.split()[0].split("==")
                component = self.components[f"pkg:pypi/{name}@{version}"]
                self.assertEqual([h["content"] for h in component["hashes"]], [line.split("sha256:")[1]])

    def test_every_reference_is_to_something_listed(self):
        known = set(self.components) | {self.bom["metadata"]["component"]["bom-ref"]}
        for one in self.bom["dependencies"]:
            self.assertLessEqual({one["ref"], *one["dependsOn"]}, known)
        self.assertTrue(any(one["name"] == "swift" and one["version"] for one in self.components.values()))

    def test_a_prefix_that_was_not_built_is_an_error(self):
        done = subprocess.run([ROOT / "scripts/sbom", self.folder.name, f"{self.folder.name}/x"], capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("make build", done.stderr)
        self.assertFalse((pathlib.Path(self.folder.name) / "x").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
