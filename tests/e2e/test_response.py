"""hyperward finds attacks out of a real guest by itself, cuts them, and leaves everybody else alone.

What gets out is counted outside of the guest, and who is harmed by the innocents themselves.

    test_response.py [--json FILE] [TEST ...]       FILE gets the figures
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

import attacks
import observer as observing
import scene as stage

ALLOW_ALL = "default allow\n"
INNOCENT_S = 60
ECHO = "203.0.113.200"
figures: dict = {}


class Guarded(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scene = cls.enterClassContext(stage.Scene(neighbour=True, ram_mib=256, programs=attacks.NMAP + attacks.HPING))
        observing.Innocents.start_world(cls.scene)
        cls.scene.start_in_world([cls.scene.program("serve"), "-p", "7777", "echo"], stdout=subprocess.DEVNULL)
        cls.observer = observing.Observer(cls.scene, attacks.watched(attacks.ALL))
        cls.attacker = attacks.Attacker(cls.scene, cls.observer)

    def setUp(self):
        self.scene.guest.must("serve -u www-data -p 80 web >/tmp/web.log 2>&1 &")

    def tearDown(self):
        self.attacker.stop()
        self.scene.stop_daemon()
        self.scene.detach()
        self.scene.guest.run("killall serve deliver ask scan flood")

    def run(self, result=None):
        before = len(result.failures + result.errors)
        super().run(result)
        if len(result.failures + result.errors) > before:
            print(self.scene.daemon_log()[-3000:], file=sys.stderr)

    def guard(self, **sections):
        self.scene.daemon(ALLOW_ALL, **sections)

    def unharmed(self, innocents: observing.Innocents, since: float) -> None:
        self.assertEqual(innocents.failures(), {}, innocents.counts())
        answered, failed = self.observer.web(since)
        self.assertEqual(failed, 0, "requests to the guest's web server")
        self.assertGreater(answered, 0)

    def connects(self, user: str, port: int = 7777) -> bool:
        """Whether an echo comes back."""
        return "hi" in self.scene.guest.run(f"su {user} -s /bin/sh -c 'echo hi | timeout 2 nc -w 1 {ECHO} {port}'")[1]

    def wait_until(self, holds, seconds: float = 10):
        deadline = time.monotonic() + seconds
        while not holds():
            self.assertLess(time.monotonic(), deadline, "it never came true")
            time.sleep(0.05)

    def cut(self, attack: attacks.Attack) -> dict:
        """Lets it loose until it is cut; it goes on trying. The response."""
        before = self.attacker.last_response()
        self.attacker.start(attack)
        response = self.attacker.await_response(before)
        self.assertIsNotNone(response, "no response")
        self.assertEqual(self.attacker.goes_on(attack), 0)
        return response

    # -- what is cut, and who is not -------------------------------------------------------------------------

    def test_cuts_attacks_soon_and_harms_nobody_else(self):
        self.guard()
        innocents = observing.Innocents(self.scene)
        time.sleep(1)
        since = time.monotonic()
        rows = figures["attacks"] = [self.attacker.run(attack) for attack in attacks.ALL]
        figures["innocents_beside_attacks"] = innocents.counts()
        figures["web_beside_attacks"] = self.observer.web(since)
        figures["observer_lost_packets"] = self.observer.lost()
        print_rows(rows)
        for attack, row in zip(attacks.ALL, rows):
            with self.subTest(attack.name):
                self.assertEqual(set(row["kinds"]), {attack.kind})
                self.assertLessEqual(set(row["culprits"]), set(attack.uids))
                self.assertEqual(len(row["culprits"]), len(set(row["culprits"])), "somebody was reported twice")
                self.assertLessEqual(row["packets_in_next_second"], attack.leak)
                self.assertLessEqual(row["seconds_to_cut"], attack.within_s + (1 if attack.leak else 0))
                self.assertLessEqual(row["packets_through"], attack.packets)
        reported = sum(len(row["culprits"]) for row in rows)
        self.assertEqual(len(self.attacker.alerts()), reported, "somebody else was reported, too")
        self.unharmed(innocents, since)

    def test_innocents_alone_raise_no_alert(self):
        self.guard()
        innocents = observing.Innocents(self.scene)
        time.sleep(1)
        since = time.monotonic()
        time.sleep(INNOCENT_S)
        self.observer.settle()
        figures["innocents_alone"] = {"seconds": INNOCENT_S, "counts": innocents.counts(), "web": self.observer.web(since)}
        self.assertEqual(self.attacker.alerts(), [])
        self.unharmed(innocents, since)

    def test_learning_cuts_nothing_and_tells_what_it_would_have(self):
        self.guard(detect="learning = true")
        self.attacker.start(attacks.CONNECT_SCAN)
        response = self.attacker.await_response(0)
        self.assertGreater(self.attacker.goes_on(attacks.CONNECT_SCAN), 50)
        self.assertEqual(response["state"], "advised")
        self.assertEqual(response["rule_text"], "deny log to tcp port 7001 from uid 1000")
        self.assertEqual(self.rules(), [])

    def test_never_cuts_a_protected_user(self):
        self.guard(respond='[respond.never]\nusers = ["alice"]')
        self.attacker.start(attacks.CONNECT_SCAN)
        self.wait_until(self.attacker.alerts)
        self.assertGreater(self.attacker.goes_on(attacks.CONNECT_SCAN), 50)
        self.assertEqual(self.attacker.responses(), [])
        self.assertIn("protected", json.dumps(self.attacker.alerts()[0]["details"]["plan"]))

    def test_undo_lets_the_attacker_through_again(self):
        self.guard()
        response = self.cut(attacks.CONNECT_SCAN)
        self.scene.hyperward("respond", "undo", response["id"])
        self.assertGreater(self.attacker.goes_on(attacks.CONNECT_SCAN), 50)
        self.assertEqual([one["state"] for one in self.attacker.responses()], ["undone"])
        self.assertEqual(self.rules(), [])

    # -- rules, and what lasts -------------------------------------------------------------------------------

    def rules(self) -> list[str]:
        listed = json.loads(self.scene.hyperward("rule", "ls", self.scene.name, "--json"))
        return [rule["text"] for rule in listed["run_time"]]

    def test_a_rule_for_two_seconds_is_in_force_for_two_seconds(self):
        self.guard()
        self.scene.hyperward("rule", "add", self.scene.name, "deny to tcp port 7777 from user alice for 2s")
        added = time.monotonic()
        self.assertFalse(self.connects("alice"))
        self.assertTrue(self.connects("bob"))
        self.wait_until(lambda: self.connects("alice"), 5)
        self.assertGreater(time.monotonic() - added, 2)
        self.assertEqual(self.rules(), [])

    def test_kill_9_loses_no_rule_no_alert_and_no_cut(self):
        self.guard()
        self.scene.hyperward("rule", "add", self.scene.name, "deny to tcp port 7777 from user alice")
        self.cut(attacks.CONNECT_SCAN)
        known = lambda: (self.rules(), self.attacker.alerts(), self.attacker.responses())
        before, killed = known(), time.monotonic()
        self.scene.stop_daemon(by=signal.SIGKILL)
        time.sleep(0.5)
        self.scene.start_daemon()
        self.assertEqual(known(), before)
        self.assertFalse(self.connects("alice"))
        self.assertTrue(self.connects("bob"))
        self.observer.settle()
        self.assertEqual(self.observer.seen(attacks.CONNECT_SCAN.name, killed).packets, 0)

    def test_a_guest_that_reboots_is_guarded_again(self):
        self.guard()
        self.cut(attacks.CONNECT_SCAN)
        self.scene.guest.reboot()
        self.wait_until(lambda: self.scene.api("GET", "/v1/status")["guests"][0]["state"] == "guarded", 20)
        self.wait_until(lambda: self.connects("bob"), 20)
        self.attacker.start(attacks.CONNECT_SCAN)
        self.assertEqual(self.attacker.goes_on(attacks.CONNECT_SCAN), 0, "the rule did not outlive the reboot")
        self.attacker.stop()
        self.cut(attacks.MAIL_BURST)

    def test_a_guest_that_rebooted_while_no_daemon_ran_has_no_flows_from_before(self):
        self.guard()
        self.scene.guest.must(f"su alice -s /bin/sh -c 'sleep 100 | nc {ECHO} 7777' >/dev/null 2>&1 &")
        known = lambda: f"{ECHO}:7777" in [flow["remote"] for flow in self.scene.flows()]
        self.wait_until(known)
        self.scene.stop_daemon(by=signal.SIGKILL)
        self.scene.start_daemon()
        self.assertTrue(known(), "the guest still runs")
        self.scene.stop_daemon(by=signal.SIGKILL)
        self.scene.guest.reboot()
        self.scene.start_daemon()
        self.assertFalse(known())

    def test_an_attack_in_one_guest_costs_another_nothing(self):
        self.guard()
        asked = f"ask -i 20 -n 200 get {observing.Innocents.FIRST_SITE} -p 443"
        self.scene.neighbour.must(f"{asked} >/tmp/ask.log 2>&1 & echo $! >/tmp/ask.pid")
        self.cut(attacks.HPING_FLOOD)
        self.wait_until(lambda: self.scene.neighbour.run("kill -0 $(cat /tmp/ask.pid)")[0] != 0, 20)
        self.assertEqual(self.scene.neighbour.must("tail -n 1 /tmp/ask.log").split(), ["answered", "200", "failed", "0"])
        name = self.scene.places[1].name
        self.assertEqual(json.loads(self.scene.hyperward("alerts", name, "--json")), [])


def print_rows(rows: list[dict]) -> None:
    print(f"\n{'attack':40} {'cut after':>9} {'packets':>8} {'next s':>7}  rule")
    for row in rows:
        print(
            f"{row['attack']:40} {row['seconds_to_cut']:7.2f} s {row['packets_through']:8} "
            f"{row['packets_in_next_second']:7}  {row['rule']}"
        )


if __name__ == "__main__":
    os.chdir(stage.TREE)
    words = sys.argv[1:]
    path = None
    if "--json" in words:
        at = words.index("--json")
        path = pathlib.Path(words[at + 1])
        del words[at : at + 2]
    ran = unittest.main(argv=[sys.argv[0], *words], verbosity=2, exit=False, warnings="ignore")
    if path:
        path.write_text(json.dumps(figures, indent=2))
    sys.exit(not ran.result.wasSuccessful())
