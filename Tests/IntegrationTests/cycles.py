"""A model is loaded and unloaded many times, and nothing of it stays. Usage: cycles.py PREFIX [CYCLES [MODEL]]

MODEL is a folder of PREFIX/plugins; without one, echo and minilm are both tried, minilm a fifth as often. Results go to
.build/cycles.json. With an NVIDIA GPU (SWIFTLET_CYCLES_DEVICE=gpu:0, and a plugin built for it) its memory is compared, too.
SWIFTLET_CYCLES_AT_ONCE=8 does them in eight copies of the model beside each other, where there are cores for that.
"""
import concurrent.futures
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

CYCLES = int(sys.argv.pop(2)) if len(sys.argv) > 2 else 30
MODELS = {sys.argv.pop(2): CYCLES} if len(sys.argv) > 2 else {"echo": CYCLES, "minilm": max(1, CYCLES // 5)}
DEVICE = os.environ.get("SWIFTLET_CYCLES_DEVICE")
AT_ONCE = int(os.environ.get("SWIFTLET_CYCLES_AT_ONCE", "1"))

from run import PREFIX, ROOT, Host, wait_for, zygote_processes  # noqa: E402: it takes PREFIX from the arguments

# What the host's memory may have moved by, in KiB: lists that grew once, and pages of the allocator.
TOLERANCE = 4096


class Measure:
    """What a host holds while no model is loaded."""

    def __init__(self, host):
        pid = host.process.pid
        below = zygote_processes(pid)
        self.rss = self.status(pid, "VmRSS")
        self.descriptors = sum(1 for _ in os.scandir(f"/proc/{pid}/fd"))
        self.threads = self.status(pid, "Threads")
        self.processes = len(below)
        self.tree = sum(self.proportional(one) for one in below | {pid})
        groups = pathlib.Path("/sys/fs/cgroup")
        self.groups = len(list(groups.glob(f"*/swiftlet-{pid}/*/")) + list(groups.glob(f"swiftlet-{pid}/*/")))
        # What the kernel counts for all workers' groups together, where there is such a counter: without pages of files, which
        # belong to whoever read them first and go when others need the memory.
        counters = {}
        for pattern in (f"memory/swiftlet-{pid}/memory.stat", f"swiftlet-{pid}/memory.stat"):
            for file in groups.glob(pattern):
                counters = dict(line.split() for line in file.read_text().split("\n") if line)
        self.anonymous = int(counters.get("total_rss", counters.get("anon", 0))) // 1024
        kernel = groups / f"memory/swiftlet-{pid}/memory.kmem.usage_in_bytes"
        self.kernel = int(kernel.read_text() if kernel.exists() else counters.get("kernel", 0)) // 1024
        self.device = self.device_memory()

    @staticmethod
    def status(pid, name):
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().split("\n")
        return int(next(line for line in lines if line.startswith(name)).split()[1])

    @staticmethod
    def proportional(pid):
        try:
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().split("\n")
            return int(next(line for line in lines if line.startswith("Pss:")).split()[1])
        except (OSError, StopIteration):
            return 0

    @staticmethod
    def device_memory():
        if not DEVICE or not shutil.which("nvidia-smi"):
            return None
        query = ["nvidia-smi", f"--id={DEVICE.split(':')[1]}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout)


def deploy(host, model, name):
    folder = host.work / name
    shutil.copytree(PREFIX / "plugins" / model, folder)
    words = (folder / "swiftlet.json5").read_text()
    replaced = ("keep_alive_s:", "name:") + (("limits:", "device:") if DEVICE else ())
    lines = [line for line in words.split("\n") if not line.lstrip().startswith(replaced)]
    end = len(lines) - 1 - lines[::-1].index("}")
    lines.insert(end, f'  keep_alive_s: 0, name: "{name}",')
    if DEVICE:
        lines.insert(end, f'  device: "{DEVICE}", limits: {{ memory_mb: 8192, device_memory_mb: 2048, threads: 2, cpu_percent: 400 }},')
    (folder / "swiftlet.json5").write_text("\n".join(lines))
    host.cli("deploy", str(folder))
    shutil.rmtree(folder)


def call(connection, model):
    if model.startswith("minilm"):
        path, body = "/v1/embeddings", {"model": model, "input": "a text"}
    else:
        path = "/v1/completions"
        body = {"model": model, "prompt": "abc", "max_tokens": 2, "temperature": 0}
    connection.request("POST", path, json.dumps(body))
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise AssertionError(f"{model}: {answer.status} {text}")


def state(connection, model):
    connection.request("GET", "/admin/v1/models")
    return next(one["state"] for one in json.loads(connection.getresponse().read())["models"] if one["name"] == model)


def rest(host):
    """Until the zygotes of models have gone as well: they stay for a second."""
    wait_for(lambda: "0 workers, 0 tenants" in host.cli("ps").stdout, "no worker and no zygote of a model")

    def steady():
        one = zygote_processes(host.process.pid)
        time.sleep(1)
        return one == zygote_processes(host.process.pid)

    # A spare zygote takes the place of the one that was adopted, and prepares its workers.
    wait_for(steady, "the spare zygote is ready")


def load_and_unload(host, model, cycles):
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=60)
    for _ in range(cycles):
        call(connection, model)
        end = time.time() + 30
        while state(connection, model) != "cold":
            if time.time() > end:
                raise AssertionError(f"{model}: still loaded after 30 s")
            time.sleep(0.002)
    connection.close()


def run(model, cycles):
    names = [model] if AT_ONCE == 1 else [f"{model}-{number}" for number in range(AT_ONCE)]
    each, warm = -(-cycles // AT_ONCE), max(1, min(10, cycles) // AT_ONCE)
    host = Host()

    def all_of(count):
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda name: load_and_unload(host, name, count), names))

    try:
        for name in names:
            deploy(host, model, name)
        all_of(warm)
        rest(host)
        before, begun = Measure(host), time.time()
        all_of(each)
        took = time.time() - begun
        rest(host)
        after = Measure(host)
        metrics = host.request("GET", "/metrics")[1].decode()
        for name in names:
            for counter in ("loads", "unloads"):
                if f'swiftlet_model_{counter}_total{{model="{name}"}} {warm + each}\n' not in metrics:
                    raise AssertionError(f"{name}: not one {counter} a cycle")
        return each * AT_ONCE, took, vars(before), vars(after)
    finally:
        host.stop()


def judge(model, before, after):
    same = ("descriptors", "threads", "processes", "groups")
    faults = [f"{name}: {before[name]} before, {after[name]} after" for name in same if before[name] != after[name]]
    faults += [
        f"{name}: {before[name]} KiB before, {after[name]} KiB after" for name in ("rss", "tree", "anonymous", "kernel")
        if after[name] > before[name] + TOLERANCE]
    if before["device"] is not None and after["device"] > before["device"] * 1.01:
        faults.append(f"device memory: {before['device']} MiB before, {after['device']} MiB after")
    return [f"{model}: {fault}" for fault in faults]


def main():
    results, faults = {}, []
    for model, cycles in MODELS.items():
        count, took, before, after = run(model, cycles)
        results[model] = {"cycles": count, "seconds": round(took, 1), "before": before, "after": after}
        print(f"{model}: {count} cycles in {took:.1f} s")
        for name in before:
            if before[name] is not None:
                print(f"  {name}: {before[name]} before, {after[name]} after")
        faults += judge(model, before, after)
    (ROOT / ".build/cycles.json").write_text(json.dumps(results, indent=1))
    for fault in faults:
        print(f"FAILED {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


main()
