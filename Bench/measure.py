"""What the benchmarks are made of: servers, one keep-alive client, load, samples and ratios."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tarfile
import tempfile
import threading
import time


class CouldNotRun(Exception):
    """A benchmark without a figure; the text says why and what to do."""


def tool(name):
    """The full path of a program that `make setup` installs."""
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if not found:
        raise CouldNotRun(f"{name} is not installed: run `make setup`")
    return found


def percentile(samples, part):
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def row(name, unit, ours, theirs, n=None):
    """One line of results.json from samples of ours and of the baseline; value and baseline are medians."""
    value, baseline = statistics.median(ours), statistics.median(theirs)
    p99, baseline_p99 = percentile(ours, 0.99), percentile(theirs, 0.99)
    return {
        "id": name, "value": round(value, 3), "unit": unit, "baseline": round(baseline, 3),
        "ratio": round(value / baseline, 3), "p50": round(percentile(ours, 0.5), 3),
        "p99": round(p99, 3), "baseline_p99": round(baseline_p99, 3), "p99_ratio": round(p99 / baseline_p99, 3),
        "n": n or len(ours),
    }


def paired(name, unit, ours, theirs, n=None):
    """A row of rounds that neighbour each other; its ratio is the median of theirs: a machine's speed moves within a run."""
    result = row(name, unit, ours, theirs, n)
    result["ratio"] = round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)
    return result


def by_turns(pair, rounds):
    """Each of two in every round; which goes first changes, since what comes first finds cooler cores."""
    for turn in rounds:
        for one in pair if turn % 2 else pair[::-1]:
            yield turn, one


def ended(process, what, seconds=20):
    """Ends one process that was started here."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise CouldNotRun(f"{what} did not end {seconds} s after SIGTERM")


def resident_mb(pids):
    """Resident memory of processes, in MB of 10^6 bytes."""
    pages = sum(int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * 4096 / 1e6


# What Bench/json-handler decodes.
ORDER = json.dumps({"customer": "somebody", "count": 3, "prices": [2.5, 4.0, 9.75]})


def compiled(name, folder, *flags):
    """One of the small C programs here: no interpreter is in a figure."""
    program = folder / name
    source = pathlib.Path(__file__).parent / f"{name}.c"
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-pthread", "-o", program, source, *flags], check=True, timeout=60)
    return program


def timings(text):
    """The parts of a Server-Timing value, in milliseconds."""
    return {name: float(value) for name, value in re.findall(r"([\w-]+);dur=([\d.]+)", text)}


class Caller:
    """Calls one path over a keep-alive connection, without an interpreter in between."""

    def __init__(self, program, url, path, order=None):
        self.what = path
        self.process = subprocess.Popen(
            [program, url.rpartition(":")[2], path, order or ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    def timing(self):
        """The Server-Timing parts of one call, in milliseconds."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise CouldNotRun(f"{self.what}: {self.process.stderr.read()}")
        return timings(line)

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()
        self.process.stderr.close()


class Paced:
    """Calls at a steady rate over a few connections, whatever each takes; late calls are made as soon as they can be."""

    CONNECTIONS = 4

    def __init__(self, program, url, path, order, rate, settle, seconds):
        self.path, self.settle, self.seconds = path, settle, seconds
        self.process = subprocess.Popen(
            [program, url.rpartition(":")[2], path, order, str(self.CONNECTIONS), str(rate), str(settle + seconds)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.begin = time.monotonic()

    def running(self):
        return self.process.poll() is None and time.monotonic() < self.begin + self.settle + self.seconds - 0.5

    def samples(self):
        """Microseconds of each call after the settling."""
        out, errors = self.process.communicate(timeout=60)
        if self.process.returncode != 0:
            raise CouldNotRun(f"{self.path}: {errors}")
        rows = (line.split(" ", 1) for line in out.splitlines())
        return [timings(text)["total"] * 1000 for at, text in rows if int(at) >= self.settle * 1e6]

    def stop(self):
        self.process.kill()
        self.process.wait()


def processes_below(pid):
    """All descendants of a process."""
    rows = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True).stdout.split("\n")
    parents = {int(row.split()[0]): int(row.split()[1]) for row in rows if row.strip()}
    below, more = set(), {pid}
    while more:
        below |= more
        more = {child for child, parent in parents.items() if parent in below} - below
    return below - {pid}


def memory_groups():
    """Where memory is counted, and the file that tells how much: control groups v1, else v2."""
    old = pathlib.Path("/sys/fs/cgroup/memory")
    if old.is_dir():
        return old, "memory.usage_in_bytes"
    return pathlib.Path("/sys/fs/cgroup"), "memory.current"


def group_bytes(host_pid):
    """Memory of all workers of a host, kernel memory included."""
    top, usage = memory_groups()
    # The forker makes it at the top, or below the host's own group where it may not; workers' groups come and go meanwhile.
    own = pathlib.Path(f"/proc/{host_pid}/cgroup").read_text()
    below = [line.split(":", 2)[2] for line in own.splitlines() if ":memory:" in line or line.startswith("0::")]
    for place in ["", *(group.lstrip("/") for group in below)]:
        with contextlib.suppress(FileNotFoundError):
            return int((top / place / f"swiftlet-{host_pid}" / usage).read_text())
    raise CouldNotRun("the workers have no memory group: run as root")


def sleepers_bytes(count):
    """What an idle /bin/sleep takes, kernel memory included."""
    top, usage = memory_groups()
    group = top / f"swiftlet-bench-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise CouldNotRun(f"mkdir {group}: {error}")
    sleepers = []
    try:
        enter = f"echo $$ > {group}/cgroup.procs && exec /bin/sleep 60"
        sleepers = [subprocess.Popen(["/bin/sh", "-c", enter]) for _ in range(count)]
        time.sleep(1.5)
        return int((group / usage).read_text()) / count
    finally:
        for one in sleepers:
            one.kill()
            one.wait()
        for _ in range(100):
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.02)


