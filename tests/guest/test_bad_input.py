"""What is no readable guest is refused: exit status 2 and one sentence that says why. Never a crash, never a hang."""

import os
import pathlib
import random
import subprocess
import tempfile
import unittest

import hyperward
from guest import Guest

MIB = 1 << 20
LONGEST_SENTENCE = 400


class Refusals(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="hyperward-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def check_refused(self, *words, about: str = "") -> None:
        for command in (["ps"], ["ss"], ["owner", "tcp", "127.0.0.1:1", "127.0.0.1:2"]):
            with self.subTest(command=command[0]):
                done = hyperward.run(*command, *words)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertEqual(done.stdout, "")
                lines = done.stderr.splitlines()
                self.assertEqual(len(lines), 1, done.stderr)
                self.assertTrue(lines[0].startswith("hyperward: "), lines[0])
                self.assertLess(len(lines[0]), LONGEST_SENTENCE)
                self.assertIn(about, lines[0])

    def file(self, name: str, data: bytes) -> pathlib.Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def test_refuses_a_pid_that_is_not_there(self):
        child = subprocess.Popen(["true"])
        child.wait()
        self.check_refused("--pid", child.pid, about=str(child.pid))

    def test_refuses_a_process_that_is_no_qemu(self):
        self.check_refused("--pid", os.getpid(), about=str(os.getpid()))

    def test_refuses_a_guest_still_in_its_firmware(self):
        for memory in ("memfd", "anon"):
            with Guest(memory=memory, boots=False) as guest:
                self.check_refused("--pid", guest.pid)
                self.check_refused("--qmp", guest.qmp_path)

    def test_refuses_a_guest_that_has_not_started(self):
        with Guest(boots=False, extra=["-S"]) as guest:
            self.check_refused("--pid", guest.pid)

    def test_refuses_a_qmp_socket_that_is_not_there(self):
        self.check_refused("--qmp", self.folder / "none", about="none")

    def test_refuses_a_dump_that_is_not_there(self):
        self.check_refused("--memory", self.folder / "none", about="none")

    def test_refuses_an_empty_dump(self):
        self.check_refused("--memory", self.file("empty", b""))

    def test_refuses_a_random_dump(self):
        self.check_refused("--memory", self.file("random", random.Random(1).randbytes(16 * MIB)))

    def test_refuses_a_dump_that_only_claims_a_kernel(self):
        claim = b"VMCOREINFO\0\0OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff82000000\n"
        self.check_refused("--memory", self.file("claim", claim.ljust(4096, b"\0") * (4 * MIB // 4096)))

    def test_refuses_a_dump_that_was_cut(self):
        with Guest() as guest:
            guest.start("load")
            guest.pause()
            for form in ("raw", "elf"):
                guest.dump(self.folder / form, form)
        for form in ("raw", "elf"):
            whole = self.folder / form
            for size in (24 * MIB, MIB + 1, 4096, 100):  # ever shorter, so one copy is enough
                with self.subTest(form=form, size=size):
                    os.truncate(whole, size)
                    self.check_refused("--memory", whole)

    def test_refuses_no_guest_at_all(self):
        self.check_refused()


if __name__ == "__main__":
    unittest.main()
