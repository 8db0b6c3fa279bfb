"""Modules in processes of their own see a real guest: the tests of filter_test that need one."""

import os
import pathlib
import subprocess
import unittest

import guest as guests

TREE = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = TREE / "build/asan/src/filter/filter_test"


class ModuleProcess(unittest.TestCase):
    def test_it_sees_a_real_guest(self):
        if not PROGRAM.exists():
            why = f"{PROGRAM.relative_to(TREE)} is not built"
            print(f"SKIPPED modules that see a real guest: {why}; tools/test unit does that")
            self.skipTest(why)
        with guests.Guest("6.1", memory="memfd", ram_mib=256) as guest:
            words = [PROGRAM, "--gtest_filter=ModuleProcessWithGuest.*"]
            environment = os.environ | {"HYPERWARD_TEST_GUEST": str(guest.pid)}
            done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        told = done.stdout + done.stderr
        self.assertEqual(done.returncode, 0, told)
        self.assertIn("PASSED", told)
        self.assertNotIn("SKIPPED", told)


if __name__ == "__main__":
    unittest.main()
