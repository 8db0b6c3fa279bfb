"""Attacks out of a guest, each to a destination of its own, and what a guard makes of them."""

import json
import time
from dataclasses import dataclass

import observer as observing
import scene as stage

NMAP = ("/usr/bin/nmap", "/usr/share/nmap/nmap-services", "/usr/share/nmap/nmap-payloads")
HPING = ("/usr/sbin/hping3",)
ALICE = 1000
POLL_EVERY_S = 0.02


@dataclass(frozen=True)
class Attack:
    name: str
    command: str  # in the guest, as root
    watched: str  # its packets, for world.py
    kind: str  # of the alert
    uids: tuple[int | None, ...] = (ALICE,)  # to blame, and nobody else; None: nobody can know
    within_s: float = 1.0  # from the first packet outside to the last
    packets: int = 40  # that may have come through by then
    leak: int = 0  # packets/s that may still come through afterwards


def as_alice(command: str) -> str:
    return f"su alice -s /bin/sh -c 'exec {command}'"


CONNECT_SCAN = Attack(
    "connect scan, 100/s",
    "scan -u alice -p 7001 -r 100 198.51.100.1 250",
    watched="tcp:198.51.100.0/24:7001",
    kind="horizontal-scan",
    packets=20,
)
PORT_SCAN = Attack(
    "port scan, 100/s",
    "scan -u alice -p 1000 -q 5000 -r 100 203.0.113.44 1",
    watched="tcp:203.0.113.44/32:1-65535",
    kind="vertical-scan",
)
# The two go on for a second or so: they are told from people by their number alone, and by no failure.
MAIL_BURST = Attack(
    "mail burst, 20/s",
    "scan -u alice -b -p 25 -r 20 203.0.113.64 20",
    watched="tcp:203.0.113.64/26:25",
    kind="mail-burst",
    within_s=2,
    packets=200,
)
GUESSES = Attack(
    "password guesses, 20/s",
    "scan -u alice -b -p 22 -r 20 203.0.113.45 1",
    watched="tcp:203.0.113.45/32:22",
    kind="login-burst",
    within_s=2,
    packets=200,
)
RAW_SCAN = Attack(
    "raw scan, 100/s",
    "flood -p 7002 -r 100 syn 198.51.100.1 250",
    watched="tcp:198.51.100.0/24:7002",
    kind="horizontal-scan",
    uids=(None,),
)
FORGED_SCAN = Attack(
    "raw scan from forged sources, 100/s",
    "flood -p 7003 -r 100 -s 10.9.0.100 -S 50 syn 198.51.100.1 250",
    watched="tcp:198.51.100.0/24:7003",
    kind="horizontal-scan",
    uids=(None,),
)
UDP_FLOOD = Attack(
    "UDP flood from one port, 10000/s",
    "flood -u alice -p 7004 -r 10000 udp 198.51.100.7 1",
    watched="udp:198.51.100.7/32:7004",
    kind="udp-flood",
    within_s=3,
    packets=30_000,
)
# Most of its sockets are closed before anyone can look: those are unknown's, the others are known to be alice's. Who
# floods is cut as both.
PORTS_FLOOD = Attack(
    "UDP flood from a new port each, 10000/s",
    "flood -u alice -e -p 7005 -r 10000 udp 198.51.100.8 1",
    watched="udp:198.51.100.8/32:7005",
    kind="udp-flood",
    uids=(None, ALICE),
    within_s=3,
    packets=30_000,
    leak=5,
)
# As a rule all of these sockets are still there, and alice's.
GIVEN_UP_FLOOD = Attack(
    "connections given up at once, 500/s",
    "scan -u alice -p 7009 -r 500 -t 1 198.51.100.10 1",
    watched="tcp:198.51.100.10/32:7009",
    kind="syn-flood",
    uids=(None, ALICE),
    within_s=3,
    packets=1_500,
    leak=10,
)
NMAP_CONNECT = Attack(
    "nmap -sT",
    as_alice("/usr/bin/nmap -sT -n -Pn -p 7006 --min-rate 100 198.51.100.0/24"),
    watched="tcp:198.51.100.0/24:7006",
    kind="horizontal-scan",
)
NMAP_RAW = Attack(
    "nmap -sS",
    "/usr/bin/nmap -sS -n -Pn -p 7007 --min-rate 100 198.51.100.0/24",
    watched="tcp:198.51.100.0/24:7007",
    kind="horizontal-scan",
    uids=(None,),
)
HPING_FLOOD = Attack(
    "hping3 -S --flood",
    "/usr/sbin/hping3 -q -S --flood -p 7008 198.51.100.9",
    watched="tcp:198.51.100.9/32:7008",
    kind="syn-flood",
    uids=(None,),
    packets=30_000,
)
ALL = [
    CONNECT_SCAN,
    PORT_SCAN,
    MAIL_BURST,
    GUESSES,
    RAW_SCAN,
    FORGED_SCAN,
    UDP_FLOOD,
    PORTS_FLOOD,
    GIVEN_UP_FLOOD,
    NMAP_CONNECT,
    NMAP_RAW,
    HPING_FLOOD,
]


