#!/usr/bin/env python3
"""Measures Swiftlet beside its baselines, round by round, and writes .build/bench/results.json; see README.md here."""
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from measure import (
    CouldNotRun, Nginx, Spawner, Swiftlet, anonymous_bytes, echo_front, free_port, idle_connections, load, resident_mb,
    row, tool)

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORES = len(os.sched_getaffinity(0))
LONGEST = 900  # seconds; a run that hangs ends with an error


def cold(prefix):
    """A sandboxed worker that no call has used, against starting /bin/true with and without a sandbox."""
    rounds, asleep_rounds = 200, 20
    host = Swiftlet(prefix)
    with tempfile.TemporaryDirectory() as folder:
        spawner = Spawner(pathlib.Path(folder))
        try:
            host.deploy(ROOT / "examples/hello-swift", "cold-swift", idle_timeout_s="0.001")
            host.deploy(ROOT / "Bench/handler", "cold-c", idle_timeout_s="0.001")
            calls = {
                "swift": lambda: cold_call(host, "cold-swift"),
                "c": lambda: cold_call(host, "cold-c"),
                "spawn": lambda: spawner.microseconds("/bin/true"),
                "bwrap": lambda: spawner.microseconds(
                    tool("bwrap"), "--unshare-all", "--ro-bind", "/", "/", "/bin/true"),
            }
            samples = {name: [] for name in calls}
            for turn in range(rounds + 5):
                for name, call in calls.items():
                    time.sleep(0.015)  # the last worker ends and the next is prepared off the path
                    sample = call()
                    if turn >= 5:
                        samples[name].append(sample)
            asleep, spawn = [], []
            for _ in range(asleep_rounds):
                time.sleep(1.6)  # the tenant's zygote goes too
                spawn.append(spawner.microseconds("/bin/true"))
                asleep.append(cold_call(host, "cold-swift"))
        finally:
            spawner.stop()
            host.stop()
    yield row("cold.swift.vs_spawn", "us", samples["swift"], samples["spawn"])
    yield row("cold.c.vs_spawn", "us", samples["c"], samples["spawn"])
    yield row("cold.swift.vs_bwrap", "us", samples["swift"], samples["bwrap"])
    yield row("cold.swift.asleep_vs_spawn", "us", asleep, spawn)


def cold_call(host, name):
    """Microseconds from the request's first byte to its reply, inside the host."""
    parts = host.client.timing(f"/fn/default/{name}/")
    if "spawn" not in parts:
        raise CouldNotRun(f"a call of {name} met a warm worker: {parts}")
    return parts["total"] * 1000


def warm_ipc(prefix):
    """One invocation over the channel of a confined worker, against a packet to an unconfined process and back."""
    done = subprocess.run(
        [ROOT / "scripts/test-sandbox", prefix, "--bench-ipc"], capture_output=True, text=True, timeout=120)
    pairs = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("sample ")]
    if done.returncode != 0 or not pairs:
        raise CouldNotRun(f"scripts/test-sandbox --bench-ipc: {done.stdout[-500:]}{done.stderr[-500:]}")
    yield row("warm.ipc.vs_socketpair", "us", [int(a) / 1000 for a, _ in pairs], [int(b) / 1000 for _, b in pairs])


def warm_http(prefix):
    """Calls over 32 connections, against an unconfined echo process behind the same server, and nginx's `return 200`."""
    rounds, seconds, connections = 7, 2, 32
    host = Swiftlet(prefix)
    nginx = None
    try:
        host.deploy(ROOT / "Bench/handler", "warm-c")
        nginx = Nginx(CORES, free_port())
        with echo_front(echo_program(), CORES, 4) as echo:
            targets = {"ours": host.url + "/fn/default/warm-c/", "echo": echo + "/", "nginx": nginx.url + "/"}
            rates = {name: [] for name in targets}
            times = []
            for turn in range(rounds + 1):
                for name, url in targets.items():
                    rate, p50, p99 = load(url, connections, seconds if turn else 1)
                    if turn == 0:
                        continue  # warms up
                    rates[name].append(rate)
                    if name == "ours":
                        times.append((p50, p99))
    finally:
        if nginx:
            nginx.stop()
        host.stop()
    for name, baseline in [("warm.http32.vs_echo", "echo"), ("warm.http32.vs_nginx", "nginx")]:
        result = row(name, "requests/s", rates["ours"], rates[baseline], n=int(sum(rates["ours"]) * seconds))
        # What a caller waits, in microseconds: the rate has no percentiles of its own.
        result["p50"] = round(statistics.median(p50 for p50, _ in times), 1)
        result["p99"] = round(statistics.median(p99 for _, p99 in times), 1)
        yield result


