"""hyperward guards a real guest on a real tap."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

import scene as stage

ALLOW_ALL = "default allow\n"
DENY_ALICE = "default allow\ndeny to tcp port 7777 from user alice\n"
SERVER = "203.0.113.9"


class GuardedGuest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scene = cls.enterClassContext(stage.Scene())
        cls.scene.start_in_world([cls.scene.program("serve"), "-p", "7777", "echo"], stdout=subprocess.DEVNULL)
        cls.scene.start_in_world([cls.scene.program("serve"), "-p", "7778", "echo"], stdout=subprocess.DEVNULL)

    def setUp(self):
        self.scene.guard(ALLOW_ALL)

    def tearDown(self):
        self.scene.stop_guard()
        subprocess.run([stage.HYPERWARD, "detach", "--tap", self.scene.tap], capture_output=True, check=False)

    def connects(self, user: str, port: int = 7777) -> bool:
        """Whether an echo comes back."""
        command = f"su {user} -s /bin/sh -c 'echo hi | timeout 3 nc -w 2 {SERVER} {port}'"
        return "hi" in self.scene.guest.run(command)[1]

    def test_denies_one_user_and_leaves_the_others(self):
        self.scene.reload(DENY_ALICE)
        self.assertTrue(self.connects("bob"))
        self.assertFalse(self.connects("alice"))
        self.assertTrue(self.connects("alice", port=7778))
        denied = [flow for flow in self.scene.flows() if flow["verdict"] == "deny"]
        self.assertEqual([flow["owner"]["uid"] for flow in denied], [1000])
        self.assertEqual(denied[0]["owner"]["process"]["comm"], "nc")

    def test_rules_that_change_take_hold_of_established_flows(self):
        self.scene.guest.must(f"su alice -s /bin/sh -c 'while sleep 0.2; do echo tick; done | nc {SERVER} 7777 >/tmp/echo' &")
        self.wait_until(lambda: self.echoed() > 2)
        self.scene.reload(DENY_ALICE)
        time.sleep(0.5)
        settled = self.echoed()
        time.sleep(1.5)
        self.assertEqual(self.echoed(), settled)
        self.scene.reload(ALLOW_ALL)
        self.wait_until(lambda: self.echoed() > settled)

    def echoed(self) -> int:
        return int(self.scene.guest.must("cat /tmp/echo 2>/dev/null | wc -l"))

    def wait_until(self, holds, seconds: float = 10):
        deadline = time.monotonic() + seconds
        while not holds():
            self.assertLess(time.monotonic(), deadline, "it never came true")
            time.sleep(0.1)

    def test_kill_9_leaves_known_flows_and_denies_new_ones_until_a_restart(self):
        iperf = self.scene.start_in_world(["iperf3", "-s", "-1", "-p", "5201"], stdout=subprocess.DEVNULL)
        self.scene.guest.must(f"iperf3 -c {stage.WORLD_ADDRESS} -p 5201 -t 8 -i 1 --json >/tmp/iperf.json 2>&1 &")
        time.sleep(2)
        self.scene.stop_guard(by=signal.SIGKILL)
        time.sleep(1.5)
        self.assertFalse(self.connects("bob"), "a new flow passed although nobody judged it")
        self.scene.guard(ALLOW_ALL)
        self.assertTrue(self.connects("bob"))
        iperf.wait(timeout=30)
        self.wait_until(lambda: self.scene.guest.run("pgrep iperf3")[0] != 0)
        report = json.loads(self.scene.guest.must("cat /tmp/iperf.json"))
        self.assertNotIn("error", report)
        rates = [interval["sum"]["bits_per_second"] for interval in report["intervals"]]
        self.assertTrue(all(rates), f"the known flow stood still: {rates}")

    def test_detach_leaves_nothing_behind(self):
        self.assertTrue(self.connects("bob"))
        self.scene.stop_guard()
        self.scene.hyperward("detach", self.scene.name)
        filters = subprocess.check_output(["tc", "qdisc", "show", "dev", self.scene.tap], text=True)
        self.assertNotIn("clsact", filters)
        pins = [path for root in ("/sys/fs/bpf", "/run/hyperward") for path in pathlib.Path(root).rglob(f"*{self.scene.tap}*")]
        self.assertEqual(pins, [])
        self.assertTrue(self.connects("alice"))

    def test_a_guest_that_reboots_is_found_again(self):
        self.scene.guest.reboot()
        self.wait_until(lambda: self.connects("bob"), 30)
        self.scene.reload(DENY_ALICE)
        self.assertFalse(self.connects("alice"))
        self.assertTrue(self.connects("bob"))


class BadInput(unittest.TestCase):
    """One clear sentence, exit status 2, nothing half-done."""

    def fails(self, *words) -> str:
        done = subprocess.run([stage.HYPERWARD, *map(str, words)], capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 2, done)
        self.assertEqual(done.stdout, "")
        return done.stderr

    def config(self, text: str, rules: str = ALLOW_ALL) -> pathlib.Path:
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "rules").write_text(rules)
        (folder / "guard.toml").write_text(text)
        return folder / "guard.toml"

    def test_a_guest_that_is_not_there(self):
        config = self.config('[guest]\nname = "no-such-guest"\n[guard]\ntap = "t"\nrules = "rules"\n')
        self.assertIn("no guest named 'no-such-guest'", self.fails("guard", "--config", config))

    def test_rules_with_a_mistake_name_the_place(self):
        config = self.config('[guest]\npid = 1\n[guard]\ntap = "t"\nrules = "rules"\n', "deny to tcp prt 25\n")
        self.assertIn("rules:1:13", self.fails("guard", "--config", config))
        self.assertIn("rules:1:13", self.fails("rules", "check", config.parent / "rules"))

    def test_flows_of_a_guest_that_nobody_guards(self):
        self.assertIn("no guest 'no-such-guest' is guarded", self.fails("flows", "no-such-guest"))
        self.assertIn("no guest 'no-such-guest' is guarded", self.fails("detach", "no-such-guest"))
        self.assertIn("no guest 'no-such-guest' is guarded", self.fails("reload", "no-such-guest"))

    def test_a_tap_that_does_not_exist(self):
        with stage.guests.Guest(boots=False) as firmware:
            config = self.config(f'[guest]\npid = {firmware.pid}\n[guard]\ntap = "hw-none"\nrules = "rules"\n')
            self.assertIn("hw-none", self.fails("guard", "--config", config))

    def test_no_privileges(self):
        with stage.guests.Guest(boots=False) as firmware:
            words = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", stage.HYPERWARD, "ps", "--pid", str(firmware.pid)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, done)
            self.assertIn("not permitted", done.stderr)


if __name__ == "__main__":
    os.chdir(stage.TREE)
    unittest.main(verbosity=2)
