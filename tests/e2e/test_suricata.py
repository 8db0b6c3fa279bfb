"""What Suricata says of a guest's packets reaches hyperward, which says whose they were."""

import json
import os
import subprocess
import sys
import time
import unittest

import scene as stage
import suricata

ECHO = "203.0.113.200"
RULES = "\n".join(
    f'alert tcp any any -> any 7777 (msg:"{name} calls home"; content:"{name}-calls-home"; sid:{number};)'
    for number, name in enumerate(("zeus", "mirai", "emotet", "qakbot"), start=1000001)
)


class Suricata(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        try:
            suricata.get()
        except stage.kernels.KernelError as error:
            print(f"SKIPPED test_suricata: no alert of a real IDS was taken in: {error}", file=sys.stderr)
            raise unittest.SkipTest("no Suricata") from None
        cls.scene = cls.enterClassContext(stage.Scene(ram_mib=256))
        cls.scene.start_in_world([cls.scene.program("serve"), "-p", "7777", "echo"], stdout=subprocess.DEVNULL)
        cls.suricata = suricata.Suricata(cls.scene, RULES)
        cls.scene.daemon("default allow\n", more=f'[[ids]]\nfile = "{cls.suricata.eve}"')
        cls.enterClassContext(cls.suricata)

    def call_home(self, user: str, name: str, then: str = "") -> None:
        """The connection ends at once, unless there is something to be done first."""
        command = f"(echo {name}-calls-home; {then or 'sleep 0.2'}) | timeout 20 nc -w 1 {ECHO} 7777"
        self.scene.guest.must(f"su {user} -s /bin/sh -c '{command}' >/dev/null {'2>&1 &' if then else ''}")

    def alerts(self, name: str) -> list[dict]:
        alerts = json.loads(self.scene.hyperward("alerts", self.scene.name, "--json"))
        return [alert for alert in alerts if f"{name} calls home" in alert["summary"]]

    def await_alert(self, name: str) -> dict:
        deadline = time.monotonic() + 15
        while not self.alerts(name):
            self.assertLess(time.monotonic(), deadline, self.scene.daemon_log() + self.suricata.log())
            time.sleep(0.05)
        return self.alerts(name)[0]

    def is_by(self, alert: dict, uid: int) -> None:
        culprit = alert["details"]["culprit"]
        self.assertEqual((alert["kind"], culprit["uid"], culprit["process"]["comm"]), ("ids", uid, "nc"), alert)

    def test_an_alert_gets_the_process_and_user_of_its_flow(self):
        self.call_home("alice", "zeus", then="sleep 5")
        self.is_by(self.await_alert("zeus"), 1000)

    def test_an_alert_that_comes_after_its_flow_still_does(self):
        self.suricata.pause()
        self.call_home("bob", "mirai")
        self.assertNotEqual(self.scene.guest.run("pgrep -f mirai")[0], 0, "the process has not ended")
        self.suricata.resume()
        self.is_by(self.await_alert("mirai"), 1001)

    def test_no_alert_is_lost_or_doubled_when_the_file_is_rotated(self):
        self.call_home("alice", "emotet")
        self.await_alert("emotet")
        self.suricata.rotate()
        self.call_home("bob", "qakbot")
        self.is_by(self.await_alert("qakbot"), 1001)
        time.sleep(1)
        self.assertEqual((len(self.alerts("emotet")), len(self.alerts("qakbot"))), (1, 1))


if __name__ == "__main__":
    os.chdir(stage.TREE)
    unittest.main(verbosity=2, warnings="ignore")
