#!/usr/bin/env python3
"""Hostile tenants beside a well-behaved one, in a real host: no act may succeed, disturb the neighbour, or leave a thing.

usage: attack.py PREFIX [--invocations N] [--layers] [--only WORD]
  --invocations N  hostile invocations of the endurance part (default 1000)
  --layers         then everything again with each layer switched off in turn; writes .build/attacks/matrix.json
"""
import argparse
import collections
import ctypes
import errno
import http.client
import itertools
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORDS = argparse.ArgumentParser()
WORDS.add_argument("prefix", nargs="?", default=".build/swiftlet")
WORDS.add_argument("--invocations", type=int, default=1000)
WORDS.add_argument("--layers", action="store_true")
WORDS.add_argument("--only", default="", help="acts whose names contain this")
GIVEN = WORDS.parse_args()
sys.argv = [sys.argv[0], GIVEN.prefix]
sys.path.insert(0, str(ROOT / "Tests/IntegrationTests"))
try:
    from host import PREFIX, Host, handler, wait_for, zygote_processes
except ImportError:
    from run import PREFIX, Host, handler, wait_for, zygote_processes

RESULTS = ROOT / ".build/attacks"
LAYERS = ["user", "pid", "net", "mount", "ipc", "landlock", "seccomp", "load-filter", "serve-filter", "caps", "rlimits", "mdwe",
          "cgroup-memory", "cgroup-pids", "cgroup-cpu", "cgroup-devices", "session", "signals", "descriptors", "parent-death", "not-dumpable",
          "no-new-privs", "speculation"]
# Layers that stand behind each other: either alone holds what both are there for.
COMBINATIONS = [("seccomp", "user", "caps"), ("seccomp", "user", "not-dumpable"), ("seccomp", "rlimits", "cgroup-pids"),
                ("seccomp", "rlimits", "cgroup-memory"), ("seccomp", "net", "landlock"), ("seccomp", "pid", "landlock"),
                ("seccomp", "pid", "user", "landlock"), ("pid", "parent-death"),
                ("descriptors", "rlimits"), ("seccomp", "descriptors", "rlimits")]
HARMLESS_WHILE_LOADING, WITHOUT_ANSWER, WITH_LESS_CPU = 1, 2, 4
LIMITS = {"memory_mb": 32, "timeout_ms": 4000, "response_mb": 4, "concurrency": 4, "files": 64}
P99_RATIO = 3.0
TICK_MS = 4.0  # of a kernel with 250 ticks a second
PAUSE = 0.1  # seconds between hostile calls while the neighbour is timed
RSS_GROWTH = 4 << 20  # what an allocator may keep; a leak of 1 KiB an invocation is twice that

Act = collections.namedtuple("Act", "name outcome flags stops")
LEAVE = Act("leave", "disowned", 0, "")


# ---- what is built ----------------------------------------------------------------------------------------------------------

