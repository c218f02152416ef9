"""How fresh a worker is: one for a function, for a tenant's artefact, or for each request; and how long a layout lives."""
import json
import threading
import time
import unittest

from run import Host, handler, wait_for, zygote_processes

COUNTER = """
    static int count;
    char words[64];
    snprintf(words, sizeof words, "%d %.*s", ++count, (int)call->function.size, (const char *)call->function.data);
    return host->write(text(words));
"""
LAYOUT = """
    char words[64];
    snprintf(words, sizeof words, "%p", (void *)snprintf);
    return host->write(text(words));
"""
SLOW = """
    struct timespec wait = {.tv_nsec = 300000000};
    nanosleep(&wait, NULL);
    return host->write(text("slow"));
"""
OUTPUT = "#include <stdio.h>\n#include <time.h>"


class Freshness(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host("--zygote-life", "2")

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def deploy(self, name, body, *words, **manifest):
        done = self.host.deploy_c(name, handler(body, OUTPUT), **manifest)
        self.assertEqual(done.returncode, 0, done.stderr)

    def call(self, function, tenant="default"):
        status, body, headers = self.host.request("GET", f"/fn/{tenant}/{function}")
        self.assertEqual(status, 200, body)
        return body.decode()

    def test_a_worker_of_a_function_keeps_its_state(self):
        self.deploy("kept", COUNTER, reuse="function", limits={"concurrency": 1})
        self.assertEqual([self.call("kept") for _ in range(3)], ["1 kept", "2 kept", "3 kept"])

    def test_every_request_finds_the_state_of_the_start(self):
        self.deploy("once", COUNTER, reuse="request")
        self.assertEqual({self.call("once") for _ in range(30)}, {"1 once"})

    def test_many_requests_at_once_are_all_fresh(self):
        self.deploy("burst", COUNTER, reuse="request", limits={"concurrency": 8})
        answers = []
        threads = [threading.Thread(target=lambda: answers.extend(self.call("burst") for _ in range(40))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(answers), set(answers)), (320, {"1 burst"}))

    def test_one_artefact_under_two_names_shares_workers_when_it_says_so(self):
        self.deploy("shared", COUNTER, reuse="tenant", limits={"concurrency": 1})
        folder = str(self.host.work / "shared")
        self.host.cli("deploy", folder, "--name", "other")
        self.host.cli("deploy", folder, "--name", "other", "--tenant", "stranger")
        self.assertEqual(self.call("shared"), "1 shared")
        self.assertEqual(self.call("other"), "2 other")
        self.assertEqual(self.call("other", "stranger"), "1 other", "never across tenants")

    def test_a_name_that_is_none(self):
        self.deploy("named", COUNTER)
        done = self.host.cli("deploy", str(self.host.work / "named"), "--name", "No Name", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("No", done.stderr)

    def test_a_crash_is_told_and_costs_nobody_else(self):
        self.deploy("crash", 'if (call->path.size > 1) abort();\n    return host->write(text("fine"));', reuse="request")
        for _ in range(5):
            status, error = self.host.error("/fn/default/crash/now")
            self.assertEqual(status, 502, error)
            self.assertIn("SIGABRT", error["cause"])
            self.assertEqual(self.call("crash"), "fine")

    def test_memory_and_time_are_bounded_for_each(self):
        self.deploy(
            "greedy", """
    if (call->path.size > 1) for (;;) {}
    for (size_t i = 0;; i++) memset(malloc(1 << 20), 1, 1 << 20);
""", reuse="request", limits={"memory_mb": 32, "timeout_ms": 500})
        status, error = self.host.error("/fn/default/greedy")
        self.assertEqual((status, error["code"]), (502, "out_of_memory"), error)
        status, error = self.host.error("/fn/default/greedy/loop")
        self.assertEqual((status, error["code"]), (504, "timeout"), error)

    def test_a_loop_that_was_held_back_is_told_so(self):
        self.deploy("slow", "for (;;) {}", reuse="function", limits={"cpu_percent": 20, "timeout_ms": 800})
        status, error = self.host.error("/fn/default/slow")
        self.assertEqual((status, error["code"]), (504, "timeout"), error)
        self.assertRegex(error["cause"], r"limits.cpu_percent held it back for \d{2,} ms")

    def test_a_template_that_can_not_load(self):
        done = self.host.deploy_c("broken", handler("return 0;", "__attribute__((constructor)) static void c(void) { abort(); }"), reuse="request")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("SIGABRT", done.stderr)

    def test_tenants_never_share_a_layout_and_a_tenants_own_changes(self):
        self.deploy("layout", LAYOUT)
        self.host.cli("deploy", str(self.host.work / "layout"), "--tenant", "second")
        self.host.cli("deploy", str(self.host.work / "layout"), "--tenant", "third")
        seen = {tenant: {self.call("layout", tenant)} for tenant in ("default", "second", "third")}
        self.assertEqual(len(set.union(*seen.values())), 3, seen)
        # All the while in use, and still moved: the zygote's life is over after two seconds.
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and len(seen["default"]) < 3:
            for tenant in seen:
                seen[tenant].add(self.call("layout", tenant))
            time.sleep(0.05)
        self.assertGreaterEqual(len(seen["default"]), 3, "its layout did not change")
        self.assertEqual(len(set.union(*seen.values())), sum(map(len, seen.values())), f"two tenants shared one: {seen}")

    def test_a_new_version_lets_the_old_one_finish(self):
        self.deploy("versions", SLOW)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.call("versions")))
        thread.start()
        time.sleep(0.1)
        self.deploy("versions", 'return host->write(text("new"));', version="2.0.0")
        thread.join()
        self.assertEqual(answers, ["slow"])
        self.assertEqual(self.call("versions"), "new")


class FreshScaleToZero(unittest.TestCase):
    def test_templates_and_spares_sleep(self):
        host = Host()
        try:
            before = self.settled(host)
            done = host.deploy_c("brief", handler(COUNTER, OUTPUT), reuse="request", idle_timeout_s=0.3)
            self.assertEqual(done.returncode, 0, done.stderr)
            for round in range(3):
                self.assertEqual(host.request("GET", "/fn/default/brief")[1], b"1 brief")
                wait_for(lambda: len(json.loads(host.cli("ps", "--json").stdout)["workers"]) == 0, "no worker")
            wait_for(lambda: len(zygote_processes(host.process.pid)) == before, "templates and zygote are gone")
        finally:
            host.stop()

    @staticmethod
    def settled(host):
        """Processes below the host once the spare zygote has prepared its workers, however slow the machine is."""
        counts = []

        def quiet():
            counts.append(len(zygote_processes(host.process.pid)))
            time.sleep(0.1)
            return len(counts) > 15 and len(set(counts[-15:])) == 1

        wait_for(quiet, "the processes below the host stay as they are")
        return counts[-1]


if __name__ == "__main__":
    unittest.main(verbosity=2)
