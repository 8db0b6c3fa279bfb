"""The BPF programs of the packet path load on the kernels that hosts have, not only on the one that they are built on."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import hyperward
import initramfs
import kernels
from guest import CPU, QEMU, chosen_accelerator

LOADER = pathlib.Path(__file__).with_name("bpf_loader.c")
BOOT_TIMEOUT_S = 240
CONSOLE_SHOWN = 2000
TOO_OLD = {"5.10"}  # hosts need Linux 6.1: src/datapath/guard.bpf.c says why


def programs() -> pathlib.Path:
    """What CMake made of guard.bpf.c, in the build of the binary under test."""
    return hyperward.binary().resolve().parents[2] / "bpf/guard.bpf.o"


def archive(folder: pathlib.Path) -> pathlib.Path:
    loader = folder / "loader"
    subprocess.run(["gcc", "-O1", "-static", "-o", loader, LOADER, "-lbpf", "-lelf", "-lz"], check=True)
    files = initramfs._Newc()
    files.folder("dev")
    files.device("dev/console", 5, 1)
    files.file("init", loader.read_bytes(), 0o755)
    files.file("guard.bpf.o", programs().read_bytes())
    path = folder / "initramfs"
    path.write_bytes(files.finish())
    return path


def verdict(kernel: kernels.Kernel, initrd: pathlib.Path) -> str:
    """What the loader says at its end, and what comes before it on the console. (guest.py explains the words.)"""
    accelerator = chosen_accelerator()
    command = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio", "-m", "512"]
    command += ["-accel", accelerator, "-cpu", "host" if accelerator == "kvm" else f"{CPU},cx16=off"]
    command += ["-kernel", kernel.image, "-initrd", initrd]
    command += ["-append", "console=ttyS0 quiet panic=-1 no_timer_check"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=BOOT_TIMEOUT_S
    )
    return done.stdout[-CONSOLE_SHOWN:]


class BpfPrograms(unittest.TestCase):
    def test_load_and_run_on_every_host_kernel(self):
        names = os.environ.get("HYPERWARD_KERNELS", "6.1").split()
        with tempfile.TemporaryDirectory(prefix="hyperward-test-") as folder:
            initrd = archive(pathlib.Path(folder))
            for kernel in (kernels.get(name) for name in names if name not in TOO_OLD):
                with self.subTest(kernel=kernel.release):
                    self.assertIn("LOADED 0 RAN 0", verdict(kernel, initrd))


if __name__ == "__main__":
    unittest.main()