class Tools:
    """The plugin in its variants, and the program that runs the acts without a sandbox."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="swiftlet-attack-"))
        self.acts = sorted(str(p) for p in (ROOT / "Sandbox/attempts").glob("*.c") if p.name != "plugin.c")
        self.plugin = str(ROOT / "Sandbox/attempts/plugin.c")
        self.unconfined = self.folder / "unconfined"
        self.compile([str(ROOT / "Tests/AttackTests/unconfined.c"), *self.acts], self.unconfined)
        self.build("plugin")
        text = subprocess.run([self.unconfined, "--list"], capture_output=True, text=True, check=True).stdout
        rows = [line.split("\t") for line in text.splitlines()]
        self.table = [Act(name, outcome, int(flags), stops) for name, outcome, flags, stops in rows if GIVEN.only in name]

    def compile(self, sources, output, *flags):
        subprocess.run(
            ["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/Sources/SwiftletABI/include",
             f"-I{ROOT}/Sandbox/wire/include", *sources, *flags, "-o", str(output)], check=True)

    def build(self, name, *flags, source=None):
        """A plugin in a folder of its own, ready to be deployed."""
        folder = self.folder / name
        if not folder.exists():
            folder.mkdir()
            self.compile([*self.acts, source or self.plugin], folder / "plugin.so", "-shared", "-fPIC", "-fvisibility=hidden", *flags)
        return folder

    def remove(self):
        shutil.rmtree(self.folder)


# ---- one host with both tenants ---------------------------------------------------------------------------------------------

class Field:
    """A host, the neighbour `quiet/echo`, and the functions of the tenant `evil`."""

    def __init__(self, tools, without=""):
        self.tools, self.without = tools, without
        extra = ["--sandbox-without", without] if without else []
        self.host = Host("--restart-rate", "0", *extra)  # every act ends a worker
        self.pid = self.host.process.pid
        try:
            wait_for(lambda: len(self.processes()) >= 3, "a zygote is ready")
            self.idle = self.count()
            self.deploy_neighbour()
            self.deploy(tools.build("plugin"), "acts", **LIMITS)
            self.deploy(tools.build("plugin"), "short", **LIMITS | {"timeout_ms": 600})
            self.deploy(tools.build("plugin"), "work", tenant="honest", **LIMITS)
            self.deploy(tools.build("plugin"), "less", **LIMITS | {"cpu_percent": 20})
            self.deploy(tools.build("plugin"), "other", extra=["secret", "libneighbour.so"], **LIMITS)
            self.other = next((self.host.work / "state").rglob("secret")).parent.name
            self.files = self.count_files()
        except BaseException:
            self.close()
            raise

    def deploy_neighbour(self):
        folder = self.host.work / "echo"
        folder.mkdir()
        (folder / "handler.c").write_text(handler("return echo(call, host);"))
        manifest = {"name": "echo", "kind": "handler", "version": "1", "language": "c", "idle_timeout_s": 0.5, "limits": {"memory_mb": 32}}
        (folder / "swiftlet.json5").write_text(json.dumps(manifest))
        self.host.cli("deploy", str(folder), "--tenant", "quiet")

    def deploy(self, built, name, tenant="evil", extra=(), check=True, **limits):
        folder = self.host.work / f"{tenant}-{name}"
        folder.mkdir()
        shutil.copy(built / "plugin.so", folder / "plugin.so")
        for word in extra:
            shutil.copy(built / "plugin.so", folder / word)
        manifest = {"name": name, "kind": "handler", "version": "1", "library": "plugin.so", "idle_timeout_s": 0.5, "limits": limits}
        (folder / "swiftlet.json5").write_text(json.dumps(manifest))
        return self.host.cli("deploy", str(folder), "--tenant", tenant, check=check)

    def call(self, act):
        function = "short" if act.flags & WITHOUT_ANSWER or act.outcome == "disowned" else "less" if act.flags & WITH_LESS_CPU else "acts"
        word = judge(act, self.host.port, f"/fn/evil/{function}/{act.name}?{self.other}")
        if not self.without:
            return word
        # With a layer off acts succeed, and would lend the next one what they won: a worker each.
        judge(LEAVE, self.host.port, f"/fn/evil/{function}/leave")
        return "works" if word == "exited" and act.outcome in ("refused", "ended") else word

    def answers(self):
        """The neighbour gets exactly what it sent."""
        body = os.urandom(20).hex().encode()
        return self.host.request("POST", "/fn/quiet/echo/", body)[1] == body

    # What must be the same before and after.

    def processes(self):
        return zygote_processes(self.pid)

    def count(self):
        groups = list(pathlib.Path("/sys/fs/cgroup").glob(f"*/swiftlet-{self.pid}/**/"))
        groups += list(pathlib.Path("/sys/fs/cgroup").glob(f"swiftlet-{self.pid}/**/"))
        shared = sorted(str(p) for folder in ("/dev/shm", "/dev/mqueue") for p in pathlib.Path(folder).glob("*"))
        segments = pathlib.Path("/proc/sysvipc/shm").read_text().count("\n")
        return {"processes": len(self.processes()), "groups": len(groups), "descriptors": self.descriptors(),
                "shared": shared, "segments": segments}

    def descriptors(self):
        return sum(1 for _ in os.scandir(f"/proc/{self.pid}/fd"))

    def count_files(self):
        state = self.host.work / "state"
        return sorted(str(p.relative_to(state)) for p in state.rglob("*") if not p.name.startswith("registry"))

    def resident(self):
        for line in open(f"/proc/{self.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024

    def leftovers(self):
        """What is there that was not there before; the tenants must sleep first."""
        def same():
            now = self.count()
            return now == self.idle and self.count_files() == self.files

        try:
            wait_for(same, "as before", seconds=15)
            return {}
        except AssertionError:
            now = self.count()
            found = {key: [self.idle[key], now[key]] for key in now if now[key] != self.idle[key]}
            files = sorted(set(self.count_files()) ^ set(self.files))
            return {**found, **({"files": files} if files else {})}

    def close(self):
        below = self.processes()
        code, log = self.host.stop()
        wait_for(lambda: not any(alive(pid) for pid in below), "every process is gone")
        assert code == 0, log
        return log


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# ---- judging ---------------------------------------------------------------------------------------------------------------

OUTCOMES = [("SIGSYS", "SIGSYS"), ("needed more memory", "out of memory"), ("did not finish", "time limit"),
            ("broke the protocol", "disowned"), ("larger than limits", "answer limit"), ("ended its own process", "exited"),
            ("zygote was ended", "lost"), ("no worker", "no worker")]


def judge(act, port, path):
    """What came of an act in one word: an errno, a signal, a limit; `works` when nothing stood against it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (http.client.HTTPException, ConnectionError):
        return "cut off"  # the answer had begun: the caller sees a broken one
    finally:
        connection.close()
    if answer.status == 200:
        words = body.decode(errors="replace").split()
        number = int(words[1]) if len(words) == 2 and words[0] == act.name and words[1].lstrip("-").isdigit() else 0
        return errno.errorcode.get(number, str(number)) if number else "works"
    cause = json.loads(body)["cause"]
    for found, word in OUTCOMES:
        if found in cause:
            return word
    for name in ("SIGSEGV", "SIGKILL", "SIGABRT", "SIGBUS", "SIGILL", "SIGTRAP"):
        if name in cause:
            return name
    return f"? {cause}"


