"""A filter module is loaded, swapped and unloaded while a daemon guards a real guest."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

import scene as stage

SERVER = "203.0.113.9"
PORTS = 7776, 7777, 7778


class Modules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scene = cls.enterClassContext(stage.Scene(ram_mib=256))
        for port in PORTS:
            cls.scene.start_in_world([cls.scene.program("serve"), "-p", str(port), "echo"], stdout=subprocess.DEVNULL)
        cls.denies_7777, cls.denies_7778 = cls.built("deny_port", 7777), cls.built("deny_port", 7778)

    @classmethod
    def built(cls, name: str, port: int) -> pathlib.Path:
        """A module for this port, as its author builds it."""
        file = cls.scene.folder / f"{name}_{port}.so"
        source = stage.TREE / "tests" / "modules" / f"{name}.c"
        words = ["cc", "-shared", "-fPIC", "-I", stage.TREE / "include", f"-DPORT={port}", source, "-o", file]
        subprocess.run(words, check=True)
        return file

    def setUp(self):
        self.scene.daemon("default allow\n")

    def tearDown(self):
        self.scene.stop_daemon()
        self.scene.detach()
        self.scene.guest.run("pkill nc")

    def run(self, result=None):
        before = len(result.failures + result.errors)
        super().run(result)
        if len(result.failures + result.errors) > before:
            print(self.scene.daemon_log()[-3000:], file=sys.stderr)

    def module(self, word: str, *words) -> str:
        return self.scene.hyperward("module", word, self.scene.name, *words)

    def connects(self, port: int) -> bool:
        """Whether an echo comes back."""
        return "hi" in self.scene.guest.run(f"echo hi | timeout 3 nc -w 2 {SERVER} {port}")[1]

    def open_ports(self) -> list[int]:
        return [port for port in PORTS if self.connects(port)]

    def wait_until(self, holds, seconds: float = 10):
        deadline = time.monotonic() + seconds
        while not holds():
            self.assertLess(time.monotonic(), deadline, "it never came true")
            time.sleep(0.1)

    def echoed(self) -> int:
        return int(self.scene.guest.must("cat /tmp/echo 2>/dev/null | wc -l"))

    def talk(self, port: int) -> None:
        """A connection that goes on, as echoed() counts."""
        self.scene.guest.must(f"while sleep 0.1; do echo tick; done | nc {SERVER} {port} >/tmp/echo &")
        self.wait_until(lambda: self.echoed() > 2)

    def goes_on(self) -> bool:
        before = self.echoed()
        time.sleep(1)
        return self.echoed() > before + 2

    def test_loaded_in_the_daemon_it_denies_and_is_named_and_unloaded_it_denies_no_more(self):
        self.denies_and_is_named("--daemon")

    def test_it_does_the_same_in_a_process_of_its_own(self):
        self.denies_and_is_named("--process")

    def denies_and_is_named(self, where: str):
        self.assertEqual(self.open_ports(), [7776, 7777, 7778])
        loaded = self.module("load", self.denies_7777, "--name", "gate", where)
        self.assertIn("module gate (deny_port 7777) judges", loaded)
        self.assertEqual(self.open_ports(), [7776, 7778])

        denied = [flow for flow in self.scene.flows() if flow["verdict"] == "deny"]
        decided = {(flow["remote"], flow["rule"]["module"], flow["rule"]["code"]) for flow in denied}
        self.assertEqual(decided, {(f"{SERVER}:7777", "gate", 1)})
        self.assertIn("module gate (code 1)", self.scene.hyperward("flows", self.scene.name))
        events = [json.loads(line) for line in self.scene.hyperward("events", "--json").splitlines()]
        told = [event for event in events if event["type"] == "flow-denied"]
        self.assertEqual({event["data"]["rule"] for event in told}, {"module gate (code 1): port 7777"})
        self.assertGreater(json.loads(self.module("stats", "gate", "--json"))["gate"]["denied"], 0)

        self.module("unload", "gate")
        self.assertEqual(self.open_ports(), [7776, 7777, 7778])
        self.assertEqual(json.loads(self.module("ls", "--json")), [])

    def test_flows_go_on_with_their_verdicts_while_it_is_swapped_from_its_process_into_the_daemon(self):
        self.module("load", self.denies_7777, "--name", "gate", "--process")
        self.talk(7778)
        self.scene.guest.must(f"nc -w 100 {SERVER} 7777 >/tmp/denied </dev/zero 2>&1 &")
        verdicts = lambda: {flow["remote"]: flow["verdict"] for flow in self.scene.flows()}
        self.wait_until(lambda: verdicts().get(f"{SERVER}:7777") == "deny")
        self.module("swap", "gate", "--file", self.denies_7778, "--daemon")
        self.assertTrue(self.goes_on(), "a flow that the old version has allowed")
        self.assertEqual(verdicts()[f"{SERVER}:7777"], "deny", "one that it has denied")
        self.assertEqual(self.open_ports(), [7776, 7777], "new ones meet the new version")

    def test_a_module_that_crashes_lets_nothing_pass_and_is_there_again(self):
        self.module("load", self.built("crash_at_port", 7777), "--name", "brittle", "--process")
        self.assertEqual(self.open_ports(), [7776, 7778], "the guest's default denies")
        events = [json.loads(line) for line in self.scene.hyperward("events", "--json").splitlines()]
        ends = [event["data"] for event in events if event["type"] == "module-ended"]
        self.assertGreater(len(ends), 0)
        self.assertIn("SIGILL", ends[0]["why"])
        status = json.loads(self.module("stats", "--json"))["brittle"]
        self.assertGreater(status["restarts"], 0)
        self.assertTrue(status["running"])

        # What it had in hand is asked again: of a module that bears it, and of itself.
        words = ["module", "replay", ends[0]["recording"], "--json", "--module"]
        answer = json.loads(self.scene.hyperward(*words, self.denies_7777))
        self.assertEqual((answer["remote"], answer["verdict"], answer["code"]), (f"{SERVER}:7777", "deny", 1))
        again = json.loads(self.scene.hyperward(*words, self.built("crash_at_port", 7777), "--process"))
        self.assertIn("SIGILL", again["fault"])

    def test_a_module_that_does_not_load_changes_nothing(self):
        self.module("load", self.denies_7777, "--name", "gate", "--daemon")
        with self.assertRaisesRegex(RuntimeError, "no symbol hyperward_module"):
            self.module("swap", "gate", "--file", self.not_a_module())
        with self.assertRaisesRegex(RuntimeError, "there is no file"):
            self.module("load", "/no/such.so", "--daemon")
        self.assertEqual(self.open_ports(), [7776, 7778])

    def not_a_module(self) -> pathlib.Path:
        file = self.scene.folder / "other.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "/dev/null", "-o", file], check=True)
        return file

    def test_it_judges_again_when_the_daemon_was_killed_and_comes_back(self):
        self.module("load", self.denies_7777, "--name", "gate", "--daemon")
        self.scene.stop_daemon(by=signal.SIGKILL)
        self.scene.start_daemon()
        self.assertEqual(self.open_ports(), [7776, 7778])
        self.assertIn("run-time", self.module("ls"))


if __name__ == "__main__":
    os.chdir(stage.TREE)
    unittest.main(verbosity=2)