def watched(attacks: list[Attack]) -> dict[str, str]:
    return {attack.name: attack.watched for attack in attacks}


class Attacker:
    """Lets attacks loose in the guest, and asks what was answered."""

    def __init__(self, scene: stage.Scene, observer: observing.Observer):
        self.scene, self.observer = scene, observer

    def start(self, attack: Attack) -> float:
        """Returns a time just before it began."""
        began = time.monotonic() - observing.LINE_EVERY_S
        self.scene.guest.must(f"{attack.command} >/tmp/attack.log 2>&1 & echo $! >/tmp/attack.pid")
        return began

    def stop(self) -> None:
        self.scene.guest.run("kill $(cat /tmp/attack.pid) 2>/dev/null; rm -f /tmp/attack.pid")

    def alerts(self) -> list[dict]:
        return json.loads(self.scene.hyperward("alerts", self.scene.name, "--json"))

    def responses(self) -> list[dict]:
        return json.loads(self.scene.hyperward("respond", "ls", self.scene.name, "--json"))

    def last_response(self) -> int:
        return max((response["id"] for response in self.responses()), default=0)

    def await_response(self, after: int, seconds: float = 30) -> dict | None:
        """The first one after that, with what it answers; None: there is none in that time (nmap alone may take ten seconds
        to start)."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            newer = self.scene.api("GET", f"/v1/responses?guest={self.scene.name}&after={after}")
            if newer:
                return json.loads(self.scene.hyperward("respond", "show", newer[0]["id"], "--json"))
            time.sleep(POLL_EVERY_S)
        return None

    def goes_on(self, attack: Attack, seconds: float = 1.0) -> int:
        """How many of its packets are seen outside from now on."""
        since = time.monotonic()
        time.sleep(seconds)
        self.observer.settle()
        return self.observer.seen(attack.name, since).packets

    def run(self, attack: Attack) -> dict:
        """From its first packet to a second after the cut: what happened, measured outside, and what was said of it."""
        before, alerts_before = self.last_response(), len(self.alerts())
        began = self.start(attack)
        response = self.await_response(before) or {}
        leak = self.goes_on(attack)
        seen = self.observer.seen(attack.name, began)
        self.stop()
        alerts = sorted(self.alerts(), key=lambda alert: alert["id"])[alerts_before:]
        return {
            "attack": attack.name,
            "seconds_to_cut": round(seen.last - seen.first, 3),
            "packets_through": seen.packets,
            "connections_through": seen.begun,
            "packets_in_next_second": leak,
            "kinds": [alert["kind"] for alert in alerts],
            "culprits": [alert["details"]["culprit"]["uid"] for alert in alerts],
            "rule": response.get("rule_text"),
        }