def is_held(act, word):
    if word.startswith("E") or word == "SIGSYS":
        return True
    if act.outcome == "limited":
        return word in ("out of memory", "SIGSEGV", "SIGKILL") or (word == "time limit" and bool(act.flags & WITHOUT_ANSWER))
    if act.name == "frame-failed" and word.startswith("?") and "the handler reported an error: x: y" in word:
        return True  # sent before the host has read READY: "loading failed", which only its own caller hears
    if act.outcome == "disowned":
        return word in ("disowned", "cut off", "answer limit", "time limit", "exited")
    return False


# ---- the neighbour's time ----------------------------------------------------------------------------------------------------

def time_neighbour(port, seconds, pipe):
    """In a process of its own: latencies of one caller that pauses a little between its calls."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    took, wrong, end, number = [], 0, time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
        sent = f"call {number}".encode()
        begin = time.perf_counter()
        connection.request("POST", "/fn/quiet/echo/", sent)
        answer = connection.getresponse()
        got = answer.read()
        took.append(time.perf_counter() - begin)
        wrong += answer.status != 200 or got != sent
        time.sleep(0.001)
    connection.close()
    pipe.send((took, wrong))


def hammer(port, paths, count, seconds, pause, pipe):
    """In a process of its own: hostile calls one after the other. Sends how many there were, and the acts that worked."""
    # The attacker's own computer is elsewhere: what its program takes here is nobody's to answer for.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    connection, done, worked = None, 0, []
    end = time.monotonic() + seconds if seconds else None
    for name, path in itertools.cycle(paths):
        if (count and done >= count) or (end and time.monotonic() > end):
            break
        done += 1
        try:
            connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", path)
            body = connection.getresponse().read()
            if body == f"{name} 0\n".encode():
                worked.append(name)
        except (http.client.HTTPException, OSError):
            connection.close()
            connection = None
        time.sleep(pause)
    pipe.send((done, sorted(set(worked))))


def started(target, *arguments):
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=target, args=(*arguments, theirs))
    process.start()
    return process, ours


def joined(process, pipe):
    result = pipe.recv()
    process.join()
    return result


def quantile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


class Disturbance:
    """The neighbour's p99 alone, beside an honest tenant that uses its core and its memory, and beside a hostile one.

    In turns, since the machine has other work. What waits for a processor on a small machine, waits beside an honest
    tenant as well: so both are yardsticks, and each part says which it is held to.
    """

    def __init__(self, field, paths, rounds=3 if GIVEN.layers else 2, seconds=0.6):
        took = {"alone": [], "honest": [], "hostile": []}
        self.wrong, self.hostile, self.worked = 0, 0, []
        honest = [("work", "/fn/honest/work/work")]
        for _, (kind, beside) in itertools.product(range(rounds), [("alone", None), ("honest", honest), ("hostile", paths)]):
            other = beside and started(hammer, field.host.port, beside, 0, seconds + 0.2, PAUSE if kind == "hostile" else 0)
            time.sleep(0.1)
            more, wrong = joined(*started(time_neighbour, field.host.port, seconds))
            took[kind] += more
            self.wrong += wrong
            done, worked = joined(*other) if other else (0, [])
            self.hostile += done if kind == "hostile" else 0
            self.worked += worked
        self.p99 = {kind: quantile(times, 0.99) * 1000 for kind, times in took.items()}
        self.to_alone, self.to_honest = (self.p99["hostile"] / self.p99[kind] for kind in ("alone", "honest"))

    def __str__(self):
        times = ", ".join(f"{kind} {ms:.2f} ms" for kind, ms in self.p99.items())
        return f"p99 {times}: {self.to_alone:.2f} x alone, {self.to_honest:.2f} x honest; {self.hostile} hostile calls"


# ---- the parts of the suite ---------------------------------------------------------------------------------------------------

class Suite:
    def __init__(self, tools):
        self.tools = tools
        self.failures = []
        self.result = {"acts": {}, "figures": {}}

    def fail(self, text):
        print(f"FAIL {text}", flush=True)
        self.failures.append(text)

    def check(self, condition, text):
        if not condition:
            self.fail(text)

    def say(self, text):
        print(text, flush=True)

    # The acts are real ones.

    def unconfined(self):
        done = subprocess.run([self.tools.unconfined, self.tools.folder / "plugin/plugin.so"], capture_output=True, text=True, timeout=300)
        rows = done.stdout.splitlines()
        self.check(done.returncode == 0, "unconfined: " + "; ".join(r for r in rows if r.startswith("WRONG")) + done.stderr)
        self.result["unconfined"] = {
            "works": sorted(r.split()[1] for r in rows if r.startswith("works")),
            "cannot": {r.split()[1]: r.split("needs ", 1)[1] for r in rows if r.startswith("cannot")}}
        self.say(f"without a sandbox: {rows[-1]}")

    # Every act, all layers in force.

    def every_act(self, field):
        words = collections.Counter()
        for act in self.tools.table:
            word = field.call(act)
            words[word] += 1
            self.result["acts"][act.name] = {"all": word}
            self.check(is_held(act, word), f"{act.name}: {word}, expected to be {act.outcome}")
            self.check(not (act.outcome == "ended" and word != "SIGSYS"), f"{act.name}: {word} instead of SIGSYS")
            self.check(field.answers(), f"{act.name}: the neighbour got a wrong answer")
        self.say(f"{len(self.tools.table)} acts while serving: " + ", ".join(f"{n} {w}" for w, n in words.most_common()))

    def before_serving(self, field):
        """Constructors and resolvers run tenant code before the last filter, in the probe of the deployment as well."""
        done = field.deploy(self.tools.build("constructor", "-DIN_CONSTRUCTOR"), "constructor", check=False, **LIMITS)
        self.check(done.returncode == 0, f"constructor: {done.stderr}")
        text = field.host.request("GET", "/fn/evil/constructor/none")[1].decode()
        rows = dict(line.split() for line in text.splitlines() if len(line.split()) == 2)
        for name, number in rows.items():
            self.check(int(number) != 0, f"{name} worked in a constructor")
        self.check(len(rows) > 100 or GIVEN.only, f"only {len(rows)} acts in a constructor: {text[:200]}")
        field.deploy(self.tools.build("resolver", "-DIN_RESOLVER"), "resolver", **LIMITS)
        text = field.host.request("GET", "/fn/evil/resolver/resolver")[1].decode()
        self.check(text.split()[:1] == ["resolver"] and text.split()[1] != "0", f"an IFUNC resolver: {text}")
        field.deploy(self.tools.build("false-seal", "-DFALSE_SEAL"), "false-seal", **LIMITS)
        text = field.host.request("GET", "/fn/evil/false-seal/unsealed")[1].decode()
        unsealed = dict(line.split() for line in text.splitlines() if len(line.split()) == 2)
        self.check(len(unsealed) == len(rows), f"a plugin that seals itself falsely: {text[:300]}")
        for name, number in unsealed.items():
            self.check(int(number) != 0, f"{name} worked in a plugin that seals itself falsely")
        ended = [act for act in self.tools.table if act.outcome == "ended"]
        for act in ended[::4] if not GIVEN.layers else ended:
            built = self.tools.build(f"ctor-{act.name}", f'-DONE_IN_CONSTRUCTOR="{act.name}"')
            done = field.deploy(built, f"ctor-{act.name}", check=False, **LIMITS)
            self.check(done.returncode == 1 and "SIGSYS" in done.stderr, f"{act.name} in a constructor: {done.stderr or done.stdout}")
        self.say(f"{len(rows)} acts are refused in a constructor, and to a plugin that seals itself falsely; an IFUNC resolver gets nowhere")
        field.files = field.count_files()

    def between_tenants(self, field):
        """Two tenants with the same plugin: nothing of where one lies in memory tells where the other does."""
        field.deploy(self.tools.build("plugin"), "where", **LIMITS)
        field.deploy(self.tools.build("plugin"), "where", tenant="third", **LIMITS)
        seen = [dict(line.split() for line in field.host.request("GET", f"/fn/{tenant}/where/where")[1].decode().splitlines())
                for tenant in ("evil", "third")]
        for name in seen[0]:
            self.check(seen[0][name] != seen[1].get(name), f"two tenants share the address or value of `{name}`")
        workers = json.loads(field.host.cli("ps", "--json").stdout)["workers"]
        users = {}
        for worker in workers:
            users.setdefault(os.stat(f"/proc/{worker['pid']}").st_uid, set()).add(worker["tenant"])
            self.check(not set(pathlib.Path(f"/proc/{worker['pid']}/root").iterdir()) & {pathlib.Path("/root")}, "a worker sees /root")
        self.check(all(len(tenants) == 1 for tenants in users.values()), f"tenants share a user: {users}")
        self.check(0 not in users or "user" in field.without, f"a worker is root: {users}")
        self.say(f"{len(seen[0])} addresses and seeds differ between two tenants; no user is shared")
        field.files = field.count_files()

    def outlive(self, field):
        """A worker that neither reads nor answers goes with its zygote."""
        hostile = started(hammer, field.host.port, [("deaf-spin", "/fn/evil/acts/deaf-spin")], 1, 0, 0)
        wait_for(lambda: self.spinner(field), "the worker spins")
        worker = self.spinner(field)
        parent = int(pathlib.Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(parent, signal.SIGKILL)
        gone = True
        try:
            wait_for(lambda: not alive(worker), "gone", seconds=3)
        except AssertionError:
            gone = False
            os.kill(worker, signal.SIGKILL)
        joined(*hostile)
        return "SIGKILL" if gone else "works"

    @staticmethod
    def spinner(field):
        workers = json.loads(field.host.cli("ps", "--json").stdout)["workers"]
        mine = [w["pid"] for w in workers if w["name"] == "acts"]
        return next((pid for pid in mine if pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "R"), 0)

    # The neighbour, and what stays.

    def paths(self, field, acts):
        function = lambda act: "short" if act.flags & WITHOUT_ANSWER or act.outcome == "disowned" else "acts"
        return [(act.name, f"/fn/evil/{function(act)}/{act.name}?{field.other}") for act in acts]

    def disturbance(self, field):
        table = self.tools.table
        parts = {
            "refused": [a for a in table if a.outcome == "refused"],
            "ended": [a for a in table if a.outcome == "ended"],
            "bombs": [a for a in table if a.outcome == "limited" and not a.flags],
            "frames": [a for a in table if a.outcome == "disowned"],
            "endless": [a for a in table if a.flags & WITHOUT_ANSWER],
        }
        for part, acts in parts.items():
            for attempt in range(3):
                seen = Disturbance(field, self.paths(field, acts))
                self.say(f"neighbour, {part}: {seen}")
                # A call that is only refused takes nobody's time. The others cost a worker, or a core while they run: as
                # an honest tenant's do, and up to a tick the kernel alone decides who waits.
                calm = seen.to_alone <= P99_RATIO
                if part != "refused":
                    calm = calm or seen.to_honest <= P99_RATIO or seen.p99["hostile"] <= TICK_MS
                if calm:
                    break
            self.check(calm, f"{part} disturb the neighbour: {seen}")
            self.check(seen.wrong == 0, f"{part}: {seen.wrong} wrong answers of the neighbour")
            self.check(not seen.worked, f"{part}: {seen.worked} worked")
            self.result["figures"][f"neighbour_{part}"] = {
                "p99_ms": {kind: round(ms, 2) for kind, ms in seen.p99.items()},
                "to_alone": round(seen.to_alone, 2), "to_honest": round(seen.to_honest, 2)}

    def endurance(self, field, count):
        """Resident memory of the host over many hostile calls: acts, deaths and forged frames."""
        forged = [a for a in self.tools.table if a.name in FORGED]
        acts = [a for a in self.tools.table if a.outcome == "refused" and a.name not in SLOW]
        ended = [a for a in self.tools.table if a.outcome == "ended"]
        mixed = [a for row in itertools.zip_longest(acts, ended, forged) for a in row if a is not None]
        paths = self.paths(field, mixed)
        # Once through, so that caches, log rings and the allocator's pools are as full as they get.
        joined(*started(hammer, field.host.port, paths, max(2 * len(paths), count // 10), 0, 0))
        before, begin = field.resident(), time.monotonic()
        done, worked = joined(*started(hammer, field.host.port, paths, count, 0, 0))
        took, after = time.monotonic() - begin, field.resident()
        self.check(not worked, f"worked: {worked}")
        self.check(after - before <= RSS_GROWTH, f"the host grew from {before >> 10} to {after >> 10} KiB over {done} hostile calls")
        self.say(f"host: {before >> 10} KiB before, {after >> 10} KiB after {done} hostile calls ({took:.0f} s)")
        self.result["figures"] |= {"host_rss_before_kib": before >> 10, "host_rss_after_kib": after >> 10, "hostile_invocations": done}

    def left(self, field):
        found = field.leftovers()
        self.check(not found, f"left behind: {found}")
        self.result["figures"]["leftovers"] = found
        self.say(f"left behind when both tenants sleep: {found or 'nothing'}")

    # Each layer off in turn.

    def matrix(self, without):
        """The acts that the kernel answers, with these layers off; `{}` when no worker starts like that."""
        try:
            field = Field(self.tools, without)
        except AssertionError as refused:
            cause = str(refused).split("confine", 1)
            word = "no worker: confine" + cause[1].splitlines()[0].rstrip("'") if len(cause) > 1 else "no worker"
            return dict.fromkeys([*(act.name for act in self.kernel_acts()), "outlive-zygote"], word)
        words = {}
        try:
            for act in self.kernel_acts():
                words[act.name] = field.call(act)
            if not GIVEN.only:
                words["outlive-zygote"] = self.outlive(field)
            self.check(field.answers(), f"without {without}: the neighbour got a wrong answer")
        finally:
            field.close()
        return words

    def kernel_acts(self):
        return [a for a in self.tools.table if a.outcome != "disowned" and not a.flags & WITHOUT_ANSWER]

    def layers(self):
        # Somebody's shared memory, for whoever may look for it.
        libc = ctypes.CDLL(None)
        segment = libc.shmget(0, 4096, 0o1666)
        try:
            self.each_layer()
        finally:
            libc.shmctl(segment, 0, None)

    def each_layer(self):
        base = self.matrix("")
        behind = self.matrix("seccomp")
        rows = {name: {"all": word, "alone": [], "first": [], "behind": []} for name, word in base.items()}
        for layer in LAYERS:
            words = self.matrix(layer)
            for name, word in words.items():
                if word == "works":
                    rows[name]["alone"].append(layer)
                if word != base[name]:
                    rows[name]["first"].append(f"{layer}: then {word}")
            changed = sum(words[n] != base[n] for n in base)
            opened = sorted(n for n in base if words[n] == "works")
            self.result.setdefault("layers", {})[layer] = {"changes": changed, "opens": opened}
            self.say(f"without {layer}: {changed} acts end otherwise, {len(opened)} work" + (f": {', '.join(opened[:8])} …" if opened else ""))
            if "filter" in layer or layer in ("seccomp", "no-new-privs"):
                continue
            words = self.matrix(f"seccomp,{layer}")
            for name, word in words.items():
                if word != behind[name]:
                    rows[name]["behind"].append(f"{layer}: then {word}")
            opened = sorted(n for n in base if words[n] == "works" and behind[n] != "works")
            self.result["layers"][layer] |= {"behind_seccomp_changes": sum(words[n] != behind[n] for n in base), "behind_seccomp_opens": opened}
            self.say(f"  and without seccomp: {len(opened)} more work" + (f": {', '.join(opened[:8])} …" if opened else ""))
        for combination in COMBINATIONS:
            words = self.matrix(",".join(combination))
            one_less = [base, behind]["seccomp" in combination]
            opened = sorted(n for n in base if words[n] == "works" and one_less[n] != "works")
            self.result.setdefault("combinations", {})[",".join(combination)] = opened
            self.say(f"without {', '.join(combination)}: {len(opened)} work: {', '.join(opened)}")
        for name in rows:
            rows[name]["without_seccomp"] = behind[name]
        self.result["matrix"] = rows
        self.print_matrix(rows)

    def print_matrix(self, rows):
        for name, row in rows.items():
            alone = ", ".join(row["alone"]) or "-"
            self.say(f"{name:24} {row['all']:14} alone: {alone:28} without seccomp: {row['without_seccomp']:14} {'; '.join(row['behind'])}")

    def run(self):
        if os.geteuid() == 0:
            self.unconfined()
        field = Field(self.tools)
        try:
            self.every_act(field)
            if not GIVEN.only:
                self.before_serving(field)
                self.between_tenants(field)
                self.check(self.outlive(field) == "SIGKILL", "a worker outlives its zygote")
                self.disturbance(field)
                self.endurance(field, GIVEN.invocations)
                self.left(field)
        finally:
            log = field.close()
        self.check('"missing"' not in log or os.geteuid() != 0, "not every layer was in force: " + log[:300])
        if GIVEN.layers:
            self.layers()
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / ("matrix.json" if GIVEN.layers else "acts.json")).write_text(json.dumps(self.result, indent=1) + "\n")
        self.say(f"{len(self.tools.table)} acts, {len(self.failures)} failures")
        return 1 if self.failures else 0


# Forged frames after which the host ends the worker at once, and acts that take their time.
FORGED = {"frame-too-long", "frame-half-head", "frame-kill", "frame-type-unknown", "answer-for-next", "answer-twice", "call-half",
          "answer-field-wraps", "leave"}
SLOW = {"sync", "clone-thread"}

if __name__ == "__main__":
    tools = Tools()
    try:
        code = Suite(tools).run()
    finally:
        tools.remove()
    sys.exit(code)
