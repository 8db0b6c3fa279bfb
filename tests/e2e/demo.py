"""The whole story on a real guest, without a human: an attack is detected, named, cut, explained, and undone.

Nobody has written a rule about anybody. One of the guest's users begins to send spam; everybody else works on. What
leaves the guest is counted outside of it. Ends with status 0 only if all that it tells has really happened.
"""

import argparse
import json
import sys
import time

import attacks
import observer as observing
import scene as stage

PHASE_S = 5
SPAM = attacks.Attack(
    "spam",
    "scan -u alice -p 25 -r 100 198.51.100.1 250",
    watched=f"tcp:{stage.DARK_NETWORK}:25",
    kind="horizontal-scan",
    packets=20,
)
SERVICES = {
    "mail server": f"deliver -u mail -i 1000 {observing.Innocents.MAIL_HOST}",
    "resolver": f"ask -u bob -i 200 dns {observing.Innocents.DNS_HOST}",
    "browser": f"ask -u bob -i 200 -p 443 get {observing.Innocents.FIRST_SITE} {observing.Innocents.SITES}",
}


def show(title: str, text: str = "") -> None:
    print(f"\n\033[1m{title}\033[0m" if sys.stdout.isatty() else f"\n== {title}", flush=True)
    if text:
        print(text.rstrip(), flush=True)


class Story:
    def __init__(self, scene: stage.Scene):
        self.scene = scene
        observing.Innocents.start_world(scene)
        scene.guest.must("serve -u www-data -p 80 web >/tmp/web.log 2>&1 &")
        self.observer = observing.Observer(scene, attacks.watched([SPAM]))
        self.innocents = observing.Innocents(scene, SERVICES)
        self.attacker = attacks.Attacker(scene, self.observer)

    def command(self, *words) -> str:
        """Runs it, and shows it as who typed it would see it."""
        output = self.scene.hyperward(*words)
        show(f"# hyperward {' '.join(map(str, words))}", output)
        return output

    def watch(self, seconds: float = PHASE_S) -> dict:
        """What happens from now on, per second."""
        before, since = self.innocents.counts(), time.monotonic()
        time.sleep(seconds)
        self.observer.settle()
        after, spam = self.innocents.counts(), self.observer.seen(SPAM.name, since).packets
        answered, failed = self.observer.web(since)
        done = {name: sum(after[name].values()) - sum(before[name].values()) for name in after}
        measured = {"spam": spam, **done, "web server": answered}
        failures = failed + sum(count["failed"] for count in after.values())
        rates = {name: round(number / seconds, 1) for name, number in measured.items()}
        print("  seen outside, per second   " + ", ".join(f"{name} {rate}" for name, rate in rates.items()))
        print(f"  innocents that failed      {failures}", flush=True)
        return {"per_second": rates, "failures": failures}

    def tell(self) -> dict:
        scene = self.scene
        measured: dict = {}
        self.command("status")
        show("The guest's services work; no rule is about anybody")
        measured["before"] = self.watch()

        show("One of its users begins to send spam to 100 hosts a second")
        began = self.attacker.start(SPAM)
        measured["response"] = self.attacker.await_response(0) or {}
        measured["during"] = self.watch()
        seen = self.observer.seen(SPAM.name, began)
        measured["packets_through"] = seen.packets
        measured["seconds_to_cut"] = round(seen.last - seen.first, 3)
        print(f"  cut after                  {measured['seconds_to_cut']} s and {seen.packets} packets; it goes on trying")

        self.command("alerts", scene.name)
        self.command("respond", "ls", scene.name)
        measured["alerts"] = self.attacker.alerts()
        measured["shown"] = self.command("respond", "show", measured["response"].get("id", 1))

        self.command("respond", "undo", measured["response"].get("id", 1))
        measured["undone"] = self.watch()
        self.attacker.stop()
        return measured


def judge(measured: dict) -> dict[str, bool]:
    before, during, undone = measured["before"], measured["during"], measured["undone"]
    alerts = measured["alerts"]
    culprit = alerts[0]["details"]["culprit"] if alerts else {}
    services = [*SERVICES, "web server"]
    return {
        "it was detected by itself, once": [alert["kind"] for alert in alerts] == [SPAM.kind],
        "its user and process were named": culprit.get("uid") == attacks.ALICE
        and (culprit.get("process") or {}).get("comm") == "scan",
        f"it was cut within {SPAM.within_s:g} s and {SPAM.packets} packets": measured["packets_through"] <= SPAM.packets
        and measured["seconds_to_cut"] <= SPAM.within_s,
        "not one of its packets got out after that": during["per_second"]["spam"] == 0,
        "no innocent failed": all(phase["failures"] == 0 for phase in (before, during, undone)),
        "no service was slower": all(
            during["per_second"][name] >= 0.8 * before["per_second"][name] > 0 for name in services
        ),
        "the evidence was shown: the socket, in the guest's memory": "tcp socket 0x" in measured["shown"],
        "one command undid it": undone["per_second"]["spam"] >= 50,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write what was measured")
    parser.add_argument("--kernel", default="6.1", help="a name from tests/guest/kernels.toml")
    options = parser.parse_args()
    began = time.monotonic()
    show(f"Booting a stock Debian kernel ({options.kernel}) under QEMU, on a tap and a bridge in network namespaces")
    with stage.Scene(options.kernel) as scene:
        print(f"  up after {time.monotonic() - began:.1f} s")
        scene.daemon("default allow\n")
        measured = {"kernel": options.kernel, **Story(scene).tell()}
    checks = measured["checks"] = judge(measured)
    measured["seconds"] = round(time.monotonic() - began, 1)
    show("What really happened")
    for claim, holds in checks.items():
        print(f"  {'yes' if holds else 'NO '}  {claim}")
    print(f"\n{measured['seconds']} s")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(measured, file, indent=2)
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
