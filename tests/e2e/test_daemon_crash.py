"""A daemon that is killed at any moment has kept all that it acknowledged, and nothing by halves.

A daemon that guards a real guest is told to add, replace and remove rules, of alerts that it answers, and to undo its
answers, one request after the other, until kill -9 ends it. What the next one says, and what its guard enforces, is
held against what was acknowledged; the one request under way may have been done as a whole, or not at all.

    test_daemon_crash.py [--seed NUMBER] [TEST ...]        NUMBER, as an earlier run printed it, repeats its choices
"""

import copy
import http.client
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Callable
from dataclasses import dataclass, field

import scene as stage

KILLS = 100
KILLED_WITHIN_S = 0.06  # of the first request
KILLED_IN_START = 0.1  # of the starts, so many are cut off, too
START_S = 0.3
KILLS_PER_PROBE = 25  # after so many, packets say as well what is in force
MAX_RULES = 20
VICTIMS, VICTIMS_PORT = [f"203.0.113.{n}" for n in range(11, 19)], 7777  # alice holds a connection to each
PROBE_HOST, PROBE_PORTS = "203.0.113.200", range(7780, 7784)
seed = random.SystemRandom().randrange(1 << 32)


@dataclass
class Known:
    """What the daemon must say. Ids follow one another: the next one is known before it is given."""

    rules: dict[int, str] = field(default_factory=dict)
    made_by: dict[int, int] = field(default_factory=dict)  # rules by responses
    responses: dict[int, str] = field(default_factory=dict)  # their state
    alerts: int = 0
    rules_given: int = field(default=0, compare=False)  # the last id

    def add(self, text: str) -> None:
        self.rules_given += 1
        self.rules[self.rules_given] = text

    def replace(self, rule: int, text: str) -> None:
        self.rules[rule] = text

    def remove(self, rule: int) -> None:
        del self.rules[rule]
        if response := self.made_by.pop(rule, None):
            self.responses[response] = "undone"

    def undo(self, response: int) -> None:
        self.remove(next(rule for rule, by in self.made_by.items() if by == response))

    def alert(self, response_text: str | None) -> None:
        self.alerts += 1
        if response_text is not None:
            self.add(response_text)
            response = self.made_by[self.rules_given] = len(self.responses) + 1
            self.responses[response] = "in-force"

    def after(self, change) -> "Known":
        changed = copy.deepcopy(self)
        change(changed)
        return changed


@dataclass
class Request:
    method: str
    path: str
    body: dict | None
    change: Callable[[Known, str | None], None]  # what it does; the text: of the response's rule, when it makes one
    may_cut: bool = False

    def outcomes(self, known: Known, rules: dict[int, str]) -> list[Known]:
        """The ways in which it can be done, when these are the rules afterwards."""
        texts = [None, rules.get(known.rules_given + 1, "")] if self.may_cut else [None]
        return [known.after(lambda changed: self.change(changed, text)) for text in texts]


