"""Models on tensors behind the Open Inference Protocol v2, and a real one that knows files. Usage: tensors.py PREFIX"""
import http.client
import json
import pathlib
import shutil
import struct
import subprocess
import threading
import time
import unittest

from run import PREFIX, ROOT, Host, handler

# The Python that has tritonclient; scripts/setup makes it.
CLIENT = ROOT / ".deps/tensor-clients/bin/python"
HERE = pathlib.Path(__file__).resolve().parent
FILE_TYPE = ROOT / "examples/file-type/file_type.py"

TRITON = """
import sys, numpy as np, tritonclient.http as triton
from tritonclient.utils import InferenceServerException
client = triton.InferenceServerClient(sys.argv[1].removeprefix("http://"), concurrency=4)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("honest")
assert not client.is_model_ready("nobody") and client.is_model_ready("honest", "1.0.0")
assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
about = client.get_model_metadata("honest")
assert [t["name"] for t in about["inputs"]] == ["numbers", "names", "flags", "halves", "whole"], about
assert about["inputs"][0] == {"name": "numbers", "datatype": "FP32", "shape": [-1, 2]}, about
assert client.get_model_config("honest")["max_batch_size"] == 4
assert {m["name"] for m in client.get_model_repository_index()} >= {"honest", "picky"}
given = {
    "numbers": np.array([[1.5, -2], [3e-20, 4e20]], np.float32), "names": np.array([b"\\xc3\\xa9t\\xc3\\xa9", b""], np.object_),
    "flags": np.array([True, False]), "halves": np.array([0.5, -65504], np.float16),
    "whole": np.array([[0, 1], [2**64 - 1, 2**63]], np.uint64)}
kinds = {"numbers": "FP32", "names": "BYTES", "flags": "BOOL", "halves": "FP16", "whole": "UINT64"}
for binary in (True, False):
    inputs, outputs = [], []
    for name, value in given.items():
        tensor = triton.InferInput(name, list(value.shape), kinds[name])
        tensor.set_data_from_numpy(value, binary_data=binary or name == "halves")
        inputs.append(tensor)
        outputs.append(triton.InferRequestedOutput(name + "_out", binary_data=binary or name == "halves"))
    answer = client.infer("honest", inputs, outputs=outputs, request_id="seven")
    assert answer.get_response()["id"] == "seven" and answer.get_response()["model_name"] == "honest"
    for name, value in given.items():
        got = answer.as_numpy(name + "_out")
        if name == "names" and not binary: got = np.array([text.encode() if isinstance(text, str) else text for text in got], np.object_)
        assert got.shape == value.shape and (got == value).all(), (name, binary, got)
# No outputs are named: all come, as bytes.
assert client.infer("honest", inputs).as_numpy("rows").tolist() == [2, 2]
bad = triton.InferInput("numbers", [1, 3], "FP32")
bad.set_data_from_numpy(np.zeros((1, 3), np.float32))
try:
    client.infer("honest", [bad])
except InferenceServerException as refused:
    assert "[1, 3]" in refused.message() and refused.status() == "400", (refused.message(), refused.status())
else:
    raise AssertionError("a wrong shape")
stats = client.get_inference_statistics("honest")["model_stats"][0]
assert stats["inference_stats"]["success"]["count"] >= 3 and stats["execution_count"] >= 3, stats
"""


def request(rows=1, first=1.0, names=("a",), **changes):
    """What the test's backend takes, with as many rows; a change to None leaves an input out."""
    inputs = {
        "numbers": {"datatype": "FP32", "shape": [rows, 2], "data": [first, 2.0] * rows},
        "names": {"datatype": "BYTES", "shape": [rows], "data": list(names) * rows},
        "flags": {"datatype": "BOOL", "shape": [rows], "data": [True] * rows},
        "halves": None,
        "whole": {"datatype": "UINT64", "shape": [rows, 2], "data": [1, 2] * rows},
    }
    inputs.update(changes)
    raw = b"\x00\x3c" * rows
    listed = []
    for name, fields in inputs.items():
        if name == "halves" and name not in changes:
            fields = {"datatype": "FP16", "shape": [rows], "parameters": {"binary_data_size": len(raw)}}
        if fields is not None:
            listed.append({"name": name, **fields})
    outputs = [{"name": name + "_out"} for name in ("numbers", "names", "flags", "whole")] + [{"name": "rows"}]
    return {"inputs": listed, "outputs": outputs}, raw


