"""hyperward as the service that its unit makes of it: started, confined, reloaded and restarted by a real systemd.

    tests/e2e/in_systemd python3 tests/e2e/test_systemd.py

It writes /etc/hyperward and stops hyperward, so it runs in that script's container and nowhere else.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import unittest

import libvirt
import scene as stage

UNIT = "hyperward"
GROUP = "hyperward"  # as in packaging/hyperward.toml
CONFIGURATION = pathlib.Path("/etc/hyperward")
GUESTS = CONFIGURATION / "guests.d"
RUN, STATE = pathlib.Path("/run/hyperward"), pathlib.Path("/var/lib/hyperward")
DROP_IN = pathlib.Path("/run/systemd/system/hyperward.service.d/test.conf")
SERVER = "203.0.113.9"
DENY_ALICE = "default allow\ndeny to tcp port 7777 from user alice\n"
ALLOW_ALL = "default allow\n"
MISTAKE = "deny to tcp prt 25\n"
START_ONLY = {"cap_setgid", "cap_setpcap"}  # src/daemon/privileges.cc
ERROR, WARNING, INFO = 3, 4, 6  # syslog(3)
RESTARTS = 7  # more than systemd allows by itself: five in ten seconds
WATCHDOG_S = 3


def run(*words) -> subprocess.CompletedProcess:
    return subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, timeout=60)


def journal_text() -> str:
    return run("journalctl", "-u", UNIT).stdout


def systemctl(*words) -> None:
    done = run("systemctl", *words)
    if done.returncode != 0:
        raise RuntimeError(f"systemctl {' '.join(words)}: {done.stderr.strip()}\n{journal_text()}")


def shown(name: str) -> str:
    """A property of the unit, as systemd has it."""
    return run("systemctl", "show", "--value", "-p", name, UNIT).stdout.strip()


def main_pid() -> int:
    return int(shown("MainPID"))


def said(priority: int) -> list[str]:
    """What the daemon has said with that priority, or a more urgent one, since it was started."""
    run("journalctl", "--sync")
    entries = run("journalctl", f"_SYSTEMD_INVOCATION_ID={shown('InvocationID')}", "-p", priority, "-o", "json").stdout
    return [json.loads(entry)["MESSAGE"] for entry in entries.splitlines()]


def wait_until(holds, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"it never came true\n{journal_text()}")
        time.sleep(0.05)


def interfaces() -> set[str]:
    return {link["ifname"] for link in json.loads(run("ip", "-json", "link").stdout)}


class OnStage(unittest.TestCase):
    """What the claims are made of."""

    scene: stage.Scene

    @classmethod
    def enter(cls, scene: stage.Scene) -> None:
        cls.scene = cls.enterClassContext(scene)
        cls.scene.daemon_folder = RUN
        cls.scene.start_in_world([cls.scene.program("serve"), "-p", "7777", "echo"], stdout=subprocess.DEVNULL)
        installed = CONFIGURATION / "hyperward.toml"
        cls.installed = installed.read_text()
        cls.addClassCleanup(installed.write_text, cls.installed)

    def tearDown(self):
        systemctl("stop", UNIT)
        for state in RUN.glob("*.guard"):  # as docs/daemon.md says
            self.scene.hyperward("detach", state.stem)

    def configure(self, rules: str, *, guest: str = "") -> None:
        """The guest has a file of its own; guest: one more line of its [guest]."""
        (CONFIGURATION / "hyperward.toml").write_text(self.installed.replace("#socket_group =", "socket_group ="))
        text = self.scene.place.config("deny").replace("[guest]\n", f"[guest]\n{guest}\n")
        if guest.startswith("qmp"):
            text = text.replace("name = ", "#name = ")
        (GUESTS / "guest.toml").write_text(text)
        (GUESTS / "rules").write_text(rules)

    def configure_found(self, rules: str, how: str) -> None:
        """It has none, and is found; how: a line of [find]."""
        (CONFIGURATION / "hyperward.toml").write_text(f'{self.installed}\n[find]\n{how}\ntemplate = "found.toml"\n')
        text = self.scene.place.config("deny").replace("name = ", "#name = ").replace("tap = ", "#tap = ")
        (CONFIGURATION / "found.toml").write_text(text)
        (CONFIGURATION / "rules").write_text(rules)
        (GUESTS / "guest.toml").unlink(missing_ok=True)

    def drop_in(self, text: str) -> None:
        """As by `systemctl edit`, for this test."""
        DROP_IN.parent.mkdir(parents=True, exist_ok=True)
        DROP_IN.write_text(text)
        self.addCleanup(systemctl, "daemon-reload")
        self.addCleanup(DROP_IN.unlink)
        systemctl("daemon-reload")

    def restart(self) -> None:
        systemctl("restart", UNIT)
        wait_until(self.guards)

    def guards(self) -> bool:
        try:
            return [guest["state"] for guest in self.scene.api("GET", "/v1/guests")] == ["guarded"]
        except OSError:
            return False

    def connects(self, user: str) -> bool:
        command = f"su {user} -s /bin/sh -c 'echo hi | timeout 3 nc -w 2 {SERVER} 7777'"
        return "hi" in self.scene.guest.run(command)[1]

    def assert_denies_alice_alone(self) -> None:
        self.assertTrue(self.connects("bob"))
        self.assertFalse(self.connects("alice"))
        self.assertEqual(said(WARNING), [])


class Service(OnStage):
    @classmethod
    def setUpClass(cls):
        # As libvirt does it: QEMU is no root's.
        cls.enter(stage.Scene(own_network=False, extra=("-runas", "nobody")))
        run("groupadd", "--system", GROUP).check_returncode()

    def setUp(self):
        self.configure(DENY_ALICE)
        self.restart()

    def test_is_started_when_it_serves(self):
        systemctl("restart", UNIT)
        run(stage.HYPERWARD, "status").check_returncode()
        self.assertEqual(shown("StatusText"), "listening on /run/hyperward/control.sock")
        self.assertIn("listening on /run/hyperward/control.sock", said(INFO))

    def test_reads_a_guest_each_way_it_can(self):
        for way in ('access = "mapped"', 'access = "readv"', f'qmp = "{self.scene.guest.qmp_path}"'):
            with self.subTest(way):
                self.configure(DENY_ALICE, guest=way)
                self.restart()
                self.assert_denies_alice_alone()

    def test_finds_a_guest_by_its_tap(self):
        self.configure_found(DENY_ALICE, f'qemu_taps = ["{self.scene.tap}"]')
        self.restart()
        self.assert_denies_alice_alone()

    def test_has_the_privileges_of_its_unit_but_for_those_of_the_start(self):
        granted = set(shown("CapabilityBoundingSet").split())
        kept = granted - START_ONLY
        self.assertEqual(granted & START_ONLY, START_ONLY)
        for thread in pathlib.Path(f"/proc/{main_pid()}/task").iterdir():
            lines = (line.partition(":") for line in (thread / "status").read_text().splitlines())
            status = {name: value.strip() for name, _, value in lines}
            for name in ("CapBnd", "CapPrm", "CapEff"):
                self.assertEqual(self.capabilities(status[name]), kept, name)
            for name in ("CapInh", "CapAmb"):
                self.assertEqual(self.capabilities(status[name]), set(), name)
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))

    @staticmethod
    def capabilities(mask: str) -> set[str]:
        return set(run("capsh", f"--decode={mask}").stdout.strip().partition("=")[2].split(",")) - {""}

    def test_sees_a_file_system_of_which_only_its_own_directories_are_writable(self):
        others = ("/", "/usr", "/etc", "/run", "/run/systemd", "/tmp", "/root", "/var/lib")
        for folder in (RUN, STATE, CONFIGURATION, *others):
            file = pathlib.Path(folder, "test")
            done = run("nsenter", f"--mount=/proc/{main_pid()}/ns/mnt", "touch", file)
            file.unlink(missing_ok=True)
            self.assertEqual(done.returncode == 0, folder in (RUN, STATE), (folder, done.stderr))

    def test_serves_root_and_the_group_and_nobody_else(self):
        user = ["setpriv", "--reuid", "nobody", "--regid", "nogroup"]
        member = run(*user, "--groups", GROUP, stage.HYPERWARD, "status")
        self.assertEqual(member.returncode, 0, member)
        self.assertEqual(run(stage.HYPERWARD, "status").returncode, 0)
        self.assertEqual(run(*user, "--clear-groups", stage.HYPERWARD, "status").returncode, 2)

    def test_reload_puts_the_rules_in_force(self):
        self.assertFalse(self.connects("alice"))
        self.configure(ALLOW_ALL)
        systemctl("reload", UNIT)
        wait_until(lambda: shown("StatusText") == "reloaded")
        self.assertTrue(self.connects("alice"))
        self.configure(DENY_ALICE)
        self.scene.hyperward("reload")
        self.assertFalse(self.connects("alice"))

    def test_reload_with_a_mistake_changes_nothing_and_is_an_error_in_the_journal(self):
        pid = main_pid()
        self.configure(MISTAKE)
        systemctl("reload", UNIT)
        wait_until(lambda: any("guests.d/rules:1:13" in line for line in said(ERROR)))
        self.assertEqual(run(stage.HYPERWARD, "reload").returncode, 2)
        self.assertEqual(main_pid(), pid)
        self.assertFalse(self.connects("alice"))

    def test_comes_back_however_often_it_is_killed(self):
        for _ in range(RESTARTS):
            os.kill(main_pid(), signal.SIGKILL)
            wait_until(lambda: shown("MainPID") == "0")
            wait_until(lambda: shown("SubState") == "running")
        self.assertEqual(shown("NRestarts"), str(RESTARTS))
        wait_until(self.guards)
        self.assert_denies_alice_alone()

    def test_comes_up_by_itself_once_a_mistake_of_its_configuration_is_corrected(self):
        systemctl("stop", UNIT)
        self.configure(MISTAKE)
        self.assertNotEqual(run("systemctl", "start", UNIT).returncode, 0)
        wait_until(lambda: shown("SubState") == "auto-restart")
        wait_until(lambda: any("guests.d/rules:1:13" in line for line in said(ERROR)))
        self.configure(DENY_ALICE)
        wait_until(self.guards)

    def test_is_restarted_when_it_stands_still(self):
        self.drop_in(f"[Service]\nWatchdogSec={WATCHDOG_S}\n")
        self.restart()
        os.kill(main_pid(), signal.SIGSTOP)
        wait_until(lambda: shown("NRestarts") == "1" and self.guards())
        self.assertIn("Watchdog timeout", journal_text())

    def test_stop_leaves_the_guard_of_the_tap_and_nothing_else(self):
        self.assertTrue(self.connects("bob"))
        systemctl("stop", UNIT)
        self.assertEqual(interfaces(), {"lo", "br0", "veth0", self.scene.tap})
        self.assertEqual([path.name for path in RUN.iterdir()], [f"{self.scene.name}.guard"])
        self.assertEqual([path.name for path in STATE.iterdir()], ["hyperward.db"])
        self.assertFalse(self.connects("bob"), "a new flow passed although nobody judged it")
        self.scene.hyperward("detach", self.scene.name)
        self.assertEqual(list(RUN.iterdir()), [])
        self.assertFalse(pathlib.Path("/sys/fs/bpf/hyperward").exists())
        self.assertTrue(self.connects("alice"))


class GuestOfLibvirt(OnStage):
    @classmethod
    def setUpClass(cls):
        if shutil.which("libvirtd") is None:
            print("SKIPPED test_systemd: the unit found no guest of libvirt, for want of libvirtd", file=sys.stderr)
            raise unittest.SkipTest("libvirt is not installed")
        cls.enter(libvirt.LibvirtScene(own_network=False))

    def test_is_found_and_guarded(self):
        self.configure_found(DENY_ALICE, f'libvirt = "{self.scene.uri}"')
        self.restart()
        self.assert_denies_alice_alone()


if __name__ == "__main__":
    if "HYPERWARD_IN_SYSTEMD" not in os.environ:
        sys.exit("usage: tests/e2e/in_systemd python3 tests/e2e/test_systemd.py")
    os.chdir(stage.TREE)
    unittest.main(verbosity=2)
