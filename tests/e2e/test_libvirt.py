"""hyperward reads, and guards, a guest that libvirt runs."""

import json
import os
import shutil
import subprocess
import sys
import unittest

import libvirt as stage
import scene
import truth

TOOLS = ("libvirtd", "virsh")


def setUpModule():
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        print(f"SKIPPED test_libvirt: no guest of libvirt was read, for want of {', '.join(missing)}", file=sys.stderr)
        raise unittest.SkipTest("libvirt is not installed")


class Claims:
    """The tests, for whatever domain a subclass has libvirt run."""

    options: dict = {}

    @classmethod
    def setUpClass(cls):
        cls.scene = cls.enterClassContext(stage.LibvirtScene(**cls.options))
        cls.scene.guest.start("load -s 40 -p 8")

    def ask(self, *words) -> list[dict]:
        return json.loads(self.scene.hyperward(*words, "--json"))

    def test_ps_by_the_domains_name_is_as_the_guest_has_it(self):
        before = truth.parse(self.scene.guest.must("exec snapshot"))
        found = {process["pid"]: process for process in self.ask("ps", self.scene.name)}
        after = truth.parse(self.scene.guest.must("exec snapshot"))
        lasting = before.processes.keys() & after.processes.keys()
        self.assertGreater(len(lasting), 40)
        for pid in lasting:
            true, seen = before.processes[pid], found[pid]
            self.assertEqual((seen["ppid"], seen["uid"], seen["gid"]), (true.ppid, true.uid, true.gid))
            self.assertEqual(seen["args"], true.args)

    def test_ss_by_the_domains_name_is_as_the_guest_has_it(self):
        before = truth.parse(self.scene.guest.must("exec snapshot"))
        found = {socket["inode"]: socket for socket in self.ask("ss", self.scene.name)}
        after = {socket.inode for socket in truth.parse(self.scene.guest.must("exec snapshot")).sockets}
        lasting = [socket for socket in before.sockets if before.held_by(socket) and socket.inode in after]
        self.assertGreater(len(lasting), 20)
        for true in lasting:
            seen = found[true.inode]
            self.assertEqual(truth.endpoint(seen["local"]), truth.endpoint(true.local))
            self.assertEqual({(h["pid"], h["fd"]) for h in seen["processes"]}, before.held_by(true))

    def test_its_layout_is_asked_of_libvirt(self):
        self.scene.hyperward("ps", self.scene.name)
        self.assertIn("custom-monitor", self.scene.virsh("dominfo", self.scene.name) + self.scene.libvirtd_log())


class SharedMemory(Claims, unittest.TestCase):
    """The tap is libvirt's too: made by it, in our network, and passed to QEMU as a descriptor."""

    def test_its_tap_is_guarded(self):
        tap = self.scene.virsh("domiflist", self.scene.name).split()[0]
        self.scene.place.tap = tap
        self.scene.start_in_world([self.scene.program("serve"), "-p", "7777", "echo"], stdout=subprocess.DEVNULL)
        self.scene.guard("default allow\ndeny to tcp port 7777 from user alice\n")
        self.addCleanup(self.scene.hyperward, "detach", self.scene.name)
        self.addCleanup(self.scene.stop_guard)
        for user, passes in (("bob", True), ("alice", False)):
            command = f"su {user} -s /bin/sh -c 'echo hi | timeout 3 nc -w 2 203.0.113.9 7777'"
            self.assertEqual("hi" in self.scene.guest.run(command)[1], passes, user)


class PrivateMemory(Claims, unittest.TestCase):
    options = {"memory": "anon", "machine": "q35", "ram_mib": 768}


if __name__ == "__main__":
    os.chdir(scene.TREE)
    unittest.main(verbosity=2)
