"""What the door costs: a key, limits, ledger and metrics against none of them, and chat through it against LiteLLM's proxy."""
import json
import os
import statistics
import sys

from door_servers import MODEL, QUESTION, ROOT, LiteLLM, Mock, install_peer
from llm import rounds
from measure import CouldNotRun, Swiftlet, by_turns, load, paired, row

HANDLER = ROOT / "Bench/handler"
CORES = len(os.sched_getaffinity(0))
# Never met, so that what is measured is their counting and not their refusals.
LIMITS = {"requests_per_second": 1_000_000, "burst": 1_000_000, "concurrency": 4096, "body_mb": 32, "egress_mb_per_day": 1_000_000_000}
QUOTAS = {"tokens_per_minute": 10**12, "tokens_per_day": 10**12, "requests_at_once": 4096}


class Door:
    """A host that serves a tenant by its key, with all that the door can do; the key is the tenant's."""

    def __init__(self, prefix, *options):
        self.host = Swiftlet(prefix, "--loopback", "key", *options)
        try:
            self.on = ["key", "metrics", "quotas"]
            self.host.cli("tenant", "create", MODEL)
            self.settle()
            made = self.host.cli("key", "create", "--tenant", MODEL, "--role", "invoker", "--json")
            self.headers = {"Authorization": "Bearer " + json.loads(made)["key"], "Content-Type": "application/json"}
        except BaseException:
            self.host.stop()
            raise

    def settle(self):
        """Limits and quotas of the tenant; what this host does not know is not among what was on."""
        whole = {"policy": QUOTAS, "limits": LIMITS}
        for settings in (whole, {"policy": QUOTAS}):
            if self.ask("PATCH", f"/admin/v1/tenants/{MODEL}", {"settings": settings}) == 200:
                if "limits" in settings:
                    self.on.append("limits")
                break
        else:
            raise CouldNotRun("the tenant's settings were refused")
        if self.ask("GET", "/admin/v1/usage") == 200:
            self.on.append("ledger")

    def ask(self, method, path, value=None):
        connection = self.host.client.connection
        connection.request(method, path, value and json.dumps(value), {"Authorization": "Bearer " + self.host.key})
        answer = connection.getresponse()
        answer.read()
        return answer.status


def chat(prefix):
    """Whole chats of a few tokens over 16 connections; LiteLLM stands before a server that always says the same."""
    connections, seconds = 16, 6
    install_peer()
    mock = Mock(CORES)
    theirs = ours = None
    rates = {name: [] for name in ("ours", "litellm", "mock")}
    times = {name: [] for name in rates}
    try:
        theirs = LiteLLM(mock.url, CORES)
        ours = Door(prefix)
        ours.host.cli("deploy", prefix / "plugins/echo", "--name", MODEL)
        targets = {"ours": (ours.host.url, ours.headers), "litellm": (theirs.url, theirs.headers), "mock": (mock.url, theirs.headers)}
        for turn in range(len(rounds(5)) + 1):
            for name, (url, headers) in targets.items():
                measured = load(url + "/v1/chat/completions", connections, seconds if turn else 3, headers, QUESTION)
                if turn:  # the first warms up
                    rates[name].append(measured[0])
                    times[name].append(measured[1:])
    finally:
        for server in (ours and ours.host, theirs, mock):
            if server:
                server.stop()
    print(f"door.chat: on were {', '.join(ours.on)}", file=sys.stderr)
    mean = {name: statistics.median(values) for name, values in rates.items()}
    if mean["mock"] < 5 * mean["litellm"]:
        raise CouldNotRun(f"what stands behind LiteLLM gives {mean['mock']:.0f} answers a second: too few to measure LiteLLM")
    result = row("door.chat.rps.vs_litellm", "requests/s", rates["ours"], rates["litellm"], n=int(sum(rates["ours"]) * seconds))
    result["on"] = ours.on
    # What a caller waits, in microseconds: the rate has no percentiles of its own.
    result["p50"], result["p99"] = (round(statistics.median(part), 1) for part in zip(*times["ours"]))
    yield result
    for place, part in enumerate(("p50", "p99")):
        yield row(f"door.chat.{part}.vs_litellm", "us", *([one[place] for one in times[name]] for name in ("ours", "litellm")))
    yield row("door.chat.mock.vs_litellm", "requests/s", rates["mock"], rates["litellm"])


def compare_pair(prefix, seconds, rates, times):
    """Adds what one host with all gives, and one without, by turns; returns what was on."""
    with_all = without = None
    try:
        with_all = Door(prefix)
        without = Swiftlet(prefix, *(["--usage", "off"] if "ledger" in with_all.on else []))
        with_all.host.cli("deploy", HANDLER, "--tenant", MODEL, "--name", "warm-c")
        without.deploy(HANDLER, "warm-c")
        targets = [
            (with_all.host.url + f"/fn/{MODEL}/warm-c/", with_all.headers), (without.url + "/fn/default/warm-c/", {})]
        for turn, place in by_turns((0, 1), range(len(rounds(9)) + 1)):
            url, headers = targets[place]
            rate, p50, p99 = load(url, 32, seconds, headers)
            if turn:
                rates[place].append(rate)
                if place == 0:
                    times.append((p50, p99))
        return with_all.on
    finally:
        for server in (with_all and with_all.host, without):
            if server:
                server.stop()


def cost(prefix):
    """Warm calls of a function over 32 connections by key, with limits and ledger, and by nobody in particular without them."""
    seconds = 1
    rates, times = ([], []), []
    # A host differs from the next by where its code and its heap happen to lie, and stays so.
    for _ in range(3):
        on = compare_pair(prefix, seconds, rates, times)
    result = paired("door.cost", "requests/s", *rates, n=int(sum(rates[0]) * seconds))
    result["on"] = on
    result["p50"], result["p99"] = (round(statistics.median(part), 1) for part in zip(*times))
    yield result


BENCHMARKS = {"door.chat": chat, "door.cost": cost}