def echo_program():
    subprocess.run(
        ["swift", "build", "-c", "release", "--product", "swiftlet-bench-echo"], cwd=ROOT, check=True,
        capture_output=True, timeout=600)
    folder = subprocess.run(
        ["swift", "build", "-c", "release", "--show-bin-path"], cwd=ROOT, check=True, capture_output=True, text=True)
    return pathlib.Path(folder.stdout.strip()) / "swiftlet-bench-echo"


def idle_host(prefix):
    """Memory and start of a host without work, and what an idle connection costs, against nginx's."""
    memory, start, connection = ([], []), ([], []), ([], [])
    for _ in range(9):
        host = Swiftlet(prefix)
        try:
            nginx = Nginx(CORES, free_port())
            try:
                time.sleep(0.2)
                memory[0].append(resident_mb([host.process.pid]))
                memory[1].append(resident_mb(nginx.pids()))
                start[0].append(host.start_ms)
                start[1].append(nginx.start_ms)
                connection[0].append(bytes_a_connection(host.url, [host.process.pid]))
                connection[1].append(bytes_a_connection(nginx.url, nginx.pids()))
            finally:
                nginx.stop()
        finally:
            host.stop()
    yield row("host.rss_mb", "MB", *memory)
    yield row("host.start_ms", "ms", *start)
    yield row("host.idle_connection_bytes", "bytes", *connection)


def bytes_a_connection(url, pids):
    """What an idle keep-alive connection costs, after the first few have brought what all share."""
    first, more = 100, 800
    opened = idle_connections(url, first)
    before = anonymous_bytes(pids)
    opened += idle_connections(url, more)
    time.sleep(0.1)
    grown = anonymous_bytes(pids) - before
    for one in opened:
        one.close()
    return max(grown, 1) / more


BENCHMARKS = {"cold": cold, "warm.ipc": warm_ipc, "warm.http": warm_http, "host": idle_host}


def main():
    prefix = (ROOT / sys.argv[1]).resolve()
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    chosen = {name: run for name, run in BENCHMARKS.items() if name.startswith(only)}
    if not chosen:
        sys.exit(f"bench: ONLY={only}: choose from {', '.join(BENCHMARKS)}")
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(CouldNotRun(f"not done after {LONGEST} s")))
    signal.alarm(LONGEST)
    target = ROOT / ".build/bench/results.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # an old figure is never taken for a new one
    results, failed = [], []
    print(f"{'benchmark':28} {'ours':>12} {'baseline':>12} {'ratio':>8} {'p50':>10} {'p99':>10} {'n':>9}  unit", flush=True)
    for name, run in chosen.items():
        try:
            for r in run(prefix):
                results.append(r)
                print(
                    f"{r['id']:28} {r['value']:12.1f} {r['baseline']:12.1f} {r['ratio']:8.3f} {r['p50']:10.1f} "
                    f"{r['p99']:10.1f} {r['n']:9}  {r['unit']}", flush=True)
        except (CouldNotRun, subprocess.SubprocessError, OSError) as error:
            failed.append(name)
            print(f"{name}: could not run: {error}", file=sys.stderr, flush=True)
    fresh = target.with_suffix(".new")
    fresh.write_text(json.dumps(results, indent=1) + "\n")
    fresh.rename(target)
    print(f"bench: {len(results)} figures in {target.relative_to(ROOT)}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
