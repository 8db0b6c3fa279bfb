"""What is known of a guest without asking hyperward: its packets as the world sees them, its innocents as they say."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import scene as stage

LINE_EVERY_S = 0.1  # of world.py


@dataclass
class Seen:
    """Packets, outside. Times are CLOCK_MONOTONIC's, 0 when there were none."""

    packets: int = 0
    begun: int = 0
    first: float = 0.0
    last: float = 0.0


class Observer:
    """Collects what world.py prints of what is `watched`: {"scan": "tcp:203.0.113.0/24:25"}."""

    def __init__(self, scene: stage.Scene, watched: dict[str, str]):
        words = [f"{name}={what}" for name, what in watched.items()]
        command = [sys.executable, stage.TREE / "tests/e2e/world.py", stage.GUEST_ADDRESS, *words]
        self._process = scene.start_in_world(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lines: list[dict] = []
        threading.Thread(target=self._collect, daemon=True).start()
        self._wait_for_lines(1)

    def _collect(self) -> None:
        self._lines.extend(map(json.loads, self._process.stdout))

    def _wait_for_lines(self, count: int) -> None:
        while len(self._lines) < count and self._process.poll() is None:
            time.sleep(0.01)

    def settle(self) -> None:
        """Returns when all that has happened until now is counted."""
        self._wait_for_lines(len(self._lines) + 2)

    def _since(self, began: float) -> list[dict]:
        return [line for line in self._lines if line["at"] - LINE_EVERY_S >= began]

    def seen(self, name: str, since: float = 0.0) -> Seen:
        parts = [line["seen"][name] for line in self._since(since) if name in line["seen"]]
        if not parts:
            return Seen()
        total = {key: sum(part[key] for part in parts) for key in ("packets", "begun")}
        return Seen(**total, first=parts[0]["first"], last=parts[-1]["last"])

    def web(self, since: float = 0.0) -> tuple[int, int]:
        """Requests that were answered, and that were not."""
        lines = self._since(since)
        return sum(line["web_ok"] for line in lines), sum(line["web_failed"] for line in lines)

    def lost(self) -> int:
        return sum(line["lost"] for line in self._lines)


class Innocents:
    """Users that mean no harm, in the guest. A name, the command, and how often it does what it does."""

    MAIL_HOST, DNS_HOST, MIRROR, SHELL_HOST = (f"203.0.113.{n}" for n in (250, 53, 80, 22))
    FIRST_SITE, SITES = "203.0.113.130", 60
    # Each is busier than most are in an hour, and stays within what a detector may call normal.
    PROGRAMS = {
        "mail server, 20 messages/min": f"deliver -u mail -i 3000 {MAIL_HOST}",
        "resolver, 5 queries/s": f"ask -u bob -i 200 dns {DNS_HOST}",
        "package manager, 2 MB/s": f"ask -u root -i 500 get {MIRROR}",
        "browser, 10 pages of other sites/s": f"ask -u bob -i 100 -p 443 get {FIRST_SITE} {SITES}",
        # As far as its packets tell.
        "administrator, 10 logins/min": f"deliver -u bob -p 22 -i 6000 {SHELL_HOST}",
    }

    def __init__(self, scene: stage.Scene, programs: dict[str, str] = PROGRAMS):
        self._scene = scene
        self._logs: dict[str, str] = {}
        for number, (name, command) in enumerate(programs.items()):
            log = self._logs[name] = f"/tmp/innocent-{number}"
            scene.guest.must(f"{command} >{log} 2>&1 &")

    @staticmethod
    def start_world(scene: stage.Scene) -> None:
        """The servers that they, and those who are less innocent, talk to."""
        dns = f"-p 53 -a {Innocents.DNS_HOST} echo"  # answers from that address
        for words in ("-p 25 smtp", "-p 22 smtp", dns, "-p 80 -b 1000000 web", "-p 443 -b 5000 web"):
            scene.start_in_world([scene.program("serve"), *words.split()], stdout=subprocess.DEVNULL)

    def counts(self) -> dict[str, dict[str, int]]:
        """By their own words: {"mail server ...": {"delivered": 3, "failed": 0}}."""
        told = {}
        for name, log in self._logs.items():
            words = self._scene.guest.must(f"tail -n 1 {log}").split()
            told[name] = {word: int(number) for word, number in zip(words[::2], words[1::2])}
        return told

    def failures(self) -> dict[str, int]:
        """Of those who failed, or did nothing at all."""
        counts = self.counts()
        return {name: count.get("failed", -1) for name, count in counts.items() if count.get("failed", -1) != 0}
