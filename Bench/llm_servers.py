"""The servers of the LLM benchmarks, set up alike, and the client that streams from either."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from measure import Client, CouldNotRun, Swiftlet, compiled, ended, free_port

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEER = ROOT / ".deps/llama-peer/bin/llama-server"
MODEL = "SmolLM2-135M-Instruct.Q4_0.gguf"
# Both compute on all of two cores: what a user with two cores would choose. SWIFTLET_BENCH_THREADS=1 compares one with one.
THREADS = int(os.environ.get("SWIFTLET_BENCH_THREADS", "2"))
SEQUENCES = 32
# 32 prompts of a thousand tokens and their answers at once: 1,280 tokens a slot of llama-server, which divides its context.
CONTEXT = 40_960


class Lane(NamedTuple):
    """Requests that one connection after the other makes; count 0: until the end."""
    prompt: str
    max_tokens: int
    count: int = 1
    tenant: str = "bench"
    delay_ms: int = 0


class Answer(NamedTuple):
    """One streamed answer; times in microseconds since the client began."""
    lane: int
    done: bool
    sent: int
    prompt: int
    completion: int
    tokens: list

    @property
    def first(self):
        """Milliseconds until the first token."""
        return (self.tokens[0] - self.sent) / 1000


class Streams:
    """Bench/llm_client.c, compiled once, against either server."""

    def __init__(self, folder):
        self.program = compiled("llm_client", folder)

    def run(self, server, lanes, seconds=0.0, seed=1):
        """Streams all lanes until they are done, or for so many seconds; answers in the order of their end."""
        text = "".join(
            f"{lane.count} {lane.delay_ms} {lane.tenant} {self.body(server, lane)}\n" for lane in lanes)
        done = subprocess.run(
            [self.program, server.url.rpartition(":")[2], "/v1/completions", str(seconds), str(seed)],
            input=text, capture_output=True, text=True, timeout=seconds + 600)
        if done.returncode != 0:
            raise CouldNotRun(f"{server.what}: {done.stderr.strip()}{server.words()}")
        rows = (line.split() for line in done.stdout.splitlines())
        return [
            Answer(int(lane), how == "done", int(sent), int(prompt), int(completion), [int(at) for at in tokens])
            for lane, how, sent, prompt, completion, *tokens in rows]

    @staticmethod
    def body(server, lane):
        return json.dumps({
            "model": server.model, "prompt": lane.prompt, "max_tokens": lane.max_tokens, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}})

    def settle(self, server):
        """Until what was cut is forgotten and the server answers a short request; then nothing of it runs beside the other."""
        time.sleep(1.5)  # llama-server looks once a second whether a caller is still there
        self.run(server, [Lane("@@@@@@@@ hello", 1)])
        time.sleep(0.3)


class Ours:
    """A Swiftlet host that serves the model under one name."""

    what = "swiftlet"

    def __init__(self, prefix, model, context=CONTEXT, sequences=SEQUENCES, keep_alive=3600):
        self.model = model
        self.host = Swiftlet(prefix)
        self.url = self.host.url
        try:
            self.host.deploy(
                prefix / "plugins/smollm2", model, context_tokens=str(context), max_sequences=str(sequences),
                keep_alive_s=str(keep_alive), threads=str(THREADS), memory_mb=f"3072, cpu_percent: {100 * THREADS}",
                config="{ kv_unified: 0 ")  # the closing brace stands there
        except BaseException:
            self.host.stop()
            raise

    def words(self):
        """The end of its log."""
        return ": " + (self.host.work / "host.log").read_text(errors="replace")[-600:]

    def asleep(self):
        """Waits until the model's process is gone."""
        until = time.monotonic() + 30
        while self.host.workers():
            if time.monotonic() > until:
                raise CouldNotRun(f"the model {self.model} was not unloaded within 30 s")
            time.sleep(0.05)
        time.sleep(0.2)

    def counted(self):
        """The model's counters at /metrics, by name."""
        client = Client(self.url)
        try:
            text = client.get("/metrics")[1].decode()
        finally:
            client.close()
        found = re.findall(rf'^swiftlet_model_(\w+){{model="{self.model}"}} (\S+)$', text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    def stop(self):
        self.host.stop()


class LlamaServer:
    """llama-server on the same model file, with as many threads, sequences and tokens of context; the rest as it comes."""

    what = "llama-server"
    model = "bench"

    def __init__(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="swiftlet-bench-"))
        self.log = open(self.work / "log", "wb")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = None
        # Without its memory for old prompts: none comes twice here, so it would only cost it time.
        words = [
            PEER, "-m", ROOT / ".deps/models" / MODEL, "--host", "127.0.0.1", "--port", str(port), "-np", str(SEQUENCES),
            "-c", str(CONTEXT), "-t", str(THREADS), "-tb", str(THREADS), "--cache-ram", "0", "--offline"]
        try:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
            self.await_health(time.monotonic() + 60)
        except BaseException:
            self.stop()
            raise

    def await_health(self, until):
        while True:
            client = Client(self.url)
            try:
                if client.get("/health")[0] == 200:
                    return
            except OSError:
                pass
            finally:
                client.close()
            if self.process.poll() is not None or time.monotonic() > until:
                raise CouldNotRun(f"llama-server did not start{self.words()}")
            time.sleep(0.05)

    def words(self):
        """The end of its log."""
        return ": " + (self.work / "log").read_text(errors="replace")[-600:]

    def stop(self):
        try:
            if self.process and self.process.poll() is None:
                ended(self.process, "llama-server")
        finally:
            self.log.close()
            shutil.rmtree(self.work)


def build_peer():
    """llama-server is needed here only, so it is built here only; the benchmark's own time stands still meanwhile."""
    left = signal.alarm(0)
    done = subprocess.run([ROOT / "scripts/build-peer"], stdout=sys.stderr, timeout=7200)
    signal.alarm(left)
    if done.returncode != 0:
        raise CouldNotRun("scripts/build-peer made no llama-server; its words are above")


@contextlib.contextmanager
def client():
    with tempfile.TemporaryDirectory() as folder:
        yield Streams(pathlib.Path(folder))


@contextlib.contextmanager
def served(prefix):
    """Ours alone, its model loaded, and the client."""
    with client() as streams:
        ours = Ours(prefix, "bench-llm")
        try:
            streams.run(ours, [Lane("@@@@@@@@ hello", 1)])
            yield streams, ours
        finally:
            ours.stop()


@contextlib.contextmanager
def both(prefix):
    """Ours and llama-server with the model loaded, and the client. One is idle while the other is measured."""
    build_peer()
    with served(prefix) as (streams, ours):
        theirs = LlamaServer()
        try:
            streams.run(theirs, [Lane("@@@@@@@@ hello", 1)])
            yield streams, ours, theirs
        finally:
            theirs.stop()