@contextlib.contextmanager
def oci_bundle():
    """A container of /bin/true for runc; calling what it yields gives the command of the next run."""
    runc = tool("runc")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="swiftlet-bench-"))
    try:
        (folder / "rootfs").mkdir()
        subprocess.run([runc, "spec", "--bundle", folder], check=True, timeout=30)
        spec = json.loads((folder / "config.json").read_text())
        spec["process"] |= {"terminal": False, "args": ["/bin/true"]}
        spec["mounts"] += [
            {"destination": f"/{name}", "type": "bind", "source": f"/{name}", "options": ["rbind", "ro"]}
            for name in ("bin", "lib", "lib64", "usr") if pathlib.Path(f"/{name}").exists()]
        (folder / "config.json").write_text(json.dumps(spec))
        numbers = iter(range(1_000_000))
        yield lambda: [runc, "run", "--bundle", str(folder), f"swiftlet-bench-{os.getpid()}-{next(numbers)}"]
    finally:
        shutil.rmtree(folder)


class Swiftlet:
    """One `swiftlet serve` on a free port, timed from exec to its first 200 at /readyz."""

    def __init__(self, prefix, *options):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="swiftlet-bench-"))
        self.work.chmod(0o755)
        self.command = prefix / "bin/swiftlet"
        self.log = open(self.work / "host.log", "wb")
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [self.command, "serve", "--listen", "127.0.0.1:0", "--state", self.work / "state", "--json", *options],
            stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline()
        if not line:
            raise CouldNotRun("the host did not start: " + (self.work / "host.log").read_text())
        ready = json.loads(line)
        self.url = ready["url"]
        self.key = ready.get("admin_key")
        self.client = Client(self.url)
        while self.client.get("/readyz")[0] != 200:
            if time.perf_counter() > begin + 20:
                raise CouldNotRun("the host was not ready within 20 s")
        self.start_ms = (time.perf_counter() - begin) * 1000

    def cli(self, *words):
        done = subprocess.run(
            [self.command, *words], capture_output=True, text=True, timeout=120,
            env={"SWIFTLET_HOST": self.url, "SWIFTLET_KEY": self.key or ""} | environment())
        if done.returncode != 0:
            raise CouldNotRun(f"swiftlet {' '.join(map(str, words))}: {done.stderr}")
        return done.stdout

    def workers(self):
        """Live workers, as `swiftlet ps` lists them."""
        return json.loads(self.client.get("/admin/v1/workers")[1])["workers"]

    def publish(self, folder, names):
        """Deploys one built folder under many names, as `swiftlet deploy --name` does."""
        archive = self.work / "many.tar"
        built = self.work / "many.so"
        self.cli("build", folder, "--output", built)
        with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
            tar.add(folder / "swiftlet.json5", "swiftlet.json5")
            tar.add(built, "plugin.so")
        body = archive.read_bytes()
        for name in names:
            self.client.connection.request("POST", f"/admin/v1/deployments/default/{name}", body)
            answer = self.client.connection.getresponse()
            text = answer.read()
            if answer.status != 201:
                raise CouldNotRun(f"deploying {name} answered {answer.status}: {text[:300]!r}")

    def all_at_once(self, paths, each, body):
        """Posts to each path so often at the same time; returns when the last answer has come."""
        host, port = self.url.removeprefix("http://").split(":")
        opened = []
        for path in paths * each:
            one = socket.create_connection((host, int(port)), 60)
            one.sendall(
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body.encode())
            opened.append(one)
        for one in opened:
            first = one.recv(4096)
            if not first.startswith(b"HTTP/1.1 200"):
                raise CouldNotRun(f"a call answered {first[:200]!r}")
            one.close()

    def deploy(self, folder, name, **changes):
        """Deploys a copy of a folder under another name and with other settings."""
        copy = self.work / name
        shutil.copytree(folder, copy)
        text = (copy / "swiftlet.json5").read_text()
        for key, value in {"name": json.dumps(name), **changes}.items():
            text, count = re.subn(rf"\b{key}: [^,}}]*", f"{key}: {value}", text)
            if count != 1:
                raise CouldNotRun(f"{folder}/swiftlet.json5 has no {key}")
        (copy / "swiftlet.json5").write_text(text)
        self.cli("deploy", copy)

    def stop(self):
        self.client.close()
        try:
            ended(self.process, "swiftlet serve", 60)
        finally:
            self.process.stdout.close()
            self.log.close()
            shutil.rmtree(self.work)


