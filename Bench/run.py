#!/usr/bin/env python3
"""Measures Swiftlet beside its baselines, round by round, and writes .build/bench/results.json; see README.md here."""
import argparse
import functools
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import door
import llm
from measure import (
    ORDER, Caller, CouldNotRun, Nginx, Paced, Spawner, Swiftlet, anonymous_bytes, compiled, echo_front, free_port, group_bytes,
    idle_connections, load, oci_bundle, processes_below, resident_mb, row, sleepers_bytes, tool)

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORES = len(os.sched_getaffinity(0))
LONGEST = 1500  # seconds; a benchmark that hangs ends with an error


def cold(prefix):
    """A sandboxed worker that no call has used, against starting /bin/true with and without a sandbox."""
    host = Swiftlet(prefix)
    with tempfile.TemporaryDirectory() as folder, oci_bundle() as runc:
        folder = pathlib.Path(folder)
        spawner, program = Spawner(folder), compiled("caller", folder)
        callers = []
        try:
            host.deploy(ROOT / "Bench/json-handler", "cold-swift", idle_timeout_s="0.001")
            host.deploy(ROOT / "Bench/handler", "cold-c", idle_timeout_s="0.001")
            callers = [
                Caller(program, host.url, "/fn/default/cold-swift/", ORDER), Caller(program, host.url, "/fn/default/cold-c/")]
            swift, c = (functools.partial(cold_call, caller) for caller in callers)
            spawn = functools.partial(spawner.microseconds, "/bin/true")
            bwrap = functools.partial(
                spawner.microseconds, tool("bwrap"), "--unshare-all", "--ro-bind", "/", "/", "/bin/true")
            # Each sandbox apart, since the kernel clears up after bwrap and runc while the next one is measured.
            beside_spawn = in_turns(200, 0.02, swift=swift, c=c, spawn=spawn)
            beside_bwrap = in_turns(60, 0.02, swift=swift, bwrap=bwrap)
            beside_runc = in_turns(30, 0.02, swift=swift, runc=lambda: spawner.microseconds(*runc()))
            asleep = in_turns(20, 1.6, spawn=spawn, swift=swift)  # the tenant's zygote goes too
        finally:
            for caller in callers:
                caller.stop()
            spawner.stop()
            host.stop()
    yield row("cold.swift.vs_spawn", "us", beside_spawn["swift"], beside_spawn["spawn"])
    yield row("cold.c.vs_spawn", "us", beside_spawn["c"], beside_spawn["spawn"])
    yield row("cold.swift.vs_bwrap", "us", beside_bwrap["swift"], beside_bwrap["bwrap"])
    yield row("cold.swift.vs_runc", "us", beside_runc["swift"], beside_runc["runc"])
    yield row("cold.swift.asleep_vs_spawn", "us", asleep["swift"], asleep["spawn"])


def in_turns(rounds, pause, **calls):
    """Samples of each, one after the other; within the pause the last worker ends and the next is prepared."""
    samples = {name: [] for name in calls}
    for call in calls.values():
        call()  # warms up
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(pause)
            samples[name].append(call())
    return samples


def cold_call(caller):
    """Microseconds from the request's first byte to its reply, inside the host."""
    parts = caller.timing()
    if "spawn" not in parts:
        raise CouldNotRun(f"a call of {caller.what} met a warm worker: {parts}")
    return parts["total"] * 1000


def fresh(prefix):
    """A process of its own for each call (reuse: request), one call at a time and 500 a second, against /bin/true."""
    rounds, rate, seconds = 300, 500, 60
    host = Swiftlet(prefix)
    with tempfile.TemporaryDirectory() as folder:
        spawner = Spawner(pathlib.Path(folder))
        try:
            host.deploy(ROOT / "Bench/json-handler", "fresh", reuse='"request"', idle_timeout_s="30")
            program = compiled("caller", pathlib.Path(folder))
            caller = Caller(program, host.url, "/fn/default/fresh/", ORDER)
            ours, spawn = [], []
            for turn in range(rounds + 5):
                time.sleep(0.01)
                ours.append(caller.timing()["total"] * 1000)
                spawn.append(spawner.microseconds("/bin/true"))
            caller.stop()
            yield row("fresh.vs_spawn", "us", ours[5:], spawn[5:])
            paced = Paced(program, host.url, "/fn/default/fresh/", ORDER, rate, settle=5, seconds=seconds)
            try:
                time.sleep(5)
                before = footprint(host)
                spawn = []
                while paced.running():
                    time.sleep(0.2)
                    spawn.append(spawner.microseconds("/bin/true"))
                after = footprint(host)
                ours = paced.samples()
            finally:
                paced.stop()
            reached = len(ours) / seconds
            if reached < 0.98 * rate:
                raise CouldNotRun(f"{reached:.0f} calls a second were made of the {rate} asked for")
            yield row("fresh.sustained500.vs_spawn", "us", ours, spawn)
            for name, was, now in zip(("processes", "bytes"), before, after):
                yield row(f"fresh.sustained500.{name}", name, [now], [was])
        finally:
            spawner.stop()
            host.stop()