class Tensors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        library = cls.host.work / "tensors.so"
        subprocess.run(
            ["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-fPIC", "-shared", "-fvisibility=hidden",
             f"-I{ROOT}/Sources/SwiftletABI/include", HERE / "backends/tensors.c", ROOT / "Plugins/Shared/config.c",
             "-o", library], check=True)
        cls.library = library.read_bytes()
        cls.deploy("honest", batch={"max_size": 4, "max_delay_us": 1000})
        cls.deploy("joins", {"step_us": 50000}, batch={"max_size": 8, "max_delay_us": 300000})
        cls.deploy("picky", {"behaviour": 8}, batch={"max_size": 8, "max_delay_us": 200000})
        for name, behaviour in [("short", 1), ("negative", 2), ("no-type", 3), ("other-name", 4), ("many", 5), ("crash", 6)]:
            cls.deploy(name, {"behaviour": behaviour})
        cls.deploy("hangs", {"behaviour": 7}, limits={"memory_mb": 64, "timeout_ms": 1000})
        cls.deploy("anonymous", {"behaviour": 10})

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    @classmethod
    def deploy(cls, name, config={}, **manifest):
        folder = cls.host.work / name
        folder.mkdir()
        (folder / "tensors.so").write_bytes(cls.library)
        fields = {"name": name, "kind": "backend", "version": "1.0.0", "library": "tensors.so", "config": config,
                  "limits": {"memory_mb": 64}, **manifest}
        (folder / "swiftlet.json5").write_text(json.dumps(fields))
        cls.host.cli("deploy", str(folder))

    def infer(self, model, fields, raw=b"", header=None):
        text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        length = {"Inference-Header-Content-Length": str(len(text)) if header is None else header}
        status, body, headers = self.host.request("POST", f"/v2/models/{model}/infer", text + raw, length)
        return status, json.loads(body), headers

    def refused(self, status, words, fields, raw=b"", header=None, model="honest"):
        got, answer, _ = self.infer(model, fields, raw, header)
        self.assertEqual(got, status, answer)
        self.assertEqual(list(answer), ["error"])
        self.assertIn(words, answer["error"])

    def statistics(self, model):
        return json.loads(self.host.request("GET", f"/v2/models/{model}/stats")[1])["model_stats"][0]

    def test_tritonclient_works_unmodified(self):
        done = subprocess.run([CLIENT, "-c", TRITON, self.host.url], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_json_goes_both_ways(self):
        status, answer, headers = self.infer("honest", *request(2, first=0.1))
        self.assertEqual(status, 200, answer)
        outputs = {output["name"]: output for output in answer["outputs"]}
        self.assertEqual(outputs["numbers_out"], {"name": "numbers_out", "datatype": "FP32", "shape": [2, 2], "data": [0.1, 2.0] * 2})
        self.assertEqual(outputs["names_out"]["data"], ["a", "a"])
        self.assertEqual(outputs["flags_out"]["data"], [True, True])
        self.assertIn("model;dur=", headers["server-timing"])

    def test_what_a_model_does_not_take_is_refused_by_name(self):
        for words, changes in [
            ("'numbers' has shape [1, 3]", {"numbers": {"datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}}),
            ("'numbers' is INT32 and must be FP32", {"numbers": {"datatype": "INT32", "shape": [1, 2], "data": [1, 2]}}),
            ("'flags' is missing", {"flags": None}),
            ("no input 'extra'", {"extra": {"datatype": "INT8", "shape": [1], "data": [1]}}),
            ("has 3 elements", {"numbers": {"datatype": "FP32", "shape": [1, 2], "data": [1, 2, 3]}}),
            ("is no UINT64", {"whole": {"datatype": "UINT64", "shape": [1, 2], "data": [-1, 2]}}),
            ("there is no 'FP8'", {"numbers": {"datatype": "FP8", "shape": [1, 2], "data": [1, 2]}}),
            ("is sent as bytes only", {"halves": {"datatype": "FP16", "shape": [1], "data": [1]}}),
        ]:
            fields, raw = request(**changes)
            self.refused(400, words, fields, b"" if "halves" in changes else raw)
        fields, raw = request()
        fields["outputs"] = [{"name": "nothing"}]
        self.refused(400, "no output 'nothing'", fields, raw)
        self.refused(404, "no model 'nobody'", *request(), model="nobody")
        status, answer, _ = self.host.request("POST", "/v2/models/honest/versions/9/infer", b"{}")
        self.assertEqual((status, "version" in json.loads(answer)["error"]), (404, True))

    def test_sizes_that_lie_are_refused(self):
        fields, raw = request()
        self.refused(400, "bytes behind", fields, raw + b"x")
        self.refused(400, "bytes are left", fields, raw[:1])
        for header in ["-1", "99999999999999999999", "0x20", "", "1000000", " "]:
            self.refused(400, "", fields, raw, header)
        for size in [-1, -2**63, 2**32, 2**64, 1.5, "2"]:
            fields["inputs"][3]["parameters"]["binary_data_size"] = size
            self.refused(400, "binary_data_size", fields, raw)

    def test_garbage_is_refused(self):
        for body in [b"", b"{", b"\x00" * 100, b"[]", b'{"inputs":7}', b'{"inputs":[7]}', b'{"inputs":[{}]}', b"[" * 5000,
                     b'{"inputs":[{"name":"x","datatype":"FP32","shape":[4294967296,4294967296],"data":[]}]}']:
            self.refused(400, "", body)
        # Announced, and answered before it is sent.
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
        connection.putrequest("POST", "/v2/models/honest/infer")
        connection.putheader("Content-Length", str(7 << 20))
        connection.endheaders()
        answer = connection.getresponse()
        self.assertEqual((answer.status, "larger" in json.loads(answer.read())["error"]), (413, True))
        connection.close()
        status, _, _ = self.host.request("GET", "/v2/models/honest/infer")
        self.assertEqual(status, 405)
        self.assertEqual(self.host.request("GET", "/v2/nowhere")[0], 404)
        self.assertEqual(self.infer("honest", *request())[0], 200)

    def test_requests_are_joined_and_taken_apart(self):
        answers = {}

        def call(number):
            answers[number] = self.infer("joins", *request(1 + number % 2, first=float(number), names=(f"n{number}",)))

        self.assertEqual(self.infer("joins", *request())[0], 200)
        threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        joined = []
        for number, (status, answer, _) in answers.items():
            self.assertEqual(status, 200, answer)
            outputs = {output["name"]: output["data"] for output in answer["outputs"]}
            rows = 1 + number % 2
            self.assertEqual(outputs["numbers_out"], [float(number), 2.0] * rows)
            self.assertEqual(outputs["names_out"], [f"n{number}"] * rows)
            joined += outputs["rows"]
        self.assertGreaterEqual(max(joined), 3)
        self.assertLessEqual(max(joined), 8)
        self.assertTrue(any(entry["batch_size"] >= 3 for entry in self.statistics("joins")["batch_stats"]))

    def test_one_callers_bad_values_fail_nobody_else(self):
        answers = {}

        def call(first):
            answers[first] = self.infer("picky", *request(first=first))

        self.assertEqual(self.infer("picky", *request())[0], 200)
        threads = [threading.Thread(target=call, args=(first,)) for first in (1.0, 666.0, 3.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({first: answer[0] for first, answer in answers.items()}, {1.0: 200, 666.0: 500, 3.0: 200})
        self.assertIn("does not like 666", answers[666.0][1]["error"])

    def test_a_worker_that_breaks_its_contract_is_ended(self):
        for model, words in [("short", "7 bytes"), ("negative", ""), ("no-type", "no list"), ("other-name", ""), ("many", ""),
                             ("crash", "SIGABRT"), ("anonymous", "which tensors")]:
            with self.subTest(model):
                status, answer, _ = self.infer(model, *request())
                self.assertEqual(status, 500, answer)
                self.assertIn(model, answer["error"])
                self.assertEqual(self.infer("honest", *request())[0], 200)

    def test_a_worker_that_hangs_is_ended_in_time(self):
        begun = time.time()
        status, answer, _ = self.infer("hangs", *request())
        self.assertEqual(status, 500, answer)
        self.assertIn("1000 ms", answer["error"])
        self.assertLess(time.time() - begun, 8)


class FileTypes(unittest.TestCase):
    """OpenVINO with Magika's model in a real sandbox."""

    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        cls.host.cli("deploy", str(PREFIX / "plugins/magika"))

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def classify(self, *paths):
        done = subprocess.run(
            ["python3", FILE_TYPE, "--host", self.host.url, "--config", PREFIX / "plugins/magika/config.min.json", *paths],
            capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [line.split("\t")[1] for line in done.stdout.splitlines()]

    def test_real_files_are_known(self):
        files = {
            "code": ((HERE / "run.py").read_bytes(), "python"), "more": ((HERE / "handlers/frame.c").read_bytes(), "c"),
            "shell": ((ROOT / "scripts/setup").read_bytes(), "shell"), "program": ((PREFIX / "bin/swiftlet").read_bytes(), "elf"),
            "markup": ((ROOT / "README.md").read_bytes(), "markdown")}
        for name, (content, _) in files.items():
            (self.host.work / name).write_bytes(content)
        types = self.classify(*[self.host.work / name for name in files])
        self.assertEqual(types, [label for _, label in files.values()])

    def test_two_tenants_share_a_run(self):
        folder = self.host.work / "shared"
        shutil.copytree(PREFIX / "plugins/magika", folder)
        manifest = (folder / "swiftlet.json5").read_text().replace('"magika"', '"shared"').replace("max_delay_us: 2000", "max_delay_us: 800000")
        (folder / "swiftlet.json5").write_text(manifest)
        self.host.cli("deploy", str(folder))
        body = """
            uint32_t number;
            swiftlet_event_v1 event = {.size = sizeof event, .version = 1};
            if (host->call(text("model.infer"), call->body, &number) != SWIFTLET_OK) return SWIFTLET_FAILED;
            do {
                if (host->next(UINT64_MAX, &event) != SWIFTLET_OK) return SWIFTLET_FAILED;
                if (event.data.size > 0 && host->write(event.data) != SWIFTLET_OK) return SWIFTLET_FAILED;
            } while (event.kind == SWIFTLET_EVENT_DATA);
            return SWIFTLET_OK;"""
        for tenant in ("ada", "bob"):
            handler_folder = self.host.work / f"asks-{tenant}"
            handler_folder.mkdir()
            (handler_folder / "handler.c").write_text(handler(body))
            (handler_folder / "swiftlet.json5").write_text(json.dumps(
                {"name": "asks", "kind": "handler", "version": "1.0.0", "language": "c", "models": ["shared"]}))
            self.host.cli("deploy", str(handler_folder), "--tenant", tenant)
        answers = {}

        def call(tenant, filler):
            tensor = {"name": "bytes", "datatype": "INT32", "shape": [1, 2048], "data": [filler] * 2048}
            answers[tenant] = self.host.request("POST", f"/fn/{tenant}/asks/", json.dumps({"model": "shared", "inputs": [tensor]}))

        # Once each by itself: the answers to compare with.
        expected = {}
        for tenant, filler in (("ada", 7), ("bob", 65)):
            call(tenant, filler)
            self.assertEqual(answers[tenant][0], 200, answers[tenant][1])
            expected[tenant] = json.loads(answers[tenant][1])["outputs"][0]["data"]
        threads = [threading.Thread(target=call, args=pair) for pair in (("ada", 7), ("bob", 65))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for tenant, wanted in expected.items():
            self.assertEqual(answers[tenant][0], 200, answers[tenant][1])
            got = json.loads(answers[tenant][1])["outputs"][0]
            self.assertEqual(got["shape"], [1, 214])
            self.assertLess(max(abs(a - b) for a, b in zip(got["data"], wanted)), 1e-4)
        stats = json.loads(self.host.request("GET", "/v2/models/shared/stats")[1])["model_stats"][0]
        self.assertEqual({entry["batch_size"]: entry["compute_infer"]["count"] for entry in stats["batch_stats"]}, {1: 2, 2: 1})
        # Naming the model in the manifest is what allows the call.
        _, text, _ = self.host.request("POST", "/fn/ada/asks/", json.dumps({"model": "magika", "inputs": []}))
        self.assertEqual(json.loads(text)["error"]["code"], "model_not_allowed")

    def test_metadata_is_that_of_the_file(self):
        status, answer, _ = self.host.request("GET", "/v2/models/magika")
        about = json.loads(answer)
        self.assertEqual(status, 200, about)
        self.assertEqual(about["inputs"], [{"name": "bytes", "datatype": "INT32", "shape": [-1, 2048]}])
        self.assertEqual([(t["name"], t["shape"]) for t in about["outputs"]], [("target_label", [-1, 214])])

    def test_a_wrong_shape_does_not_reach_the_engine(self):
        body = struct.pack("<4i", 1, 2, 3, 4)
        head = json.dumps({"inputs": [
            {"name": "bytes", "datatype": "INT32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}]}).encode()
        status, answer, _ = self.host.request(
            "POST", "/v2/models/magika/infer", head + body, {"Inference-Header-Content-Length": str(len(head))})
        self.assertEqual((status, "[1, 4]" in json.loads(answer)["error"]), (400, True), answer)

    def test_a_chat_is_refused_with_the_way_to_go(self):
        status, answer, _ = self.host.request(
            "POST", "/v1/chat/completions", json.dumps({"model": "magika", "messages": [{"role": "user", "content": "hi"}]}))
        self.assertEqual((status, "/v2/models/magika" in json.loads(answer)["error"]["message"]), (400, True))


if __name__ == "__main__":
    unittest.main(verbosity=2)
