"""A model with a GPU, on a machine without one: nodes and driver are stand-ins, the host, its workers and their jail are real.

Usage: gpu.py PREFIX. Needs root, to make nodes below /dev, and no NVIDIA driver, whose nodes it would not touch."""
import json
import os
import pathlib
import shutil
import stat
import subprocess
import unittest

import models
from run import PREFIX, ROOT, SWIFTLET, Host, make_work, wait_for

# A virtual console's memory is a device that every kernel has, and harmless.
CONSOLE = os.makedev(7, 0)
NODES = [pathlib.Path("/dev") / name for name in ("nvidia0", "nvidiactl", "nvidia-uvm")]
GIB = 1 << 30
CAN_RUN = os.geteuid() == 0 and not any(node.exists() for node in NODES)


@unittest.skipUnless(CAN_RUN, "not root, or a real driver is here")
class GPU(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = make_work()
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)
        cls.facts = cls.work / "facts"
        cls.say()
        subprocess.run(
            ["cc", "-shared", "-fPIC", f'-DFACTS="{cls.facts}"', ROOT / "Tests/Doubles/nvml.c", "-o", cls.work / "libnvidia-ml.so.1"],
            check=True)
        cls.make_nodes()
        cls.addClassCleanup(cls.remove_nodes)
        cls.environment = dict(os.environ, LD_LIBRARY_PATH=str(cls.work))
        cls.host = Host(env=cls.environment)
        cls.addClassCleanup(cls.host.stop)

    @classmethod
    def make_nodes(cls):
        for node in NODES:
            os.mknod(node, stat.S_IFCHR | 0o666, CONSOLE)
            node.chmod(0o666)

    @classmethod
    def remove_nodes(cls):
        for node in NODES:
            node.unlink(missing_ok=True)

    @classmethod
    def say(cls, *uses):
        """What the driver will answer: (pid, bytes) on GPU 0."""
        lines = ["minors 0"] + [f"0 {pid} {used}" for pid, used in uses]
        new = cls.facts.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        new.rename(cls.facts)

    deploy = classmethod(models.Models.deploy.__func__)
    ask, stream, workers = models.Models.ask, models.Models.stream, models.Models.workers

    def metric(self, model):
        text = self.host.request("GET", "/metrics")[1].decode()
        line = next(row for row in text.split("\n") if row.startswith(f'swiftlet_model_over_budget_total{{model="{model}"}}'))
        return int(line.split()[-1])

    def pid(self, name):
        wait_for(lambda: self.workers(name) and self.workers(name)[0]["pid"], "the worker is known")
        return self.workers(name)[0]["pid"]

    def test_a_model_over_its_budget_is_ended_and_comes_back(self):
        limits = {"memory_mb": 64, "threads": 1, "device_memory_mb": 8192}
        self.deploy("greedy", device="gpu:0", limits=limits, config={"step_us": 20_000})
        connection, answer = self.stream("greedy", "x" * 2000)
        self.assertTrue(answer.readline().startswith(b"data: {"))
        first = self.pid("greedy")
        # What it may take it may keep, and what others take is theirs.
        self.say((first, 8 * GIB), (first + 1, 70 * GIB))
        self.assertTrue(any(answer.readline().startswith(b"data: {") for _ in range(80)))
        self.assertEqual(self.metric("greedy"), 0)
        self.say((first, 9 * GIB + GIB // 10))
        rest = answer.read()
        connection.close()
        self.assertIn(b'"code":"model_over_budget"', rest)
        self.assertIn(b"it used 9.1 GiB of gpu:0, and its budget is 8.0 GiB", rest)
        self.assertNotIn(b"[DONE]", rest)
        self.assertEqual(self.metric("greedy"), 1)
        status, answer, _ = self.ask("greedy", "again")
        self.assertEqual((status, answer["choices"][0]["message"]["content"]), (200, "again"))
        self.assertNotEqual(self.pid("greedy"), first)

    def test_only_the_model_with_the_device_has_its_nodes(self):
        self.deploy("with-device", device="gpu:0", limits={"memory_mb": 64, "threads": 1, "device_memory_mb": 1024})
        self.deploy("without-device")
        for name, expected in [("with-device", sorted([node.name for node in NODES] + ["null"])), ("without-device", [])]:
            self.assertEqual(self.ask(name, "hello")[0], 200)
            # As its own root shows it, from outside.
            self.assertEqual(sorted(os.listdir(f"/proc/{self.pid(name)}/root/dev")), expected)

    def test_a_device_that_is_not_there_is_refused_at_the_deployment(self):
        folder = self.host.work / "elsewhere"
        folder.mkdir()
        fields = {
            "name": "elsewhere", "kind": "backend", "version": "1", "library": "EchoBackend.so", "device": "gpu:7",
            "limits": {"device_memory_mb": 1}}
        shutil.copy(PREFIX / "plugins/echo/EchoBackend.so", folder)
        (folder / "swiftlet.json5").write_text(json.dumps(fields))
        done = self.host.cli("deploy", str(folder), check=False)
        self.assertEqual(done.returncode, 1)
        for words in ("give gpu:7 to platform/elsewhere", "/dev/nvidia7: No such file", "swiftlet doctor"):
            self.assertIn(words, done.stderr)

    def test_doctor_sees_device_and_watch(self):
        run = lambda *words, **how: subprocess.run([SWIFTLET, "doctor", *words], capture_output=True, text=True, timeout=30, **how).stdout
        report = json.loads(run("--json", env=self.environment))["devices"]
        self.assertEqual(report["names"], ["gpu:0"])
        self.assertTrue(report["gpu_memory_watch"]["in_force"] or "pid namespace" in report["gpu_memory_watch"]["reason"], report)
        self.assertIn("gpu-memory-watch: absent: libnvidia-ml.so.1 not found", run())


if __name__ == "__main__":
    unittest.main(verbosity=2)