def footprint(host):
    """Processes below the host, and bytes of its resident memory and of all its workers' groups."""
    time.sleep(0.05)
    return len(processes_below(host.process.pid)), resident_mb([host.process.pid]) * 1e6 + group_bytes(host.process.pid)


def density(prefix):
    """What a thousand idle warm workers and ten thousand idle functions take, and how long workers stay after their time."""
    tenants, each, idle = 4, 250, 12.0
    workers, gone, functions = [], [], []
    for _ in range(3):
        host = Swiftlet(prefix)
        try:
            host.deploy(ROOT / "Bench/waiting-handler", "dense", concurrency=str(each), idle_timeout_s=str(idle))
            for tenant in range(1, tenants):
                host.cli("deploy", host.work / "dense", "--tenant", f"t{tenant}")
            paths = [f"/fn/{tenant}/dense/" for tenant in ["default"] + [f"t{n}" for n in range(1, tenants)]]
            empty = group_bytes(host.process.pid)
            host.all_at_once(paths, each, json.dumps({"hold": 4000}))
            asleep_at = time.monotonic() + idle
            live = len(host.workers())
            if live < tenants * each:
                raise CouldNotRun(f"{live} workers live, not {tenants * each}")
            workers.append((group_bytes(host.process.pid) - empty) / live / 1000)
            while host.workers():
                if time.monotonic() > asleep_at + 60:
                    raise CouldNotRun("the workers did not go to sleep")
                time.sleep(0.02)
            gone.append((time.monotonic() - asleep_at) * 1000)
        finally:
            host.stop()
    yield row("density.worker_kb", "kB", workers, [sleepers_bytes(100) / 1000])
    yield row("density.gone_ms", "ms", gone, [1000.0])
    host = Swiftlet(prefix)
    try:
        count = 10_000
        host.deploy(ROOT / "Bench/handler", "first")
        for step in range(2):
            host.publish(host.work / "first", [f"f-{step}-{n}" for n in range(200)])
        time.sleep(2)
        before = resident_mb([host.process.pid]), (host.work / "state/registry.db").stat().st_size
        host.publish(host.work / "first", [f"g-{n}" for n in range(count)])
        time.sleep(2.5)
        after = resident_mb([host.process.pid]), (host.work / "state/registry.db").stat().st_size
        if host.workers():
            raise CouldNotRun("functions that nobody called have workers")
        yield row(
            "density.function_kb", "kB", [(after[0] - before[0]) * 1000 / count], [(after[1] - before[1]) / 1000 / count], n=count)
    finally:
        host.stop()


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


BENCHMARKS = {
    "cold": cold, "fresh": fresh, "density": density, "warm.ipc": warm_ipc, "warm.http": warm_http, "host": idle_host,
    **door.BENCHMARKS, **llm.BENCHMARKS}


def arguments():
    parser = argparse.ArgumentParser(
        prog="Bench/run.py", description="Measures Swiftlet beside peers and floors, in one run, as ratios of ours to theirs.",
        epilog="Figures go to .build/bench/results.json, promises are in docs/specification.md. SWIFTLET_BENCH_ROUNDS=1 gives a quick "
        "look. Exit status: 0 all measured, 1 some could not run, 2 wrong arguments.")
    parser.add_argument("prefix", help="where scripts/build put Swiftlet, such as .build/swiftlet")
    parser.add_argument("only", nargs="?", default="", help=f"how a benchmark's name begins: {', '.join(BENCHMARKS)}; without it: all")
    found = parser.parse_args()
    prefix = (ROOT / found.prefix).resolve()
    if not (prefix / "bin/swiftlet").exists():
        parser.error(f"{prefix}: no bin/swiftlet in it: run scripts/build {found.prefix} first")
    return prefix, found.only


def main():
    prefix, only = arguments()
    chosen = {name: run for name, run in BENCHMARKS.items() if name.startswith(only)}
    if not chosen:
        sys.exit(f"bench: ONLY={only}: choose from {', '.join(BENCHMARKS)}")
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(CouldNotRun(f"not done after {LONGEST} s")))
    target = ROOT / ".build/bench/results.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # an old figure is never taken for a new one
    results, failed = [], []
    print(f"{'benchmark':36} {'ours':>12} {'baseline':>12} {'ratio':>8} {'p50':>10} {'p99':>10} {'ratio':>8} {'n':>9}  unit", flush=True)
    for name, run in chosen.items():
        signal.alarm(LONGEST)
        try:
            for r in run(prefix):
                results.append(r)
                print(
                    f"{r['id']:36} {r['value']:12.1f} {r['baseline']:12.1f} {r['ratio']:8.3f} {r['p50']:10.1f} "
                    f"{r['p99']:10.1f} {r['p99_ratio']:8.3f} {r['n']:9}  {r['unit']}", flush=True)
        except (CouldNotRun, subprocess.SubprocessError, OSError) as error:
            failed.append(name)
            print(f"{name}: could not run: {error}", file=sys.stderr, flush=True)
    signal.alarm(0)
    fresh = target.with_suffix(".new")
    fresh.write_text(json.dumps(results, indent=1) + "\n")
    fresh.rename(target)
    print(f"bench: {len(results)} figures in {target.relative_to(ROOT)}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
