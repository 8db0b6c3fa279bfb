"""The main job on a real guest: one user's scan is cut, everybody else works on.

The guest runs a mail server's delivery (user mail), a web server, and a scan of other hosts' port 25 by user alice.
What leaves the guest is counted outside of it. Ends with status 0 only if all that it tells has really happened.
"""

import argparse
import json
import subprocess
import sys
import threading
import time

import scene as stage

MAIL_HOST = "203.0.113.250"
SCAN_FIRST, SCAN_HOSTS, SCAN_PER_SECOND = "203.0.113.1", 200, 150
PHASE_S = 6
OPEN_RULES = "default allow\n"
CUTTING_RULES = "default allow\ndeny log to tcp port 25 from user alice\n"


class Observer:
    """Collects what tests/e2e/world.py prints."""

    def __init__(self, scene: stage.Scene):
        command = [sys.executable, stage.TREE / "tests/e2e/world.py", stage.GUEST_ADDRESS, MAIL_HOST]
        process = scene.start_in_world(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines: list[dict] = []
        threading.Thread(target=lambda: self.lines.extend(map(json.loads, process.stdout)), daemon=True).start()

    def watch(self, seconds: float) -> dict:
        """What is seen from now on, summed up."""
        since = time.monotonic()
        time.sleep(seconds)
        lines = [line for line in self.lines if line["at"] - 0.1 >= since]
        total = {key: sum(line[key] for line in lines) for key in ("syn_mail", "syn_scan", "web_ok", "web_failed")}
        return {"seconds": seconds, **total}


def show(title: str, text: str = "") -> None:
    print(f"\n\033[1m{title}\033[0m" if sys.stdout.isatty() else f"\n== {title}", flush=True)
    if text:
        print(text.rstrip(), flush=True)


def rates(seen: dict) -> str:
    per_second = lambda key: f"{seen[key] / seen['seconds']:6.1f}/s"
    return (
        f"  alice's scan, SYNs to port 25 seen outside  {per_second('syn_scan')}\n"
        f"  mail's deliveries, SYNs seen outside        {per_second('syn_mail')}\n"
        f"  web requests answered                       {per_second('web_ok')}, {seen['web_failed']} failed"
    )


def start_services(scene: stage.Scene) -> None:
    scene.start_in_world([scene.program("serve"), "-p", "25", "smtp"], stdout=subprocess.DEVNULL)
    scene.guest.must("serve -u www-data -p 80 web >/tmp/web.log 2>&1 &")
    scene.guest.must(f"deliver -u mail -i 100 {MAIL_HOST} >/tmp/deliver.log 2>&1 &")


def delivered(scene: stage.Scene) -> int:
    """Messages that the guest's mail server has got rid of, by its own word."""
    words = scene.guest.must("tail -n 1 /tmp/deliver.log").split()
    return int(words[1]) if words else 0


def run(kernel: str) -> dict:
    measured: dict = {"kernel": kernel}
    began = time.monotonic()
    show(f"Booting a stock Debian kernel ({kernel}) under QEMU, on a tap and a bridge in network namespaces")
    with stage.Scene(kernel) as scene:
        print(f"  up after {time.monotonic() - began:.1f} s")
        start_services(scene)
        scene.guard(OPEN_RULES)
        observer = Observer(scene)
        scene.guest.must(f"scan -u alice -r {SCAN_PER_SECOND} {SCAN_FIRST} {SCAN_HOSTS} >/tmp/scan.log 2>&1 &")
        time.sleep(1)

        show(f"hyperward ps {scene.name}   (user space only)")
        processes = scene.hyperward("ps", scene.name).splitlines()
        print("\n".join([processes[0], *(line for line in processes if not line.endswith("]"))]))
        show(f"hyperward ss {scene.name}   (the first lines)", "\n".join(scene.hyperward("ss", scene.name).splitlines()[:10]))

        show("All is allowed: alice's process scans port 25 of other hosts")
        before = measured["before"] = observer.watch(PHASE_S)
        print(rates(before))

        show("hyperward reload, with one more rule: deny log to tcp port 25 from user alice")
        mail_before = delivered(scene)
        asked = time.monotonic()
        scene.reload(CUTTING_RULES)
        measured["reload_ms"] = round((time.monotonic() - asked) * 1000, 1)
        in_force = time.monotonic()
        after = measured["after"] = observer.watch(PHASE_S)
        measured["delivered_after"] = delivered(scene) - mail_before
        last = max((line["at"] for line in observer.lines if line["syn_scan"]), default=asked)
        measured["last_scan_syn_after_reload_ms"] = max(0, round((last - in_force) * 1000))
        print(f"  in force after {measured['reload_ms']} ms")
        print(rates(after))

        denied = [f for f in scene.flows() if f["verdict"] == "deny"]
        measured["denied_flows"] = len(denied)
        if denied:
            flow = max(denied, key=lambda f: f["dropped"])
            measured["explained"] = flow
            words = (flow["protocol"], flow["local"], flow["remote"])
            show(f"hyperward explain {scene.name} {' '.join(words)}", scene.hyperward("explain", scene.name, *words))
        scene.stop_guard()
        scene.hyperward("detach", scene.name)

    measured["checks"] = judge(measured)
    measured["seconds"] = round(time.monotonic() - began, 1)
    return measured


def judge(measured: dict) -> dict[str, bool]:
    before, after = measured["before"], measured["after"]
    explained = measured.get("explained", {})
    owner = explained.get("owner") or {}
    return {
        "the scan ran before the rule": before["syn_scan"] >= 0.5 * SCAN_PER_SECOND * before["seconds"],
        "not one SYN of the scan got out after it": after["syn_scan"] == 0,
        "mail went on delivering": measured["delivered_after"] >= 0.8 * before["syn_mail"] > 0,
        "the web server went on serving": after["web_ok"] >= 0.8 * before["web_ok"] > 0 and after["web_failed"] == 0,
        "a denied flow is explained: alice's process, by the rule": owner.get("uid") == 1000
        and (owner.get("process") or {}).get("comm") == "scan"
        and explained["rule"]["line"] == 2,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write what was measured")
    parser.add_argument("--kernel", default="6.1", help="a name from tests/guest/kernels.toml")
    options = parser.parse_args()
    measured = run(options.kernel)
    show("What really happened")
    for claim, holds in measured["checks"].items():
        print(f"  {'yes' if holds else 'NO '}  {claim}")
    print(f"\n{measured['seconds']} s")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(measured, file, indent=2)
    return 0 if all(measured["checks"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