class DaemonCrash(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scene = cls.enterClassContext(stage.Scene(ram_mib=256))
        for port in (VICTIMS_PORT, *PROBE_PORTS):
            words = [cls.scene.program("serve"), "-p", str(port), "echo"]
            cls.scene.start_in_world(words, stdout=subprocess.DEVNULL)
        respond = 'max_rules_per_hour = 1000\n[respond.ids]\naction = "deny-port"'
        cls.scene.daemon("default allow\n", respond=respond)
        for victim in VICTIMS:
            hold = f"sleep 1000 | nc {victim} {VICTIMS_PORT}"
            cls.scene.guest.must(f"su alice -s /bin/sh -c '{hold}' >/dev/null 2>&1 &")
        established = lambda: [flow for flow in cls.scene.flows() if flow["state"] == "established"]
        cls.wait_until(lambda: len(established()) == len(VICTIMS))
        cls.connections = [(flow["local"], flow["remote"]) for flow in established()]

    @staticmethod
    def wait_until(holds) -> None:
        deadline = time.monotonic() + 20
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError("it never came true")
            time.sleep(0.05)

    def setUp(self):
        self.random = random.Random(seed)
        self.known = self.told()
        self.known.rules_given = max(self.known.rules, default=0)
        self.answered = self.cut_starts = 0

    def run(self, result=None):
        before = len(result.failures + result.errors)
        super().run(result)
        if len(result.failures + result.errors) > before:
            print(self.scene.daemon_log()[-3000:], file=sys.stderr)

    # -- what the daemon is asked --------------------------------------------------------------------------------

    @property
    def rules_path(self) -> str:
        return f"/v1/guests/{self.scene.name}/rules"

    def rule_text(self) -> str:
        who = self.random.choice(["user alice", "any"])
        return f"{self.random.choice(['deny', 'allow'])} to tcp port {self.random.choice(PROBE_PORTS)} from {who}"

    def add(self) -> Request:
        text, for_long = self.rule_text(), self.random.choice(["", " for 1h"])
        return Request("POST", self.rules_path, {"rule": text + for_long}, lambda known, _: known.add(text))

    def replace(self) -> Request:
        rule, text = self.random.choice(list(self.known.rules)), self.rule_text()
        return Request("PUT", f"{self.rules_path}/{rule}", {"rule": text}, lambda known, _: known.replace(rule, text))

    def remove(self) -> Request:
        rule = self.random.choice(list(self.known.rules))
        return Request("DELETE", f"{self.rules_path}/{rule}", None, lambda known, _: known.remove(rule))

    def undo(self) -> Request:
        response = self.random.choice(list(self.known.made_by.values()))
        return Request("POST", f"/v1/responses/{response}/undo", None, lambda known, _: known.undo(response))

    def alert(self) -> Request:
        source, destination = self.random.choice(self.connections)
        line = {"protocol": "tcp", "source": source, "destination": destination, "text": "calls home"}
        return Request("POST", "/v1/alerts", line, lambda known, text: known.alert(text), may_cut=True)

    def any_request(self) -> Request:
        if len(self.known.rules) >= MAX_RULES:
            return self.remove()
        choices = [self.add, self.alert]
        choices += [self.replace, self.remove] if self.known.rules else []
        choices += [self.undo] if self.known.made_by else []
        return self.random.choice(choices)()

    # -- what it says --------------------------------------------------------------------------------------------

    def told(self) -> Known:
        rules = self.scene.api("GET", self.rules_path)["run_time"]
        return Known(
            rules={rule["id"]: rule["text"] for rule in rules},
            made_by={rule["id"]: rule["response"] for rule in rules if rule["response"] is not None},
            responses={one["id"]: one["state"] for one in self.scene.api("GET", "/v1/responses?limit=1000")},
            alerts=len(self.scene.api("GET", "/v1/alerts?limit=1000")),
        )

    def in_force(self) -> dict[int, str]:
        """The rules of run time, as the guard itself notes them for `hyperward explain`."""
        return dict(json.loads(pathlib.Path(f"/run/hyperward/{self.scene.name}.guard").read_text())["run_time"])

    def passes(self, port: int) -> bool:
        command = f"su alice -s /bin/sh -c 'echo hi | timeout 2 nc -w 1 {PROBE_HOST} {port}'"
        return "hi" in self.scene.guest.run(command)[1]

    def must_pass(self, port: int) -> bool:
        """The newest rule that speaks of a flow decides; all that do speak of alice."""
        about = [rule for rule, text in self.known.rules.items() if f"port {port} " in text]
        return not about or self.known.rules[max(about)].startswith("allow")

    # -- the test ------------------------------------------------------------------------------------------------

    def check(self, possible: list[Known], why: str) -> None:
        """The daemon says one of these, and its guard enforces what it says."""
        told = self.told()
        self.assertIn(told, possible, why)
        self.known = possible[possible.index(told)]
        self.assertEqual(self.in_force(), self.known.rules, why)

    def ask_until_killed(self) -> Request:
        """The request that got no answer."""
        killer = threading.Timer(self.random.uniform(0, KILLED_WITHIN_S), self.scene.daemon_process.kill)
        killer.start()
        while True:
            request = self.any_request()
            try:
                answer = self.scene.api(request.method, request.path, request.body)
            except (OSError, http.client.HTTPException):
                killer.join()
                return request
            if request.may_cut:
                self.assertIsNotNone(answer["alert"], f"nobody's: {request}")
            made = answer["response"] if request.may_cut else None
            self.known = self.known.after(lambda known: request.change(known, made and made["rule_text"]))
            self.answered += 1

    def start_daemon(self) -> None:
        while self.random.random() < KILLED_IN_START:
            self.scene.launch_daemon()
            time.sleep(self.random.uniform(0, START_S))
            self.scene.stop_daemon(by=signal.SIGKILL)
            self.cut_starts += 1
        self.scene.start_daemon()

    def test_who_follows_events_hears_each_once_over_restarts(self):
        told, complaints = self.scene.folder / "told", self.scene.folder / "complaints"
        with open(told, "w") as out, open(complaints, "w") as err:
            words = [stage.HYPERWARD, "events", "-f", "--json"]
            # Who is started in the background has it ignored, and so has what he starts.
            heeds_interrupts = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
            follower = subprocess.Popen(words, stdout=out, stderr=err, preexec_fn=heeds_interrupts)
        self.addCleanup(follower.kill)
        added = lambda: [
            event["data"]["id"] for event in map(json.loads, told.read_text().splitlines()) if event["type"] == "rule-added"
        ]
        add = lambda: self.scene.api("POST", self.rules_path, {"rule": self.rule_text()})["id"]
        self.wait_until(lambda: add() and added())  # it listens
        rules = []
        for _ in range(3):
            self.scene.stop_daemon(by=signal.SIGKILL)
            self.scene.start_daemon()
            rules.append(add())
            self.wait_until(lambda: rules[-1] in added())
        heard = added()
        self.assertEqual(heard[-len(rules) :], rules)
        self.assertEqual(len(set(heard)), len(heard))
        self.assertEqual(complaints.read_text().count("waiting for it to come back"), 3)
        follower.send_signal(signal.SIGINT)
        self.assertEqual(follower.wait(timeout=5), -signal.SIGINT)

    def test_kill_9_at_any_moment_loses_nothing_that_was_acknowledged(self):
        done = 0
        for kill in range(1, KILLS + 1):
            request = self.ask_until_killed()
            self.scene.stop_daemon(by=signal.SIGKILL)
            self.start_daemon()
            before = self.known
            self.check([before, *request.outcomes(before, self.in_force())], f"kill {kill}, during {request}")
            done += self.known != before
            if kill % KILLS_PER_PROBE == 0:
                for port in PROBE_PORTS:
                    self.assertEqual(self.passes(port), self.must_pass(port), f"port {port}, {self.known.rules}")
        print(f"{KILLS} kills, {self.cut_starts} more of starts; {self.answered} requests acknowledged,", end=" ")
        print(f"{done} done without an answer; {len(self.known.rules)} rules, {len(self.known.responses)} responses")
        self.assertGreater(self.answered, KILLS)
        self.assertGreater(len(self.known.responses), 0)


if __name__ == "__main__":
    os.chdir(stage.TREE)
    words = sys.argv[1:]
    if "--seed" in words:
        at = words.index("--seed")
        seed = int(words[at + 1])
        del words[at : at + 2]
    print(f"seed {seed}", file=sys.stderr)
    unittest.main(argv=[sys.argv[0], *words], verbosity=2, warnings="ignore")