def environment():
    """What the compiler of a deploy needs from ours."""
    return {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "TMPDIR", "LANG")}


class Client:
    """One keep-alive connection."""

    def __init__(self, url):
        self.connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)

    def get(self, path):
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        return answer.status, answer.read(), answer.getheader("server-timing") or ""

    def close(self):
        self.connection.close()


def anonymous_bytes(pids):
    """Memory that processes have for themselves, in bytes."""
    text = "".join(pathlib.Path(f"/proc/{pid}/status").read_text() for pid in pids)
    return sum(int(kb) * 1024 for kb in re.findall(r"RssAnon:\s+(\d+) kB", text))


def idle_connections(url, count):
    """Keep-alive connections that have had one answer each."""
    host, port = url.removeprefix("http://").split(":")
    opened = []
    for _ in range(count):
        one = socket.create_connection((host, int(port)), 20)
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        one.recv(4096)
        opened.append(one)
    return opened


class Spawner:
    """Times programs from posix_spawn to their end, without an interpreter in between."""

    def __init__(self, folder):
        self.process = subprocess.Popen([compiled("spawner", folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def microseconds(self, *command):
        self.process.stdin.write(" ".join(command) + "\n")
        self.process.stdin.flush()
        words = self.process.stdout.readline().strip()
        if not words.isdigit():
            raise CouldNotRun(words or "the spawner ended")
        return int(words) / 1000

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@contextlib.contextmanager
def echo_front(program, loops, processes):
    process = subprocess.Popen([program, str(loops), str(processes)], stdout=subprocess.PIPE)
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        ended(process, "the echo front")
        process.stdout.close()


class Nginx:
    """nginx with `return 200`, a worker a core, on a free port; timed from exec to its first answer."""

    def __init__(self, workers, port, answer="hello\\n", type="text/plain"):
        program = tool("nginx")
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="swiftlet-bench-"))
        (self.work / "nginx.conf").write_text(f"""
            daemon off; pid {self.work}/pid; error_log {self.work}/error.log; worker_processes {workers};
            events {{ worker_connections 4096; }}
            http {{ access_log off; keepalive_requests 100000000; default_type {type};
                client_body_temp_path {self.work}; proxy_temp_path {self.work}; fastcgi_temp_path {self.work};
                uwsgi_temp_path {self.work}; scgi_temp_path {self.work};
                server {{ listen 127.0.0.1:{port} reuseport; location / {{ return 200 '{answer}'; }} }} }}
            """)
        self.url = f"http://127.0.0.1:{port}"
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [program, "-c", self.work / "nginx.conf", "-e", self.work / "error.log"], stderr=subprocess.DEVNULL)
        while True:
            client = Client(self.url)
            try:
                client.get("/")
                break
            except OSError:
                if self.process.poll() is not None or time.perf_counter() > begin + 20:
                    raise CouldNotRun("nginx did not start: " + (self.work / "error.log").read_text())
            finally:
                client.close()
        self.start_ms = (time.perf_counter() - begin) * 1000

    def pids(self):
        below = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return [self.process.pid, *map(int, below.stdout.split())]

    def stop(self):
        try:
            ended(self.process, "nginx")
        finally:
            shutil.rmtree(self.work)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def load(url, connections, seconds, headers={}, body=None):
    """A closed loop of GETs, or POSTs of a body: requests a second, and the p50 and p99 of their times in microseconds."""
    words = [tool("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if body is not None:
            # ASCII of JSON means the same in Lua. The request is made once, not each time.
            script.write(f'wrk.method = "POST"\nwrk.body = {json.dumps(body)}\n')
            script.flush()
            words += ["-s", script.name]
        done = subprocess.run([*words, url], capture_output=True, text=True, timeout=seconds + 30)
    text = done.stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise CouldNotRun(f"wrk against {url} met errors: {text}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if not rate:
        raise CouldNotRun(f"wrk against {url} printed no figure: {text}{done.stderr}")
    factor = {"us": 1, "ms": 1e3, "s": 1e6}
    times = {}
    for part in ("50%", "99%"):
        value, unit = re.search(rf"{part}\s+([\d.]+)(us|ms|s)", text).groups()
        times[part] = float(value) * factor[unit]
    return float(rate.group(1)), times["50%"], times["99%"]
