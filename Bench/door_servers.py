"""What the benchmarks of the door measure: our host as tenants use it, LiteLLM's proxy, and what stands behind the latter."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from measure import Client, CouldNotRun, Nginx, ended, environment, free_port, processes_below

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEER = ROOT / ".deps/litellm/bin/litellm"
MODEL = "bench"
# As long as what the Echo backend says to the same request.
ANSWER = json.dumps({
    "id": "chatcmpl-bench", "object": "chat.completion", "created": 1700000000, "model": MODEL, "system_fingerprint": None,
    "choices": [{
        "index": 0, "message": {"role": "assistant", "content": "How are you?", "refusal": None}, "logprobs": None,
        "finish_reason": "length"}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 8, "total_tokens": 20, "prompt_tokens_details": {"cached_tokens": 0}},
})
QUESTION = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 8})


class Mock(Nginx):
    """An OpenAI server that always gives the same answer: nginx reads the request and returns a text."""

    def __init__(self, workers):
        super().__init__(workers, free_port(), answer=ANSWER, type="application/json")


class LiteLLM:
    """LiteLLM's proxy with one key and no database, set up as its page on production says: a worker a core, no debug log."""

    key = "sk-bench"

    def __init__(self, upstream, workers):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="swiftlet-bench-"))
        self.log = open(self.work / "log", "wb")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        # JSON is YAML.
        (self.work / "config.yaml").write_text(json.dumps({
            "model_list": [{
                "model_name": MODEL,
                "litellm_params": {"model": f"openai/{MODEL}", "api_base": upstream + "/v1", "api_key": "none"}}],
            "general_settings": {"master_key": self.key},
            "litellm_settings": {"request_timeout": 600, "set_verbose": False, "json_logs": True},
        }))
        settings = environment() | {
            "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_TELEMETRY_DISABLED": "true", "DISABLE_ADMIN_UI": "true",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"}
        # Without the last one a worker that imports for over 5 s is ended, and so is the next in its place.
        words = [
            PEER, "--config", self.work / "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", str(workers),
            "--timeout_worker_healthcheck", "120"]
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=settings, cwd=self.work)
        try:
            until = time.monotonic() + 300
            self.await_answer(until)
            self.await_rest(until)
        except BaseException:
            self.stop()
            raise

    def await_answer(self, until):
        """Each worker imports for long; what a request finds closed meanwhile is not an error yet."""
        while True:
            client = Client(self.url)
            try:
                client.connection.request("POST", "/v1/chat/completions", QUESTION, self.headers)
                answer = client.connection.getresponse()
                text = answer.read()
                if answer.status == 200:
                    return
                raise CouldNotRun(f"LiteLLM answered {answer.status}: {text[:300]!r}")
            except OSError:
                pass
            finally:
                client.close()
            if self.process.poll() is not None or time.monotonic() > until:
                raise CouldNotRun("LiteLLM did not start: " + (self.work / "log").read_text(errors="replace")[-600:])
            time.sleep(0.5)

    def await_rest(self, until):
        """One worker may answer while the others still import: all are ready when none computes."""
        before = 0.0
        while (now := processor_seconds([self.process.pid, *processes_below(self.process.pid)])) - before > 0.1:
            if time.monotonic() > until:
                raise CouldNotRun("LiteLLM's workers were not ready within 300 s")
            before = now
            time.sleep(3)

    @property
    def headers(self):
        return {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}

    def stop(self):
        try:
            if self.process.poll() is None:
                ended(self.process, "LiteLLM", 60)
        finally:
            self.log.close()
            shutil.rmtree(self.work)


def processor_seconds(pids):
    """What processes have computed so far."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def install_peer():
    """LiteLLM is needed here only, so it is installed here only; the benchmark's own time stands still meanwhile."""
    left = signal.alarm(0)
    done = subprocess.run([ROOT / "scripts/install-litellm"], stdout=sys.stderr, timeout=3600)
    signal.alarm(left)
    if done.returncode != 0:
        raise CouldNotRun("scripts/install-litellm made no proxy; its words are above")
